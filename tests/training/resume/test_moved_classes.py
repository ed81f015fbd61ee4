"""A checkpoint still loads after its classes have moved to other modules of their package."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from srulight.runtime.fields import path_of, with_short_paths
from srulight.tasks import TextClassification
from tests.python import python

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
CLASSES = """
from srulight.encoders import SRU
from srulight.tasks.text_classification import Grammar, TextClassification, TextClassificationData
class Mine(TextClassification): pass
class MyEncoder(SRU): pass
class MyData(TextClassificationData): pass
class MyCorpus(Grammar): pass
"""
EXPORTS = "from {package}.{module} import Mine, MyCorpus, MyData, MyEncoder\n"


def place(folder: Path, module: str) -> None:
    """Writes a package that defines all its classes in one module."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / f"{module}.py").write_text(CLASSES)
    (folder / "__init__.py").write_text(EXPORTS.format(package=folder.name, module=module))


def run(folder: Path, code: str) -> str:
    """Runs code that imports the package, in a separate process, because imports are cached."""
    env = os.environ | {"PYTHONPATH": str(folder.parent), "SRULIGHT_PLUGINS": folder.name}
    done = python("-c", code, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def named(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Returns all text in a checkpoint."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for inner in value:
            yield from named(inner)
    elif isinstance(value, str):
        yield value


def test_a_checkpoint_loads_and_resumes_after_its_classes_moved(tmp_path: Path) -> None:
    package = tmp_path / "moving"
    place(package, "before")
    args = [f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    args += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    first = [
        "fit", f"--config={CONFIG}", *args, "--trainer.max_epochs=1", "--model=moving.before.Mine",
        "--model.encoder=moving.before.MyEncoder", "--model.encoder.hidden_size=8",
        "--model.embedding_size=8", "--data=moving.before.MyData",
        "--data.corpus=moving.before.MyCorpus", "--data.corpus.train_size=64",
        "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    ]  # fmt: skip
    run(package, f"from srulight.cli import main; main({first})")
    last = tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    stored = torch.load(last, weights_only=True)
    assert stored["task"] == "moving.Mine"
    assert not [text for text in named(stored) if "moving.before" in text]
    assert "moving.before" not in (last.parents[1] / "config.yaml").read_text()

    place(package, "after")
    again = ["fit", *args, f"--ckpt_path={last}", "--trainer.max_epochs=2"]
    said = run(
        package,
        "import moving, srulight; from srulight.cli import main\n"
        f"task = srulight.load({str(last)!r})\n"
        f"print(type(task).__module__, len(task.predict(['the plot was dull']))); main({again})",
    )
    assert "moving.after 1\n" in said
    assert torch.load(last, weights_only=True)["epoch"] == 2
    assert "changed since the checkpoint" not in said


def test_settings_name_classes_by_the_shortest_path() -> None:
    deep = f"{TextClassification.__module__}.TextClassification"
    assert deep == "srulight.tasks.text_classification.task.TextClassification"
    given = {"class_path": deep, "init_args": {"list": [{"class_path": deep}], "text": deep}}
    short = {"class_path": "srulight.tasks.TextClassification"}
    assert with_short_paths(given) == {**short, "init_args": {"list": [short], "text": deep}}
    for unknown in ("no_such.Class", "Class", "srulight.SRU"):
        assert with_short_paths({"class_path": unknown}) == {"class_path": unknown}


def test_a_class_that_is_made_in_a_function_goes_by_where_it_was_made() -> None:
    class Local(TextClassification):
        pass

    where = "test_a_class_that_is_made_in_a_function_goes_by_where_it_was_made.<locals>.Local"
    assert path_of(Local) == f"{__name__}.{where}"
