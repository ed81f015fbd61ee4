"""The folder of an export: written whole or not at all, and read without running anything."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import srulight
from srulight.checkpoint import rebuild
from srulight.commands import export as command
from srulight.export import folder as folder_module
from srulight.export.comparison import Speed, difference
from srulight.export.folder import export
from srulight.export.formats import FORMATS, Format, Onnx
from srulight.export.networks.base import Model, Run
from srulight.export.settings import MANIFEST, read_export, write_manifest, write_settings
from srulight.export.tasks import network_of
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.tasks.language_modeling import LanguageModeling
from srulight.tasks.text_classification import TextClassification
from tests.export.models import SENTENCES, TOKENIZER, checkpoint_of, setting

Make = Callable[[str, Callable[[Path], object]], Path]


def classifier() -> dict[str, Any]:
    torch.manual_seed(0)
    encoder = setting("SRU", hidden_size=6, num_layers=1, bidirectional=True)
    return checkpoint_of(TextClassification, SENTENCES, embedding_size=4, encoder=encoder)


def language_model() -> dict[str, Any]:
    torch.manual_seed(0)
    words = [*TOKENIZER["vocabulary"], "<eos>"]  # type: ignore[misc]
    tokenizer = TOKENIZER | {"vocabulary": words, "lines": True}
    encoder = setting("QRNN", hidden_size=4, num_layers=1)
    return checkpoint_of(
        LanguageModeling, {"tokenizer": tokenizer}, embedding_size=4, cutoffs=[5], encoder=encoder
    )


def written(
    checkpoint: dict[str, Any],
    folder: Path,
    form: Format | None = None,
    **more: Any,  # noqa: ANN401
) -> list[str]:
    said: list[str] = []
    task = task_of(checkpoint)
    export(checkpoint, network_of(task), form or Onnx(), folder, say=said.append, **more)
    return said


def task_of(checkpoint: dict[str, Any]) -> Task:
    return rebuild("a.ckpt", checkpoint)


@pytest.fixture(autouse=True)
def _no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srulight.export.comparison._SECONDS", 0.0)


@pytest.fixture
def exported(once: Make) -> Path:
    return (
        once("exported_classifier", lambda folder: written(classifier(), folder / "model"))
        / "model"
    )


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_files_and_their_checksums(exported: Path) -> None:
    files = {path.name for path in exported.iterdir()}
    assert files == {
        "README.md", "example.py", "manifest.json", "metadata.json", "model.onnx", "settings.json",
        "weights.safetensors",
    }  # fmt: skip
    listed = json.loads((exported / "manifest.json").read_text())["files"]
    assert set(listed) == files - {"manifest.json"}
    for name, one in listed.items():
        content = (exported / name).read_bytes()
        assert one == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_loads_like_the_checkpoint(exported: Path) -> None:
    texts = ["the plot was dull", "charming , but not the plot"]
    found = srulight.load(exported).predict(texts)
    expected = task_of(classifier()).predict(texts)
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == other.probabilities


def test_example_needs_neither_torch_nor_srulight(exported: Path) -> None:
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['srulight'] = None;"
        "runpy.run_path(sys.argv.pop(1))"
    )
    texts = ["The plot was dull", "charming but unknownword"]
    out = subprocess.run(
        [sys.executable, "-c", code, exported / "example.py", *texts],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    labels = [answer.label for answer in task_of(classifier()).predict(texts)]
    assert out.stdout == "".join(f"{a}\t{t}\n" for a, t in zip(labels, texts, strict=True))


def test_card(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    task = task_of(classifier())
    count = sum(p.numel() for p in task.parameters())
    assert f"| Parameters | {count:,} |" in card
    assert "SRU(hidden_size=6, num_layers=1, bidirectional=True)" in card
    assert "| License | not stated" in card
    assert "| Training | 7 steps, to epoch 3 |" in card


@pytest.mark.parametrize("name", ["weights.safetensors", "metadata.json", "model.onnx"])
def test_altered_file_is_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} was changed after the export"):
        srulight.load(copied)


def test_missing_file_is_refused(copied: Path) -> None:
    (copied / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors is missing"):
        srulight.load(copied)
    (copied / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"exported model with a file manifest\.json"):
        srulight.load(copied)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "manifest.json", lambda d: d["files"].update({"../x": d["files"]["README.md"]}),
            r"names of files, got '\.\./x'",
        ),
        ("manifest.json", lambda d: d["files"].pop("settings.json"), r"checksum of settings\.json"),
        ("manifest.json", lambda d: d.update(version=2), "version 2; export the model again"),
        ("manifest.json", lambda d: d.update(files=[]), "files must be of type dict"),
        ("settings.json", lambda d: d.update(format="x"), "got 'x' of version 1"),
        ("settings.json", lambda d: d.update(task="os.system"), "os.system is not imported"),
        (
            "settings.json",
            lambda d: d["hyper_parameters"]["encoder"].update(class_path="os.system"),
            r"os\.system",
        ),
        ("settings.json", lambda d: d.pop("hyper_parameters"), "lacks hyper_parameters"),
        ("metadata.json", lambda d: d["tokenizer"].update(vocabulary=3), "vocabulary"),
        ("metadata.json", lambda d: d["tokenizer"]["vocabulary"].pop(), "embedding.weight"),
    ],
)  # fmt: skip
def test_forged_files_are_refused(
    copied: Path, file: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    data = json.loads((copied / file).read_text())
    change(data)
    (copied / file).write_text(json.dumps(data))
    if file != "manifest.json":
        (copied / "manifest.json").unlink()
        write_manifest(copied)
    with pytest.raises(InputError, match=message) as caught:
        srulight.load(copied)
    assert "\n" not in str(caught.value)


def test_a_folder_is_replaced_only_if_asked(exported: Path, copied: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already; pass another folder, or --overwrite"):
        written(classifier(), copied)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for manifest in (None, "{}", "<html>"):  # other programs have files of that name too
        if manifest is not None:
            (other / MANIFEST).write_text(manifest)
        with pytest.raises(InputError, match="is not an exported model, and is not replaced"):
            written(classifier(), other, overwrite=True)
    (copied / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no export wrote 'notes\.txt' in it"):
        written(classifier(), copied, overwrite=True)
    (copied / "notes.txt").unlink()
    (copied / "model.onnx").write_bytes(b"old")
    written(classifier(), copied, overwrite=True)
    assert {p.name for p in copied.iterdir()} == {p.name for p in exported.iterdir()}
    assert {p.name for p in tmp_path.iterdir()} == {"copy", "other"}


class Wrong(Onnx):
    """Writes a model whose outputs are off by a thousandth."""

    def write(self, model: Model, folder: Path) -> Run:
        run = super().write(model, folder)
        return lambda inputs: tuple(one + 1e-3 for one in run(inputs))


def test_an_export_that_differs_is_removed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'model' differs from the checkpoint by 0\.001"):
        written(classifier(), tmp_path / "model", Wrong())
    assert not any(tmp_path.iterdir())


def test_step_model_equals_the_whole(tmp_path: Path) -> None:
    """The language model has an adaptive softmax; text comes from a file."""
    text = tmp_path / "text.txt"
    text.write_text("the plot was dull\ncharming\n")
    said = written(language_model(), tmp_path / "model", inputs=[str(text)])
    assert said[-1].startswith("models together: largest difference")
    assert float(said[-1].split()[-1]) < 1e-5
    assert (tmp_path / "model" / "step.onnx").is_file()
    env = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    example: list[str | Path] = [sys.executable, tmp_path / "model" / "example.py", "the", "plot"]
    out = subprocess.run(example, capture_output=True, text=True, check=True, env=env)
    assert out.stdout.startswith("the plot ")


def test_slower_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speeds = iter([Speed(1.0, 2.5), Speed(3.0, 2.0)])
    monkeypatch.setattr(folder_module, "speed", lambda *args: next(speeds))
    said = written(classifier(), tmp_path / "model")
    assert said[2] == (
        "model: batch 1: checkpoint 1.000 ms, ONNX 2.500 ms, SLOWER: 2.50 times the time of the "
        "checkpoint"
    )
    assert said[3].endswith("ONNX 2.000 ms, 1.50 times as fast as the checkpoint")


@pytest.mark.parametrize(
    ("a", "b", "largest", "share"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5, 0.25),
        ([0.0, 0.5], [0.25, 0.5], 0.25, 0.25),
        ([float("-inf"), 4.0], [float("-inf"), 5.0], 1.0, 0.25),
        ([float("inf")], [float("-inf")], float("inf"), float("inf")),
        ([1.0], [float("nan")], float("inf"), float("inf")),
        ([1.0], [1.0, 1.0], float("inf"), float("inf")),
    ],
)
def test_difference(a: list[float], b: list[float], largest: float, share: float) -> None:
    assert difference(torch.tensor(a), torch.tensor(b)) == (largest, share)


def test_settings_of_code_are_refused(tmp_path: Path) -> None:
    checkpoint = classifier() | {"hyper_parameters_dropped": ["encoder"]}
    with pytest.raises(InputError, match="passed encoder as code"):
        write_settings(checkpoint, {}, tmp_path)


def test_weights_are_those_of_the_checkpoint(exported: Path) -> None:
    weights: dict[str, Tensor] = read_export(exported)["state_dict"]
    for name, expected in classifier()["state_dict"].items():
        assert weights[name].equal(expected)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r'needs onnxruntime.*pip install "srulight\[export\]"'):
        command.run(["--ckpt_path=best", "--format=onnx"])


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("torch", marks=pytest.mark.slow),
        pytest.param("aoti", marks=pytest.mark.slow(minutes=1)),
    ],
)
def test_formats_of_torch(tmp_path: Path, form: str) -> None:
    said = written(language_model(), tmp_path / "model", FORMATS[form]())
    assert said[-1].startswith("models together: largest difference")
    assert srulight.load(tmp_path / "model").predict(["the plot"])[0].tokens == 3
