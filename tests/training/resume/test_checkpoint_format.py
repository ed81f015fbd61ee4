"""A checkpoint with any error in its structure is rejected with one sentence."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import srulight
from srulight.cli import main
from srulight.runtime.errors import InputError

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
ABSENT = object()
OTHERS = [
    ABSENT, None, "text", -1, [], {}, 3.5, {"x": 1}, [["x"]], torch.ones(3), True, b"bytes", 10**30,
]  # fmt: skip
OPTIMIZER = ("optimizer_states", 0, "state", 0)
GROUP = ("optimizer_states", 0, "param_groups", 0)
FIT = ("loops", "fit_loop")
SETTINGS = ("config", "model", "init_args")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trains for an epoch."""
    folder = tmp_path_factory.mktemp("run")
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
        "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
        "--model.encoder.hidden_size=8", "--model.scheduler=Cosine", "--model.scheduler.steps=99",
        "--trainer.max_epochs=1", f"--trainer.default_root_dir={folder}", *QUIET,
    ])  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def good(run: Path) -> dict[str, Any]:
    stored: dict[str, Any] = torch.load(last(run), weights_only=True)
    return stored


def last(folder: Path) -> Path:
    return folder / "version_0" / "checkpoints" / "last.ckpt"


def places(value: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Returns the path to every entry of a checkpoint, and to the first item of every list."""
    if place:
        yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*place, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*place, 0))


def changed(good: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    """Returns a copy of a checkpoint with another value in one place."""
    stored = inner = copy.deepcopy(good)
    for key in place[:-1]:
        inner = inner[key]
    if value is ABSENT:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return stored


def test_whatever_is_wrong_predicting_says_it_in_a_sentence(
    good: dict[str, Any], tmp_path: Path
) -> None:
    mutations = [(place, other) for place in places(good) for other in OTHERS]
    messages = []
    # The step is no multiple of the number of other values, so that all of them come up.
    for place, other in mutations[:: len(mutations) // 150 // len(OTHERS) * len(OTHERS) + 2]:
        torch.save(changed(good, place, other), tmp_path / "x.ckpt")
        try:
            srulight.load(tmp_path / "x.ckpt").predict(["the plot was dull"])
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 60
    assert not [message for message in messages if "\n" in message]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*OPTIMIZER, "exp_avg"), torch.ones(3), r"exp_avg must have shape \(60, 8\), got \(3,\)"),
        ((*OPTIMIZER, "exp_avg_sq"), torch.ones(()), r"sq must have shape \(60, 8\), got \(\)"),
        ((*OPTIMIZER, "exp_avg"), ABSENT, "lacks exp_avg"),
        (OPTIMIZER, 3, "must be of type dict"),
        ((*GROUP, "lr"), "fast", "lr must be a number, got str"),
        ((*GROUP, "betas"), ABSENT, "lacks betas"),
        ((*GROUP, "params"), [0, 1], "must have the same parameters as the model"),
        (("optimizer_states",), ABSENT, "to resume from, lacks optimizer_states"),
        (("lr_schedulers", 0, "base_lrs"), "x", "base_lrs must be of type list"),
        (("lr_schedulers", 0, "get_lr"), 3, "must not replace the attribute 'get_lr'"),
        (("random_states", 0, "cpu"), torch.ones(3), "random_states in the checkpoint: "),
        (("resume_position", "batches"), "x", "batches must be of type int"),
        (("recurrent_state", 0), "x", "must be of type Tensor or NoneType"),
        (("train_loss", 0, "total"), torch.ones(3), "train_loss.total must be a number"),
        ((*FIT, "epoch_progress", "current", "completed"), "x", "completed must be of type int"),
        ((*FIT, "epoch_progress", "current", "reset"), "x", "reset must be of type int"),
        (("state_dict", "extra"), torch.ones(2).to_sparse(), "must be a dense tensor"),
        (("state_dict", "extra"), torch.ones(1).expand(10**9), "declares more numbers than the"),
        ((*SETTINGS, "encoder", "init_args", "num_layers"), 10**6, "must fit the 9 weights"),
        ((*SETTINGS, "embedding_size"), 10**12, "which is far larger"),
        ((*SETTINGS, "embedding_size"), None, "embedding_size must be plain data of the right typ"),
        (("pytorch-lightning_version",), "1.5.0", "checkpoint of Lightning 2 or later, got"),
        (("config", "seed_everything"), -1, "seed_everything must be 0 to"),
        (("config", "trainer", "max_time"), {"x": 1}, "trainer: "),
        (("metadata", "tokenizer", "specials"), [], r"specials must be \['<pad>', '<unk>'\], got"),
    ],
)  # fmt: skip
def test_going_on_says_what_is_wrong(
    good: dict[str, Any], place: tuple[Any, ...], value: object, message: str, tmp_path: Path
) -> None:
    torch.save(changed(good, place, value), tmp_path / "x.ckpt")
    args = [f"--ckpt_path={tmp_path / 'x.ckpt'}", "--trainer.max_epochs=2", *QUIET]
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        main(["fit", f"--trainer.default_root_dir={tmp_path}", *args])


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        ("SRU", {"num_layers": 10**6}), ("LSTM", {"num_layers": 10**6}),
        ("QRNN", {"num_layers": 10**6}), ("SRU", {"hidden_size": 10**7}),
        ("GRU", {"hidden_size": 10**12}), ("CNN", {"kernel_sizes": [3] * 10**5}),
    ],
)  # fmt: skip
def test_a_model_far_larger_than_its_weights_is_not_built(
    good: dict[str, Any], encoder: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    named = {"class_path": encoder, "init_args": settings}
    torch.save(changed(good, ("hyper_parameters", "encoder"), named), tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"the model must fit|cannot be built"):
        srulight.load(tmp_path / "x.ckpt")


def test_only_what_says_how_to_train_is_taken_of_the_trainers_settings(
    good: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    evil = {
        "logger": {
            "class_path": "srulight.training.logger.Log",
            "init_args": {"root": str(tmp_path / "log"), "aside": str(victim)},
        },
        "profiler": {
            "class_path": "lightning.pytorch.profilers.SimpleProfiler",
            "init_args": {"dirpath": str(tmp_path), "filename": "victim"},
        },
        "callbacks": [
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"dirpath": str(tmp_path / "elsewhere")},
            }
        ],
        "plugins": {"class_path": "os.system", "init_args": {"command": f"rm {victim}"}},
        "strategy": "ddp", "devices": 64, "accelerator": "tpu", "num_nodes": 7,
        "default_root_dir": str(tmp_path / "elsewhere"), "fast_dev_run": True, "max_epochs": 2,
    }  # fmt: skip
    stored = changed(good, ("config", "trainer"), {**good["config"]["trainer"], **evil})
    stored["config"]["data"]["init_args"]["download"] = True
    path = last(tmp_path / "runs")
    path.parent.mkdir(parents=True)
    torch.save(stored, path)
    main(["fit", f"--ckpt_path={path}", *QUIET])
    assert victim.read_text() == "precious"
    assert {p.name for p in tmp_path.iterdir()} == {"victim", "runs"}
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"version_0"}
    assert torch.load(path, weights_only=True)["epoch"] == 2
    assert (
        "not taken from the checkpoint: trainer.accelerator, trainer.callbacks, "
        "trainer.devices, trainer.fast_dev_run, trainer.logger, trainer.num_nodes, "
        "trainer.plugins, trainer.profiler, trainer.strategy; set them again if you need them"
    ) in caplog.text
    assert "  data.download: True -> False" in caplog.text


def test_a_finished_run_that_was_copied_or_moved_goes_on(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(last(run), tmp_path / "copied.ckpt")
    where = f"--trainer.default_root_dir={tmp_path / 'new'}"
    main(["fit", f"--ckpt_path={tmp_path / 'copied.ckpt'}", where, *QUIET])
    assert "best val/accuracy: " not in caplog.text
    shutil.copytree(run, tmp_path / "moved")
    main(["fit", f"--ckpt_path={last(tmp_path / 'moved')}", "--trainer.max_epochs=2", *QUIET])
    assert [p.name for p in (tmp_path / "moved").iterdir()] == ["version_0"]
    assert str(tmp_path / "moved" / "version_0" / "checkpoints" / "best.ckpt") in caplog.text
