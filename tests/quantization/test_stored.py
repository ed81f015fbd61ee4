"""Quantized checkpoints: what they contain, and what is refused."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from srulight.checkpoint import describe, load, read
from srulight.encoders import LSTM
from srulight.quantization import (
    CodebookMatrix,
    Int8Matrix,
    QuantizedMatrix,
    Settings,
    quantize,
    with_floats,
)
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
        names = quantize(task, settings.bits, activation_bits=settings.activation_bits or 16)  # type: ignore[arg-type]
        assert names
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
        (
            {"quantization": {"bits": 5, "activations": "dynamic"}},
            "expected weights of 8 or 4 bit",
        ),
        ({"quantization": {"bits": 4, "activations": "dynamic"}}, "4 to 16 bits, got 0"),
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


@pytest.mark.parametrize("bits", [8, 4])
def test_floats_take_the_place_of_integers(bits: Literal[8, 4]) -> None:
    network = nn.Sequential(nn.Embedding(5, 9), nn.Linear(9, 5), nn.LayerNorm(5))
    network[1].weight = network[0].weight
    quantize(network, bits)
    found = with_floats(network)
    assert found.keys() == {"0.weight", "1.weight", "1.bias", "2.weight", "2.bias"}
    matrix: Any = network[1].weight
    wanted = matrix.integers.float() * matrix.scale[:, None]
    assert torch.equal(found["0.weight"], wanted)
    assert torch.equal(found["1.weight"], wanted)
    assert isinstance(matrix, Int8Matrix if bits == 8 else CodebookMatrix)


def test_a_checkpoint_with_codebooks_gives_the_same_model(tmp_path: Path) -> None:
    task = language_model(tied=False)
    before = task.predict(["word1 word7 word30"])[0].perplexity
    settings = Settings(4, "dynamic", 12)
    path = saved(task, tmp_path / "x.ckpt", settings)
    wanted = task.predict(["word1 word7 word30"])
    assert wanted[0].perplexity == pytest.approx(before, rel=0.1)
    stored = read(path)
    assert stored["quantization"] == {"bits": 4, "activations": "dynamic", "activation_bits": 12}
    assert describe(path, stored).endswith("quantized to 4 bits")
    weights = stored["state_dict"]
    assert weights[f"{MATRIX}.indices"].shape == (1024, 16)
    assert weights[f"{MATRIX}.codebook"].shape == (1024, 16)
    again = load(path)
    assert again.predict(["word1 word7 word30"]) == wanted
    assert again.quantization == settings
    assert {m.activation_bits for m in again.modules() if isinstance(m, CodebookMatrix)} == {12}


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("indices", torch.zeros(1024, 16), "indices .* expected uint8, got torch.float32"),
        (
            "indices",
            torch.zeros(1024, 32, dtype=torch.uint8),
            r"shape \(1024, 16\), got \(1024, 32\)",
        ),
        (
            "codebook",
            torch.full((1024, 16), torch.nan),
            "codebook .* expected int8, got torch",
        ),
        ("codebook", torch.zeros(0, 16, dtype=torch.int8), "1 to 1024 rows of 16 integers, got sh"),
        ("codebook", torch.zeros(1025, 16, dtype=torch.int8), "1 to 1024 rows of 16 integers"),
        ("codebook", torch.zeros(1024, 15, dtype=torch.int8), "1 to 1024 rows of 16 integers"),
        ("scale", torch.full((1024,), torch.nan), "scale .* finite numbers of at least 0"),
        ("scale", torch.zeros(1023), "weights differ in name or shape"),
        ("fraction", torch.tensor(101), "fraction .* an integer from -100 to 100, got 101"),
        ("fraction", torch.tensor([3]), r"fraction .* an integer from -100 to 100, got \[3\]"),
        ("fraction", torch.tensor(3.0), "fraction .* expected int64, got torch.float32"),
    ],
)
def test_codebooks_are_checked(tmp_path: Path, part: str, value: Tensor, message: str) -> None:
    path = saved(language_model(), tmp_path / "x.ckpt", Settings(4, "calibrated", 8))
    stored = read(path)
    stored["state_dict"][f"{MATRIX}.{part}"] = value
    torch.save(stored, tmp_path / "altered.ckpt")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "altered.ckpt")
