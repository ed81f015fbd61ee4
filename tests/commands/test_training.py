"""The usual workflow: fit, resume, test and predict, each as if in a process of its own."""

import csv
from pathlib import Path

import pytest
import torch

from srulight.checkpoint import load
from srulight.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}",
    "--data.corpus=Grammar",
    "--data.corpus.train_size=64",
    "--data.corpus.val_size=16",
    "--data.corpus.test_size=16",
    "--model.embedding_size=8",
    "--model.encoder.hidden_size=8",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def fit(folder: Path, *args: str) -> None:
    main(["fit", *SMALL, f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=2", *args])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def test_fit_leaves_log_configuration_and_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path)
    run = tmp_path / "version_0"
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert (run / "config.yaml").exists()
    logged = {k for row in rows(run / "metrics.csv") for k, v in row.items() if v}
    assert logged >= {
        "epoch", "step", "lr-Adam", "train/loss", "train/samples_per_second", "val/accuracy",
        "val/loss",
    }  # fmt: skip
    assert "epoch 1 (" in capsys.readouterr().out
    assert "best val/accuracy" in caplog.text
    assert epoch_of(run / "checkpoints" / "last.ckpt") == 2
    assert epoch_of(run / "checkpoints" / "previous.ckpt") == 1


def test_one_callback_needs_no_list(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.callbacks=LastCheckpoint", "--trainer.max_epochs=1")
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert epoch_of(last) == 1
    main(["test", f"--ckpt_path={last}", "--trainer.callbacks=LastCheckpoint"])


def test_a_checkpoint_needs_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path)
    best = tmp_path / "version_0" / "checkpoints" / "best.ckpt"
    before = set(tmp_path.rglob("*"))
    main(["test", f"--ckpt_path={best}", "--trainer.enable_progress_bar=false"])
    assert "test/accuracy" in capsys.readouterr().out
    main(["validate", f"--ckpt_path={best}", "--trainer.enable_progress_bar=false"])
    assert "val/accuracy" in capsys.readouterr().out
    reports = {path.name for path in {*tmp_path.rglob("*")} - before}
    assert reports == {f"{s}-{f}" for s in ("test", "val") for f in ("report.csv", "confusion.png")}

    sentences = ["the plot was dull .", "", "the plot was not dull ."]
    expected = [
        f"{p.label}\t{p.probability:.4f}\t{s}\n"
        for s, p in zip(sentences, load(best).predict(sentences), strict=True)
    ]
    (tmp_path / "in.txt").write_text("\n".join(sentences) + "\n")
    main(["predict", f"--ckpt_path={best}", f"--input={tmp_path / 'in.txt'}"])
    assert capsys.readouterr().out.splitlines(keepends=True) == expected

    (tmp_path / "in.txt").write_bytes("\r\n".join(sentences).encode())
    with (tmp_path / "in.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        main(["predict", f"--ckpt_path={best}", f"--output={tmp_path / 'out.txt'}"])
    assert (tmp_path / "out.txt").read_text().splitlines(keepends=True) == expected


def test_resuming_goes_on_and_the_user_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path)
    where = f"--trainer.default_root_dir={tmp_path}"
    capsys.readouterr()
    main(["fit", "--ckpt_path=last", where, "--trainer.max_epochs=3", "--model.optimizer.lr=0.01"])
    out = capsys.readouterr().out
    assert "changed since the checkpoint:\n  model.optimizer.lr: 0.002 -> 0.01\n" in caplog.text
    assert "epoch 2 (" in out
    assert "epoch 1 (" not in out
    # The resumed run stays in its folder, with one log and the best checkpoint of the whole run.
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert epoch_of(last) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["version_0"]
    group = torch.load(last, weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert group["lr"] == 0.01
    logged = rows(tmp_path / "version_0" / "metrics.csv")
    assert [row["epoch"] for row in logged if row["epoch"]] == ["0", "0", "1", "1", "2", "2"]
    first, second, third = [float(s) for row in logged if (s := row["train/seconds"])]
    assert 0 < first < second < third


def test_a_resumed_epoch_is_the_one_that_would_have_come(tmp_path: Path) -> None:
    options = ["--model.dropout=0", "--model.encoder.dropout=0"]
    fit(tmp_path / "whole", *options)
    fit(tmp_path / "parts", *options, "--trainer.max_epochs=1")
    where = f"--trainer.default_root_dir={tmp_path / 'parts'}"
    main(["fit", "--ckpt_path=last", where, "--trainer.max_epochs=2"])
    whole, parts = (
        torch.load(tmp_path / name / "version_0/checkpoints/last.ckpt", weights_only=True)
        for name in ("whole", "parts")
    )
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, parts["state_dict"][name]), name


def test_test_reads_with_the_vocabulary_of_training(tmp_path: Path) -> None:
    fit(tmp_path)
    best = tmp_path / "version_0" / "checkpoints" / "best.ckpt"
    (tmp_path / "train.tsv").write_text("text\tlabel\nnew words\tnegative\nonly\tpositive\n")
    table = [
        f"--ckpt_path={best}", "--data.corpus=Tables", "--data.corpus.val=train.tsv",
        "--data.corpus.test=train.tsv", f"--data.root={tmp_path}",
        "--trainer.enable_progress_bar=false",
    ]  # fmt: skip
    main(["test", *table])
    (tmp_path / "train.tsv").write_text("text\tlabel\nnew words\tbad\nonly\tpositive\n")
    with pytest.raises(SystemExit, match=r"the checkpoint \(negative, positive\), got bad, pos"):
        main(["test", *table])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fti"], "did you mean fit?"),
        (["test", "--ckpt_path=nothing.ckpt"], "there is no checkpoint nothing.ckpt"),
        (["test", "--ckpt_path=best", "--trainer.default_root_dir=empty"], "train first"),
        (["predict", "--ckpt_path=nothing.ckpt"], "there is no checkpoint nothing.ckpt"),
        (["fit", *SMALL, "--data.batch_size=0"], "must be at least 1, got 0"),
        (["fit", *SMALL, "--data.corpus=StanfordTrees", "--data.root=none"], "train.txt"),
        (["fit", *SMALL, "--model.encoder.dropout=2"], "dropout must be at least 0"),
        (["fit", *SMALL, "--trainer.accelerator=none"], "trainer: "),
    ],
)
def test_one_sentence_for_what_is_wrong(args: list[str], message: str, tmp_path: Path) -> None:
    if args[0] == "fit":
        args = [*args, f"--trainer.default_root_dir={tmp_path}"]
    with pytest.raises(SystemExit) as leaving:
        main(args)
    assert str(leaving.value.code).startswith("error: ")
    assert message in str(leaving.value.code)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("setting", "number", "allowed"),
    [
        ("seed_everything", -1, "0 to 4294967295"),
        ("trainer.accumulate_grad_batches", 0, "at least 1"),
        ("trainer.check_val_every_n_epoch", 0, "at least 1"),
        ("trainer.gradient_clip_val", -1, "at least 0"),
        ("trainer.log_every_n_steps", -1, "at least 0"),
        ("trainer.val_check_interval", 0, "above 0"),
    ],
)
def test_numbers_that_lightning_does_not_check_are_checked(
    setting: str, number: int, allowed: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=f"{setting} must be {allowed}, got {number}"):
        fit(tmp_path, f"--{setting}={number}")
    assert not list(tmp_path.iterdir())


def test_predict_says_which_line_is_not_utf8(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.max_epochs=1")
    best = tmp_path / "version_0" / "checkpoints" / "best.ckpt"
    (tmp_path / "in.txt").write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(SystemExit, match=r"in\.txt:2: byte 0xef is not UTF-8"):
        main(["predict", f"--ckpt_path={best}", f"--input={tmp_path / 'in.txt'}"])
