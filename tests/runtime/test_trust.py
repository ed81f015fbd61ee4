"""An untrusted checkpoint runs nothing, imports nothing and writes no files."""

import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

import srulight
from srulight.cli import main
from srulight.data.base import TaskData
from srulight.encoders import Encoder
from srulight.plugins import load_plugins
from srulight.runtime.errors import InputError
from srulight.runtime.fields import arguments_of, builds, known, path_of
from srulight.runtime.trust import Vetting
from srulight.targets import LossSettings
from srulight.tasks.base import Task

load_plugins()
CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

EVIL = """
from pathlib import Path
from srulight.encoders import SRU
Path({marker!r}).touch()
class Evil(SRU): pass
def make(size): Path({marker!r}).touch()
"""


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


def owner_fields(cls: type, where: str = "", depth: int = 0) -> Iterator[tuple[str, type]]:
    """Returns every field that builds a class, of a class and of the classes inside it."""
    for name, kind in arguments_of(cls).items():
        for base in builds(kind):
            yield f"{where}{name}", base
            inner = [c for c in subclasses(base) if c.__module__.startswith("srulight.")]
            for one in inner if depth < 2 else []:
                yield from owner_fields(one, f"{where}{name}/{path_of(one)}/", depth + 1)


def subclasses(base: type) -> list[type]:
    direct: list[type] = base.__subclasses__()
    found = [cls for sub in direct for cls in [sub, *subclasses(sub)]]
    return [cls for cls in dict.fromkeys(found) if known(cls.__name__, (base,)) is cls]


TASKS = [cls for cls in subclasses(Task) if cls.__module__.startswith("srulight.")]
DATA = [cls for cls in subclasses(TaskData) if cls.__module__.startswith("srulight.")]
FIELDS = sorted({(cls, f) for cls in [*TASKS, *DATA] for f, _ in owner_fields(cls)}, key=str)


