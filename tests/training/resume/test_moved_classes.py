"""A checkpoint outlives a move of the classes that it names to other files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.runtime.fields import path_of, with_short_paths
from srulight.tasks import TextClassification

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "configs" / "quickstart.yaml"
CLASSES = """
from srulight.encoders import SRU
from srulight.tasks.text_classification import Grammar, TextClassification, TextClassificationData
class Mine(TextClassification): pass
class MyEncoder(SRU): pass
class MyData(TextClassificationData): pass
class MyCorpus(Grammar): pass
"""
EXPORTS = "from {package}.{module} import Mine, MyCorpus, MyData, MyEncoder\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Writes a package whose classes are all in its module ``before``."""
    folder = tmp_path / "moving"
    folder.mkdir()
    place(folder, "before")
    return folder


def place(folder: Path, module: str) -> None:
    for path in folder.glob("*.py"):
        path.unlink()
    (folder / f"{module}.py").write_text(CLASSES)
    (folder / "__init__.py").write_text(EXPORTS.format(package=folder.name, module=module))


def python(package: Path, *args: str) -> str:
    """Runs Python with the package in reach; in a process of its own, which forgets the classes."""
    done = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False,
        env={
            **os.environ, "PYTHONPATH": f"{package.parent}:{ROOT}",
            "SRULIGHT_PLUGINS": package.name, "PYTHONDONTWRITEBYTECODE": "1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def named(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Gives all text in a checkpoint."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for inner in value:
            yield from named(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.slow
def test_a_checkpoint_loads_and_resumes_after_its_classes_moved(
    package: Path, tmp_path: Path
) -> None:
    deep = f"{package.name}.before"
    fit = ["-m", "srulight", "fit", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    fit += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    python(
        package, *fit, f"--config={CONFIG}", "--trainer.max_epochs=1", f"--model={deep}.Mine",
        f"--model.encoder={deep}.MyEncoder", "--model.encoder.hidden_size=8",
        "--model.embedding_size=8", f"--data={deep}.MyData", f"--data.corpus={deep}.MyCorpus",
        "--data.corpus.train_size=64", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    )  # fmt: skip
    last = tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    stored = torch.load(last, weights_only=True)
    assert stored["task"] == f"{package.name}.Mine"
    assert not [text for text in named(stored) if deep in text]
    assert deep not in (last.parents[1] / "config.yaml").read_text()

    place(package, "after")
    code = "import srulight, sys; task = srulight.load(sys.argv[1]); print(type(task).__module__)"
    code += "; print(len(task.predict(['the plot was dull'])))"
    assert python(package, "-c", code, str(last)) == f"{package.name}.after\n1\n"

    said = python(package, *fit, f"--ckpt_path={last}", "--trainer.max_epochs=2")
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
