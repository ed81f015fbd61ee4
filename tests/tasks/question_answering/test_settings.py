"""Nested settings can be given one by one, in YAML and on the command line."""

import re
from pathlib import Path

import pytest

from srulight.cli import main
from srulight.commands.training import TrainingCLI, build
from srulight.tasks.question_answering.features import Windows
from srulight.tasks.question_answering.model import ReaderLayers

CONFIGS = Path(__file__).parents[3] / "configs"
QUIET = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]


def built(name: str, *options: str) -> TrainingCLI:
    return build([f"--config={CONFIGS / name}.yaml", *options, *QUIET], run=False)


def test_an_option_changes_one_setting_of_a_group() -> None:
    cli = built(
        "questions", "--model.layers.document=4", "--data.windows.size=150",
        "--data.tokenizer.split=characters",
    )  # fmt: skip
    assert cli.model.layers == ReaderLayers(document=4, question=2)
    assert cli.datamodule.windows == Windows(size=150, overlap=100)
    tokenizer = cli.datamodule.tokenizer
    assert (tokenizer.split, tokenizer.lowercase, tokenizer.min_count) == ("characters", True, 1)


def test_the_settings_of_the_paper() -> None:
    cli = built("squad", "--data.tokenizer.lowercase=false")
    assert cli.model.layers == ReaderLayers(document=6, question=6)
    assert (cli.model.embedding_size, cli.model.tuned_words) == (300, 1000)
    assert (cli.model.word_dropout.p, cli.model.dropout) == (0.5, 0.2)
    assert not cli.datamodule.tokenizer.lowercase


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.windows.overlap=400"], "windows.overlap must be 0 to 399, got 400"),
        (["--model.layers.question=0"], "layers.question must be at least 1, got 0"),
        (
            ["--data.tokenizer.split=basic_english"],
            "locate words in the text, got 'basic_english'",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(options: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        fit(*options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.tokenizer=Bytes", "data.tokenizer: there is no Words called 'Bytes'"),
        ("--data.window=50", "has no option 'window'; did you mean windows?"),
        ("--model.layers.answer=1", "layers"),
    ],
)
def test_the_parser_refuses_what_is_no_setting(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        fit(option)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def fit(*options: str) -> None:
    main(["fit", f"--config={CONFIGS / 'questions.yaml'}", *options, *QUIET])
