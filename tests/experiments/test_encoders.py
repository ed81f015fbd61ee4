"""Names of encoders on the command line, and widths for equal numbers of parameters."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.experiments.encoders import Recipe, choose
from srulight.experiments.tuning import LAYERS, trials
from srulight.runtime.errors import InputError
from srulight.tasks import TextClassification

PARTS = ["model.encoder"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe(
        ["--config=configs/quickstart.yaml"], tmp_path_factory.mktemp("sizes") / "widths.json"
    )


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("SRU", ("--model.encoder=SRU",)),
        ("lstm", ("--model.encoder=configs/encoders/lstm.yaml",)),
        ("CNN,widths=[1,2],channels=8",
         ("--model.encoder=CNN", "--model.encoder.widths=[1,2]", "--model.encoder.channels=8")),
        ("mine.Encoder", ("--model.encoder=mine.Encoder",)),
    ],
)  # fmt: skip
def test_names_and_settings(text: str, options: tuple[str, ...]) -> None:
    assert choose(text, PARTS).options == options


def test_a_setting_needs_a_value() -> None:
    with pytest.raises(InputError, match="name=value after a comma, got 'four'"):
        choose("SRU,four", PARTS)


def test_the_encoder_of_a_configuration_is_found(recipe: Recipe) -> None:
    assert recipe.parts == PARTS
    translation = Recipe(["--config=configs/translation.yaml"], Path("unused"))
    assert translation.parts == ["model.translator.encoder", "model.translator.decoder"]
    # The decoder of speech recognition is none.
    assert Recipe(["--config=configs/speech.yaml"], Path("unused")).parts == PARTS
    pose = Recipe(["--config=configs/pose.yaml"], Path("unused"))
    assert pose.parts == ["model.head.encoder"]


def test_a_mistake_is_one_sentence(recipe: Recipe, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"model\.encoder: there is no Encoder called 'SUR'"):
        recipe.build(choose("SUR", PARTS).options)
    assert capfd.readouterr().err == ""
    with pytest.raises(InputError, match="num_layers must be even and at least 2, got 3"):
        recipe.parameters(["--model.encoder=ResidualCNN", "--model.encoder.num_layers=3"])


def test_widths_give_about_the_same_number_of_parameters(recipe: Recipe) -> None:
    # An SRU layer of width d has 3 d inputs (the first layer: 4 d inputs, if input and width
    # differ), and 4 d of biases and peepholes; an LSTM layer has 4 d (inputs + d) + 8 d.
    target = recipe.parameters(["--model.encoder=SRU"])
    (option,) = recipe.widened(["--model.encoder=LSTM"], PARTS, target)
    width = int(option.partition("=")[2])
    vocabulary = target - (4 * 64 * 128 + 3 * 128 * 128 + 2 * 4 * 128) - (2 * 128 + 2)

    def lstm(d: int) -> int:
        return vocabulary + 4 * d * (64 + d) + 4 * d * 2 * d + 2 * 8 * d + (2 * d + 2)

    assert recipe.parameters(["--model.encoder=LSTM", option]) == lstm(width)
    best = min(range(4, 512, 4), key=lambda d: abs(lstm(d) - target))
    assert width == best


def test_a_file_of_widths_gives_numbers_only(recipe: Recipe, tmp_path: Path) -> None:
    sizes = tmp_path / "widths.json"
    own = Recipe(recipe.options, sizes)
    chosen = ["--model.encoder=SRU"]
    target = recipe.parameters(chosen)
    right = own.widened(chosen, PARTS, target)
    (key,) = json.loads(sizes.read_text())
    bad: list[object] = [{key: ["--model=os.system"]}, {key: -1}, [1], {key: "--model=os.system"}]
    for contents in [*map(json.dumps, bad), "{"]:
        sizes.write_text(contents)
        assert own.widened(chosen, PARTS, target) == right


def test_a_network_that_looks_at_values_is_counted(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = recipe.parameters()
    build = TextClassification.build_network

    def look(self: TextClassification, metadata: dict[str, Any]) -> None:
        torch.ones(3).nonzero()  # has no implementation without values
        build(self, metadata)

    monkeypatch.setattr(TextClassification, "build_network", look)
    assert recipe.parameters() == expected


def test_each_encoder_tries_the_same_points(recipe: Recipe) -> None:
    sru = trials(recipe, ["--model.encoder=SRU"], PARTS, 5, None)
    lstm = trials(recipe, ["--model.encoder=LSTM"], PARTS, 5, None)
    assert sru[0] == lstm[0] == ()
    for ours, theirs in zip(sru[1:], lstm[1:], strict=True):
        assert set(theirs) < set(ours)
        (only,) = set(ours) - set(theirs)
        name, _, value = only.partition("=")
        assert name == "--model.encoder.highway_bias"
        assert -3 <= float(value) <= 0
        rate = float(ours[0].removeprefix("--model.optimizer.lr="))
        assert 0.002 / 8 <= rate <= 0.002 * 8


def test_layers_change_at_equal_parameters_only(recipe: Recipe) -> None:
    def widen(options: object) -> tuple[str, ...]:
        return (f"--width-of={' '.join(options)}",)  # type: ignore[arg-type]

    found = trials(recipe, ["--model.encoder=SRU"], PARTS, 9, widen)
    layers = [int(o.partition("=")[2]) for t in found for o in t if "num_layers=" in o[:28]]
    assert set(layers) <= set(LAYERS)
    assert len(set(layers)) > 2
    assert all(f"num_layers={n}" in t[-1] for n, t in zip(layers, found[1:], strict=True))