def settings(field: str, value: object) -> dict[str, Any]:
    """Returns the settings of a class, with a value in a field that may be nested."""
    name, _, rest = field.partition("/")
    if not rest:
        return {name: value}
    path, _, inner = rest.partition("/")
    return {name: {"class_path": path, "init_args": settings(inner, value)}}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepares the attacks; each creates this file if it runs."""
    path = tmp_path / "marker"
    (tmp_path / "evil_module.py").write_text(EVIL.format(marker=str(path)))
    (tmp_path / "script.py").write_text(f"open({str(path)!r}, 'w')")
    (tmp_path / "pickled").write_bytes(pickle.dumps(Touch(str(path))))
    attack = f"{{class_path: subprocess.getoutput, init_args: {{cmd: touch {path}}}}}"
    (tmp_path / "attack.yaml").write_text(attack)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return path


def attacks(marker: Path) -> list[object]:
    folder = marker.parent
    called: list[tuple[str, dict[str, object]]] = [
        ("subprocess.getoutput", {"cmd": f"touch {marker}"}),
        ("subprocess.Popen", {"args": ["touch", str(marker)]}),
        ("os.system", {"command": f"touch {marker}"}),
        ("os.mkdir", {"path": str(marker)}),
        ("posix.mkdir", {"path": str(marker)}),
        ("pathlib.Path.touch", {"self": str(marker)}),
        ("runpy.run_path", {"path_name": str(folder / "script.py")}),
        ("runpy.run_module", {"mod_name": "script"}),
        ("importlib.import_module", {"name": "evil_module"}),
        ("timeit.timeit", {"stmt": f"open({str(marker)!r}, 'w')", "number": 1}),
        ("builtins.eval", {"source": f"open({str(marker)!r}, 'w')"}),
        ("builtins.exec", {"source": f"open({str(marker)!r}, 'w')"}),
        ("builtins.open", {"file": str(marker), "mode": "w"}),
        ("io.open", {"file": str(marker), "mode": "w"}),
        ("torch.load", {"f": str(folder / "pickled"), "weights_only": False}),
        ("torch.save", {"obj": 1, "f": str(marker)}),
        ("torch.hub.load", {"repo_or_dir": str(folder), "model": "make", "source": "local"}),
        ("numpy.load", {"file": str(folder / "pickled"), "allow_pickle": True}),
        ("pickle.load", {"file": str(folder / "pickled")}),
        ("urllib.request.urlretrieve", {"url": f"file://{CONFIG}", "filename": str(marker)}),
        ("shutil.copy", {"src": str(CONFIG), "dst": str(marker)}),
        ("shutil.rmtree", {"path": str(folder)}),
        ("logging.FileHandler", {"filename": str(marker)}),
        ("functools.partial", {}),
        ("evil_module.Evil", {"hidden_size": 4}),
        ("evil_module.make", {}),
        ("srulight.training.logger.Log", {"root": str(folder), "aside": str(marker)}),
        ("srulight.cli.main", {"args": ["fit"]}),
        ("srulight.encoders.sru.import_module", {"name": "evil_module"}),
        ("lightning.pytorch.cli.instantiate_module", {}),
        ("jsonargparse.set_parsing_settings", {}),
    ]
    given: list[object] = [{"class_path": path, "init_args": args} for path, args in called]
    given += [{"class_path": path, "dict_kwargs": args} for path, args in called]
    given += [path for path, _ in called]
    given += [
        (folder / "attack.yaml").read_text(),
        str(folder / "attack.yaml"),
        "attack.yaml",
        {"__path__": "attack.yaml"},
        {"init_args": {"cmd": f"touch {marker}"}},
        {"class_path": ["os.system"]},
        {"class_path": {"class_path": "os.system"}},
        [{"class_path": "os.system", "init_args": {"command": f"touch {marker}"}}],
        {"class_path": "SRU", "init_args": {"hidden_size": {"class_path": "os.system"}}},
        {"class_path": "SRU", "init_args": {"a.b": 1}},
    ]
    return given


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_no_field_runs_or_imports_what_a_file_names(cls: type, field: str, marker: Path) -> None:
    imported = set(sys.modules)
    for attack in attacks(marker):
        with pytest.raises(InputError) as refused:
            Vetting("x.ckpt").arguments(settings(field, attack), cls, "model")
        assert str(refused.value).startswith("x.ckpt: model.")
        assert "\n" not in str(refused.value)
    assert not marker.exists()
    assert set(sys.modules) == imported


def test_weights_may_have_any_names_and_hold_numbers_alone(marker: Path) -> None:
    weights = {"5 stars": 2.0, "a.b": 1, "": 0.5}
    given = {"weights": weights}
    assert Vetting("x.ckpt").arguments(given, LossSettings, "loss") == given
    for attack in [*attacks(marker), {"_a": 1.0}, {1: 1.0}, {"a b": "os.system"}]:
        if isinstance(attack, dict):
            with pytest.raises(InputError, match=r"x.ckpt: loss\.weights"):
                Vetting("x.ckpt").arguments({"weights": attack}, LossSettings, "loss")


@pytest.mark.parametrize("cls", [*TASKS, *DATA], ids=lambda cls: cls.__name__)
def test_a_field_that_builds_nothing_takes_no_class(cls: type, marker: Path) -> None:
    for name, kind in arguments_of(cls).items():
        if not builds(kind):
            for attack in attacks(marker):
                if isinstance(attack, dict):
                    with pytest.raises(InputError, match=f"x.ckpt: model.{name}"):
                        Vetting("x.ckpt").arguments({name: attack}, cls, "model")


def loops() -> dict[str, Any]:
    """Returns the state of the loops of a run that has not started."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    return {
        "fit_loop": trainer.fit_loop.state_dict(),
        "validate_loop": trainer.validate_loop.state_dict(),
        "test_loop": trainer.test_loop.state_dict(),
        "predict_loop": trainer.predict_loop.state_dict(),
    }


LOOPS = loops()


def checkpoint(task: type, field: str, attack: object) -> dict[str, Any]:
    """Returns the entries of a checkpoint that are read before anything is built."""
    model = settings(field, attack)
    return {
        "task": path_of(task), "hyper_parameters": model, "hyper_parameters_dropped": [],
        "metadata": {}, "state_dict": {"weight": torch.zeros(1)},
        "epoch": 0, "global_step": 0, "loops": LOOPS, "pytorch-lightning_version": "2.6.6",
        "config": {
            "seed_everything": 1, "trainer": {},
            "model": {"class_path": path_of(task), "init_args": model},
            "data": {"class_path": "TextClassificationData", "init_args": {}},
        },
    }  # fmt: skip


