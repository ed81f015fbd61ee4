"""Errors of the parser are short and suggest what the user meant."""

import pytest

from srulight.commands.parser import Parser
from srulight.commands.training import build
from srulight.tasks.language_modeling.generate import TextGenerator

CONFIG = "--config=configs/quickstart.yaml"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--model.encoder=SRUU", "there is no Encoder called 'SRUU'; did you mean SRU or SRUpp?"),
        ("--model.encoder.hiden_size=3", "model.encoder: SRU has no option 'hiden_size'; did you "
         "mean hidden_size?"),
        ("--model.dropuot=0.1", "TextClassification has no option 'dropuot'; did you mean dropout"),
        ("--data.batch=3", "TextClassificationData has no option 'batch'; did you mean batch_size"),
        ("--data.tokenizer=Words --data.tokenizer.lower=true", "has no option 'lower'"),
        ("--data.tokenizer.split=space", "data.tokenizer: expected a class before its option "
         "'split'; add --data.tokenizer=Words\n"),
        ("--config=configs/translation.yaml --data.filters.max_len=3", "TranslationData has no "
         "option 'filters.max_len'; did you mean filters.max_length"),
        ("--data.bath_size=3", "TextClassificationData has no option 'bath_size'; did you mean "
         "batch_size"),
        ("--data.corpus=Gramar", "there is no SentenceCorpus called 'Gramar'; did you mean "
         "Grammar?"),
        ("--model=TextClasification", "there is no Task called 'TextClasification'; did you mean "
         "TextClassification?"),
        ("--model.optimizer=Adamm", "there is no Optimizer called 'Adamm'; did you mean Adam"),
        ("--trainer.max_epoch=3", "there is no option --trainer.max_epoch; did you mean "
         "--trainer.max_epochs"),
        ("--trainer.max_epochs=three", "trainer.max_epochs: expected int, got 'three'"),
        ("--model.encoder.activation=selu", "model.encoder.activation: expected one of identity, "
         "tanh, relu, got 'selu'"),
        ("--config=nothing.yaml", "no such file: "),
        ("--trainer.callbacks+=EarlyStopping", "trainer.callbacks: EarlyStopping needs monitor; "
         "add --trainer.callbacks.monitor=..."),
        ("--trainer.logger=TensorBoardLogger", "trainer.logger: TensorBoardLogger needs save_dir; "
         "add --trainer.logger.save_dir=..."),
        ("--model.scheduler=Cosine", "model.scheduler: Cosine needs steps; add "
         "--model.scheduler.steps=..."),
        ("--optimizer=SGD", "no option --optimizer; did you mean --model.optimizer?"),
        ("--lr=0.1", "no option --lr; did you mean --model.optimizer.lr?"),
        ("--lr_scheduler=x", "no option --lr_scheduler; did you mean --model.scheduler?"),
        ("--batch_size=3", "no option --batch_size; did you mean --data.batch_size?"),
        ("--epochs=3", "no option --epochs; did you mean --trainer.max_epochs or "
         "--trainer.min_epochs?"),
        ("--num_layers=3", "no option --num_layers; did you mean --model.encoder.num_layers?"),
        ("--model.lr=1", "TextClassification has no option 'lr'; did you mean optimizer.lr?"),
        ("--data.batch_size=many", "data.batch_size: expected int, got 'many'"),
        ("--model.encoder.num_layers=x", "model.encoder.num_layers: expected int, got 'x'"),
        ("--model.optimizer.lr=x", "model.optimizer.lr: expected a number, got 'x'"),
    ],
)  # fmt: skip
def test_says_what_was_meant(
    argument: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        build([CONFIG, *argument.split()], run=False)
    assert leaving.value.code == 2
    message = capsys.readouterr().err
    assert expected in message
    assert len(message.splitlines()) <= 3
    assert "Namespace" not in message
    assert "NestedArg" not in message


def test_a_configuration_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build(["fit"])
    assert capsys.readouterr().err == (
        "error: fit needs a model and data; pass a configuration such as --config "
        "configs/quickstart.yaml\n"
    )
    with pytest.raises(SystemExit):
        build(["test"])
    assert "or a checkpoint with --ckpt_path=best" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "test", "validate"])
def test_help_describes_checkpoints_as_srulight_finds_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f" {command} --config FILE [options]" in said
    assert "a path, or last or best for that checkpoint of the newest run" in said
    assert "registry:model-name" not in said


@pytest.mark.parametrize(("given", "kept"), [("None", "None"), ("null", "null"), ("", "")])
def test_text_stays_text(given: str, kept: str) -> None:
    parser = Parser()
    parser.add_class_arguments(TextGenerator, as_group=False)
    parsed = parser.parse_args([f"--prompt={given}", "--seed=None"])
    assert (parsed.prompt, parsed.seed) == (kept, None)


@pytest.mark.parametrize("null", ["null", "None"])
def test_null_reaches_a_class_inside_a_class(null: str) -> None:
    cli = build(["--config=configs/squad.yaml", f"--data.corpus.val={null}"], run=False)
    assert cli.datamodule.corpus.val is None


def test_says_which_option_of_a_callback_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    build([CONFIG, *stop, "--trainer.callbacks.patience=2"], run=False)
    for option, expected in (
        ("patience=x", "trainer.callbacks.patience: expected int, got 'x'"),
        ("patienc=2", "EarlyStopping has no option 'patienc'; did you mean patience?"),
    ):
        with pytest.raises(SystemExit):
            build([CONFIG, *stop, f"--trainer.callbacks.{option}"], run=False)
        assert expected in capsys.readouterr().err


def test_says_why_an_encoder_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build(["--config=configs/language_model.yaml", "--model.encoder=CNN"], run=False)
    said, known = capsys.readouterr().err.rstrip().split("\n")
    assert said.startswith("error: model.encoder: expected a Recurrent (")
    assert said.endswith("), got CNN")
    # Classes of other tests may be listed, too.
    assert {"GRU", "LSTM", "QRNN", "SRU", "SRUpp"} <= set(
        known.removeprefix("  known: ").split(", ")
    )
