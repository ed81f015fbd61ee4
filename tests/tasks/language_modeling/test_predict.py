"""A language model on the command line, from training to generation."""

from pathlib import Path

import pytest

from srulight.checkpoint import load
from srulight.cli import main
from srulight.tasks.language_modeling import LanguageModeling, Sampler

CONFIG = Path(__file__).parents[3] / "configs" / "language_model.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=GrammarText", "--data.corpus.train_size=40",
        "--data.corpus.val_size=5", "--data.corpus.test_size=5",
        "--data.evaluation.segment_length=9", "--data.tokenizer=Words",
        "--data.tokenizer.split=space", "--data.tokenizer.min_count=2",
        "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        f"--trainer.default_root_dir={folder}",
    ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


def test_writes_the_prompt_and_what_follows(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    args = [f"--ckpt_path={run}", "--prompt=the plot", "--length=12", "--seed=3", "--top_k=5"]
    main(["generate", *args])
    task = load(run)
    assert isinstance(task, LanguageModeling)
    rest = "".join(task.generate("the plot", 12, Sampler(top_k=5, seed=3)))
    assert capsys.readouterr().out == f"the plot{rest}\n"
    assert rest.startswith((" ", "\n"))
    said = [message for message in caplog.messages if str(run) in message]
    assert len(said) == 1
    assert f"{run}: LanguageModeling with SRU, val/loss " in said[0]


def test_measures_and_scores_from_the_checkpoint_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", f"--ckpt_path={run}", "--trainer.enable_progress_bar=false"])
    assert "test/perplexity" in capsys.readouterr().out
    (tmp_path / "lines.txt").write_text("the plot was dull .\n")
    main(["predict", f"--ckpt_path={run}", f"--input={tmp_path / 'lines.txt'}"])
    (score,) = load(run).predict(["the plot was dull ."])
    assert capsys.readouterr().out == f"{score.perplexity:.4f}\t6\tthe plot was dull .\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["generate", "--top_p=2"], "top_p must be above 0 and at most 1, got 2.0"),
        (["test", "--data.tokenizer=Bytes"], "--data.tokenizer must be Words as in the checkpoint"),
        (
            ["test", "--data.tokenizer=Words", "--data.tokenizer.file={words}"],
            "expected the vocabulary of the checkpoint",
        ),
        (["fit", "--model.encoder.bidirectional=true"], "must not be bidirectional"),
        (["fit", "--model.cutoffs=[9,5]"], "cutoffs must increase"),
        (["test", "--data.evaluation.tracks=0"], "tracks must be at least 1, got 0"),
        (
            ["fit", "--data.segment_length=10000"],
            "segment_length must be at most 5708, because the",
        ),
    ],
)
def test_one_sentence_for_what_is_wrong(
    run: Path, tmp_path: Path, args: list[str], message: str
) -> None:
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    args = [arg.format(words=tmp_path / "words.txt") for arg in args]
    if args[0] == "fit":
        args += [f"--config={CONFIG}", f"--trainer.default_root_dir={tmp_path}"]
    else:
        args.append(f"--ckpt_path={run}")
    with pytest.raises(SystemExit) as leaving:
        main(args)
    assert str(leaving.value.code).startswith("error: ")
    assert message in str(leaving.value.code)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_help_shows_the_options_of_writing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["generate", f"--ckpt_path={run}", "--help"])
    text = capsys.readouterr().out
    assert "Writes the prompt and then the generated text" in text
    assert "--top_p" in text


@pytest.mark.parametrize(
    ("command", "option"), [("generate", "--batch_size"), ("predict", "--top_p")]
)
def test_an_option_of_another_command_is_refused(
    run: Path, command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, f"--ckpt_path={run}", f"{option}=1"])
    said = f"{command} with a LanguageModeling has no option {option}"
    assert said in capsys.readouterr().err


def test_settings_of_the_checkpoint_stay_but_those_that_are_said(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    changed = "--data.evaluation.tracks=2"
    main(["test", f"--ckpt_path={run}", changed, "--trainer.enable_progress_bar=false"])
    said = next(message for message in caplog.messages if message.startswith("changed"))
    assert said == "changed since the checkpoint:\n  data.evaluation.tracks: 1 -> 2"


def test_a_language_model_refuses_convolutions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", f"--config={CONFIG}", "--model.encoder=CNN"])
    assert "model.encoder: expected a Recurrent (" in capsys.readouterr().err