COMMANDS = ("load", "predict", "generate", "fit", "validate", "test")


@pytest.mark.parametrize("task", TASKS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_a_checkpoint_names(command: str, task: type, marker: Path) -> None:
    path = marker.parent / "x.ckpt"
    fields = [field for cls, field in FIELDS if cls is task]
    for number, field in enumerate(fields):
        # Testing every combination would be slow, and the test above covers the fields. The
        # fields take turns, so that load meets most attacks.
        step = 7 if "/" not in field and command == "load" else 36
        for attack in attacks(marker)[number % step :: step]:
            torch.save(checkpoint(task, field, attack), path)
            if command == "load":
                with pytest.raises(InputError, match=r"x\.ckpt: hyper_parameters\."):
                    srulight.load(path)
                continue
            with pytest.raises(SystemExit, match=r"^error: .*x\.ckpt: (hyper_parameters|model)\."):
                main([command, f"--ckpt_path={path}"])
    assert not marker.exists()
    assert "evil_module" not in sys.modules


def test_the_attacks_work_where_nothing_guards(marker: Path) -> None:
    """The tests above would notice an attack that succeeds."""
    for attack in attacks(marker)[:3]:
        assert isinstance(attack, dict)
        module, _, name = attack["class_path"].rpartition(".")
        process = getattr(importlib.import_module(module), name)(**attack["init_args"])
        getattr(process, "wait", lambda: 0)()
        assert marker.exists(), attack
        marker.unlink()
    importlib.import_module("evil_module")
    del sys.modules["evil_module"]
    assert marker.exists()


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Writes an encoder of another package; nothing has imported it yet."""
    name = f"other_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(
        "from srulight.encoders import SRU\nclass Other(SRU):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_class_of_another_package_is_known_once_the_user_says_so(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{other}.Other"
    wanted = {"class_path": path, "init_args": {"hidden_size": 4}}
    with pytest.raises(InputError, match=r"must name an imported Encoder.*SRULIGHT_PLUGINS"):
        Vetting("x.ckpt").one(wanted, Encoder, "encoder")
    with pytest.raises(InputError, match="must name an imported Encoder"):
        Vetting("x.ckpt", {"some.Other", other}).one(wanted, Encoder, "encoder")
    assert other not in sys.modules
    assert Vetting("x.ckpt", {path}).one(wanted, Encoder, "encoder") == wanted
    del sys.modules[other]
    monkeypatch.setenv("SRULIGHT_PLUGINS", other)
    load_plugins()
    assert Vetting("x.ckpt").one(wanted, Encoder, "encoder") == wanted


def test_a_plugin_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_PLUGINS", "no_such_module")
    with pytest.raises(InputError, match=r"must name modules .* 'no_such_module'"):
        load_plugins()


@pytest.mark.parametrize("path", ["SRU", "srulight.SRU", "srulight.encoders.SRU"])
def test_a_class_is_known_by_each_of_its_paths(path: str) -> None:
    assert known(path, (Encoder,)) is srulight.SRU
    assert known(path, (torch.optim.Optimizer,)) is None


def test_an_abstract_class_is_none_to_build() -> None:
    assert known("srulight.encoders.Encoder", (Encoder,)) is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.encoder=evil_module.make", "model.encoder: expected a class, got the function"),
        ("--config=attack.yaml", "model.optimizer: expected a class, got subprocess.getoutput"),
    ],
)
def test_a_function_is_no_class_in_the_users_own_configuration(
    option: str, message: str, marker: Path
) -> None:
    (marker.parent / "evil_module.py").write_text(
        "from srulight.encoders import SRU\ndef make(size: int) -> SRU: return SRU(size)\n"
    )
    attack = (marker.parent / "attack.yaml").read_text()
    (marker.parent / "attack.yaml").write_text(f"model: {{init_args: {{optimizer: {attack}}}}}")
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(["fit", f"--config={CONFIG}", option])
    sys.modules.pop("evil_module", None)
    assert not marker.exists()
