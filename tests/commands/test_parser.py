"""A mistake gets a few lines that say what was meant."""

import pytest

from srulight.commands.generate import generate
from srulight.commands.parser import Parser
from srulight.commands.training import build

CONFIG = "--config=configs/quickstart.yaml"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--model.encoder=SRUU", "there is no Encoder called 'SRUU'; did you mean SRU or SRUpp?"),
        ("--model.encoder.hiden_size=3", "model.encoder: SRU has no option 'hiden_size'; did you "
         "mean hidden_size?"),
        ("--model.dropuot=0.1", "TextClassification has no option 'dropuot'; did you mean dropout"),
        ("--data.bath_size=3", "TextClassificationData has no option 'bath_size'; did you mean "
         "batch_size"),
        ("--data.corpus=Gramar", "there is no Corpus called 'Gramar'; did you mean Grammar?"),
        ("--model=TextClasification", "there is no Task called 'TextClasification'; did you mean "
         "TextClassification?"),
        ("--model.optimizer=Adamm", "there is no Optimizer called 'Adamm'; did you mean Adam"),
        ("--trainer.max_epoch=3", "there is no option --trainer.max_epoch; did you mean "
         "--trainer.max_epochs"),
        ("--trainer.max_epochs=three", "trainer.max_epochs: expected int; got 'three'"),
        ("--model.encoder.activation=selu", "model.encoder.activation: expected one of identity, "
         "tanh, relu; got 'selu'"),
        ("--config=nothing.yaml", "File does not exist"),
    ],
)  # fmt: skip
def test_says_what_was_meant(
    argument: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        build([CONFIG, argument], run=False)
    assert leaving.value.code == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.splitlines()) <= 3


def test_a_configuration_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build(["fit"])
    assert "--config configs/quickstart.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "kept"), [("None", "None"), ("null", "null"), ("", "")])
def test_text_stays_text(given: str, kept: str) -> None:
    parser = Parser()
    parser.add_function_arguments(generate, as_group=False)
    parsed = parser.parse_args(["--ckpt_path=a", f"--prompt={given}", "--seed=None"])
    assert (parsed.prompt, parsed.seed) == (kept, None)


@pytest.mark.parametrize("null", ["null", "None"])
def test_null_reaches_a_class_inside_a_class(null: str) -> None:
    cli = build(["--config=configs/squad.yaml", f"--data.corpus.val={null}"], run=False)
    assert cli.datamodule.corpus.val is None
