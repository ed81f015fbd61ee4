"""Quantized checkpoints: what they contain, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

from srulight.checkpoint import describe, load, read
from srulight.encoders import LSTM
from srulight.quantization import QuantizedMatrix, Settings, quantize, with_floats
from srulight.quantization.recurrent import QuantizedRNN
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.text.tokenizers import PAD_UNKNOWN, Words

WORDS = [f"word{i}" for i in range(40)]


def language_model(**options: Any) -> LanguageModeling:  # noqa: ANN401
    task = LanguageModeling(embedding_size=32, **options)
    tokenizer = Words("space").with_vocabulary(WORDS, PAD_UNKNOWN, lines=True)
    task.metadata = {"tokenizer": tokenizer.settings}
    task.build(task.metadata)
    return task.eval()


def saved(task: Task, path: Path, settings: Settings | None = None) -> Path:
    if settings is not None:
        quantize(task)
        task.quantization = settings
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


@pytest.mark.filterwarnings("ignore:Attribute 'encoder' removed from hparams")
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"token_layers.embedding", "token_layers.mapping.weight"}),
        ({"tied": False}, {"token_layers.embedding", "token_layers.weight"}),
        ({"cutoffs": [20]}, {"token_layers.softmax.head.weight"}),
        ({"cutoffs": [20], "tied": False}, {"token_layers.own.0", "token_layers.own.1"}),
        ({"encoder": lambda size: LSTM(size, 16)}, {"encoder.rnn.weight_hh_l1"}),
    ],
)
def test_a_checkpoint_gives_the_same_model(
    tmp_path: Path, options: dict[str, Any], parts: set[str]
) -> None:
    task = language_model(**options)
    before = task.predict(["word1 word7 word30"])[0].perplexity
    path = saved(task, tmp_path / "x.ckpt", Settings(8, "dynamic"))
    wanted = task.predict(["word1 word7 word30"])
    assert wanted[0].perplexity != before
    assert wanted[0].perplexity == pytest.approx(before, rel=0.05)
    stored = read(path)
    assert stored["quantization"] == {"bits": 8, "activations": "dynamic"}
    assert describe(path, stored).endswith("quantized to 8 bits")
    weights = stored["state_dict"]
    for part in parts:
        assert weights[f"{part}.values"].dtype == torch.int8
        assert part not in weights
    again = load(path, **{name: options[name] for name in options if name == "encoder"})
    assert again.predict(["word1 word7 word30"]) == wanted
    assert again.quantization == Settings(8, "dynamic")
    assert any(isinstance(m, QuantizedMatrix | QuantizedRNN) for m in again.modules())
    if "cutoffs" not in options:
        assert sum(w.numel() * w.element_size() for w in weights.values()) < 0.35 * sum(
            4 * w.numel() for w in language_model(**options).state_dict().values()
        )


def test_a_quantized_model_is_not_trained(tmp_path: Path) -> None:
    task = load(saved(language_model(), tmp_path / "x.ckpt", Settings(8, "dynamic")))
    with pytest.raises(InputError, match="a quantized model cannot be trained; train the orig"):
        task.configure_optimizers()


MATRIX = "encoder.layers.0.weight"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"quantization": {"bits": 4, "activations": "dynamic"}}, "expected weights of 8 bits"),
        ({"quantization": {"bits": 8, "activations": "odd"}}, "dynamic or calibrated .* 'odd'"),
        ({"quantization": {"bits": "8", "activations": "dynamic"}}, "bits must be of type int"),
        ({"quantization": {"activations": "dynamic"}}, "quantization lacks bits"),
        ({"quantization": 8}, "quantization must be of type dict"),
        ({f"{MATRIX}.values": torch.zeros(768, 32)}, "values .* expected int8, got torch.float32"),
        ({f"{MATRIX}.values": torch.zeros(3, 32, dtype=torch.int8)}, "weights differ in name or"),
        ({f"{MATRIX}.scale": torch.zeros(768, dtype=torch.int8)}, "scale .* expected float32"),
        ({f"{MATRIX}.scale": torch.full((768,), -1.0)}, "scale .* finite numbers of at least 0"),
        ({f"{MATRIX}.scale": torch.full((768,), torch.inf)}, "scale .* finite numbers"),
        ({f"{MATRIX}.range": torch.tensor([0.5, 1.0])}, r"range .* two numbers around 0, got \[0"),
        ({f"{MATRIX}.range": torch.tensor([0.0, 0.0])}, "range .* two different numbers"),
        ({f"{MATRIX}.range": torch.tensor([0.0, torch.nan])}, "range .* two numbers around 0"),
        ({f"{MATRIX}.range": torch.tensor(0.0)}, "range .* two numbers around 0"),
        ({f"{MATRIX}.other": torch.zeros(1)}, "weights differ in name or shape, such as .*other"),
    ],
)
def test_what_is_stored_is_checked(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    path = saved(language_model(), tmp_path / "x.ckpt", Settings(8, "calibrated"))
    stored = read(path)
    for name, value in entries.items():
        (stored if name in stored else stored["state_dict"])[name] = value
    torch.save(stored, tmp_path / "altered.ckpt")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "altered.ckpt")


def test_weights_alone_do_not_quantize(tmp_path: Path) -> None:
    stored = read(saved(language_model(), tmp_path / "x.ckpt", Settings(8, "dynamic")))
    del stored["quantization"]
    torch.save(stored, tmp_path / "altered.ckpt")
    with pytest.raises(InputError, match="weights differ in name or shape"):
        load(tmp_path / "altered.ckpt")


def test_floats_take_the_place_of_integers() -> None:
    weights = {
        "a.weight.values": torch.tensor([[2, -4], [127, 0]], dtype=torch.int8),
        "a.weight.scale": torch.tensor([0.5, 2.0]),
        "a.weight.range": torch.tensor([-1.0, 1.0]),
        "a.bias": torch.tensor([3.0, 4.0]),
        "b.scale": torch.tensor([5.0]),  # of no quantized matrix
    }
    found = with_floats(weights)
    assert list(found) == ["a.weight", "a.bias", "b.scale"]
    assert found["a.weight"].tolist() == [[1.0, -2.0], [254.0, 0.0]]
