"""A checkpoint outlives a move of the classes that it names to other files."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import srulight
from srulight.cli import main
from srulight.runtime.fields import path_of, with_short_paths
from srulight.tasks import TextClassification

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


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Writes a package whose classes are all in its module ``before``."""
    folder = tmp_path / f"moving_{tmp_path.name}".replace("-", "_")
    folder.mkdir()
    place(folder, "before")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SRULIGHT_PLUGINS", folder.name)
    yield folder
    forget(folder.name)


def place(folder: Path, module: str) -> None:
    for path in folder.glob("*.py"):
        path.unlink()
    (folder / f"{module}.py").write_text(CLASSES)
    (folder / "__init__.py").write_text(EXPORTS.format(package=folder.name, module=module))
    forget(folder.name)


def forget(package: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    importlib.invalidate_caches()


def named(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Gives all text in a checkpoint."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for inner in value:
            yield from named(inner)
    elif isinstance(value, str):
        yield value


def test_a_checkpoint_loads_and_resumes_after_its_classes_moved(
    package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = f"{package.name}.before"
    args = [f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    args += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    main([
        "fit", f"--config={CONFIG}", *args, "--trainer.max_epochs=1", f"--model={deep}.Mine",
        f"--model.encoder={deep}.MyEncoder", "--model.encoder.hidden_size=8",
        "--model.embedding_size=8", f"--data={deep}.MyData", f"--data.corpus={deep}.MyCorpus",
        "--data.corpus.train_size=64", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    ])  # fmt: skip
    last = tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt"
    stored = torch.load(last, weights_only=True)
    assert stored["task"] == f"{package.name}.Mine"
    assert not [text for text in named(stored) if deep in text]
    assert deep not in (last.parents[1] / "config.yaml").read_text()

    place(package, "after")
    loaded = srulight.load(last)
    assert type(loaded).__module__ == f"{package.name}.after"
    assert len(loaded.predict(["the plot was dull"])) == 1

    main(["fit", *args, f"--ckpt_path={last}", "--trainer.max_epochs=2"])
    assert torch.load(last, weights_only=True)["epoch"] == 2
    assert "changed since the checkpoint" not in caplog.text


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
