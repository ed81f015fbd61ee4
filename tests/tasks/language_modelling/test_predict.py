"""A language model from training to writing, as a user does it."""

from pathlib import Path

import pytest

from srulight.checkpoint import load
from srulight.cli import main
from srulight.tasks.language_modelling.task import LanguageModelling

CONFIG = Path(__file__).parents[3] / "configs" / "language_model.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=GrammarText", "--data.corpus.train_size=40",
        "--data.corpus.val_size=5", "--data.corpus.test_size=5", "--model.embedding_size=8",
        "--model.encoder.hidden_size=8", "--trainer.max_epochs=1",
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
    assert isinstance(task, LanguageModelling)
    rest = "".join(task.generate("the plot", length=12, top_k=5, seed=3))
    assert capsys.readouterr().out == f"the plot{rest}\n"
    assert rest.startswith((" ", "\n"))
    said = [message for message in caplog.messages if str(run) in message]
    assert len(said) == 1
    assert f"{run}: LanguageModelling with SRU, val/loss " in said[0]


def test_measures_and_scores_from_the_checkpoint_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", f"--ckpt_path={run}", "--trainer.enable_progress_bar=false"])
    assert "test/perplexity" in capsys.readouterr().out
    (tmp_path / "lines.txt").write_text("the plot was dull .\n")
    main(["predict", f"--ckpt_path={run}", f"--input={tmp_path / 'lines.txt'}"])
    ((score),) = load(run).predict(["the plot was dull ."])
    assert capsys.readouterr().out == f"{score.perplexity:.4f}\t6\tthe plot was dull .\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["generate", "--top_p=2"], "top_p must be above 0 and at most 1, got 2.0"),
        (["test", "--data.level=byte"], "the checkpoint is a model of words, and --data.level is"),
        (["test", "--data.vocabulary={words}"], "is not the vocabulary that the checkpoint was"),
        (["fit", "--model.encoder.bidirectional=true"], "must not read what it predicts"),
        (["fit", "--model.cutoffs=[9,5]"], "cutoffs must go up"),
        (["fit", "--data.segment_length=10000"], "segment_length is 10000, and each of 16 tracks"),
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


def test_only_language_models_write(tmp_path: Path) -> None:
    main([
        "fit", f"--config={CONFIG.with_name('quickstart.yaml')}", "--data.corpus=Grammar",
        "--data.corpus.train_size=16", "--data.corpus.val_size=4", "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}",
    ])  # fmt: skip
    with pytest.raises(SystemExit, match=r"holds a TextClassification; generate needs Language"):
        main(["generate", f"--ckpt_path={next(tmp_path.rglob('best.ckpt'))}"])


def test_a_language_model_refuses_convolutions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", f"--config={CONFIG}", "--model.encoder=CNN"])
    assert "CNN is no Recurrent: an encoder that can stop" in capsys.readouterr().err
