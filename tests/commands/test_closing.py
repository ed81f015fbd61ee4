"""The messages of a run: during training, at its end, and when a checkpoint is loaded."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight import checkpoint
from srulight.cli import main
from srulight.training.callbacks.epoch_line import line

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.max_epochs=1", "--trainer.default_root_dir=runs",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")


def test_a_model_is_summed_up_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    main(["fit", *SMALL, "--model.freeze_embedding=true"])
    (said,) = [m for m in caplog.messages if "parameters" in m]
    found = re.fullmatch(
        r"([\d,]+) parameters, 466 of them trainable: embedding \(Embedding\) (\d+), "
        r"encoder \(SRU\) 448, head \(Linear\) 18",
        said,
    )
    assert found is not None, said
    assert int(found[1].replace(",", "")) == int(found[2]) + 466


def test_without_validation_the_last_checkpoint_is_offered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    main(["fit", *SMALL, "--trainer.limit_val_batches=0", "--trainer.logger=false"])
    said = caplog.messages[-1]
    path = re.search(r"test --ckpt_path=(\S+last\.ckpt)", said)
    assert path is not None, said
    assert Path(path[1]).is_file()
    assert "log:" not in said
    assert "best" not in said


def test_resuming_what_is_done_says_so_and_the_best_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def best() -> dict[str, object]:
        stored = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
        (state,) = [s for k, s in stored["callbacks"].items() if k.startswith("ModelCheckpoint")]
        return {k: state[k] for k in ("dirpath", "best_model_path", "best_model_score")}

    main(["fit", *SMALL])
    # A line that Lightning prints while the progress bar is shown would leave a second bar behind.
    assert not any("`Trainer.fit` stopped" in message for message in caplog.messages)
    first = best()
    caplog.clear()
    main(["fit", "--ckpt_path=last"])
    assert "training was already complete (step 2, 1 epoch)" in caplog.messages[-1]
    assert "raise --trainer.max_epochs" in caplog.messages[-1]
    assert f"best val/accuracy: {first['best_model_score']:.4f}" in caplog.messages[-1]
    assert "log:      runs/version_0/metrics.csv" in caplog.messages[-1]
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--model.optimizer.lr=0"])
    assert best() == first


def test_measures_are_printed_as_a_person_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *SMALL])
    capsys.readouterr()
    for command, stage in (("test", "test"), ("validate", "val")):
        main([command, "--ckpt_path=best", "--trainer.enable_progress_bar=false"])
        accuracy, *others = capsys.readouterr().out.partition("\n\n")[0].splitlines()
        assert re.fullmatch(rf"{stage}/accuracy [01]\.\d{{4}}", accuracy)
        assert len(others) == 4
        assert all(re.fullmatch(rf"{stage}/\w+ \d\.\d{{4}}", line) for line in others)


def test_a_checkpoint_that_is_used_is_named_with_what_it_is(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SMALL, "--model.encoder=GRU", "--trainer.max_epochs=2"])
    folder = "runs/version_0/checkpoints"
    best = torch.load(f"{folder}/best.ckpt", weights_only=True)
    (score,) = re.findall(r"best val/accuracy: (\S+)", caplog.messages[-1])
    Path("in.txt").write_text("dull\n")
    for command in (["predict", "--input=in.txt"], ["test", "--trainer.enable_progress_bar=false"]):
        caplog.clear()
        main([*command, "--ckpt_path=best"])
        said = [message for message in caplog.messages if folder in message]
        what = f"TextClassification with GRU, val/accuracy {score}, step {best['global_step']}"
        assert said == [f"loading {folder}/best.ckpt: {what}"]
    caplog.clear()
    main(["predict", "--input=in.txt", "--ckpt_path=last"])
    what = f"TextClassification with GRU, best val/accuracy so far {score}, step 4"
    assert f"loading {folder}/last.ckpt: {what}" in caplog.messages
    main(["fit", "--ckpt_path=last"])
    assert f"resuming from {folder}/last.ckpt: {what}" in caplog.messages
    # The line is on standard error, not among the answers.
    assert folder not in capsys.readouterr().out


def test_what_a_file_says_of_itself_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "require_checkpoint", lambda *_: None)
    stored: dict[str, Any] = {
        "task": "a.\x1b[2JTask",
        "global_step": 3,
        "hyper_parameters": {"encoder": {"class_path": 7}, "translator": "no"},
        "callbacks": {
            "one": {"best_model_score": torch.zeros(2)},
            "two": {"best_model_score": torch.tensor(0.5)},
            "three": {},
        },
    }
    said = checkpoint.describe("x.ckpt", stored)
    assert said == "x.ckpt: ?[2JTask with 7, best None so far 0.5000, step 3"


def test_a_line_has_the_metric_first_and_fits() -> None:
    values = {
        "lr-Adam": 0.002, "train/gradient_norm": 0.5, "train/loss": 0.037712, "val/wer": 0.25,
        "train/samples_per_second": 10512.3, "val/loss": 0.02944, "val/cer": 0.1,
    }  # fmt: skip
    head = "epoch 18 (0.6 s): val/wer 0.25, val/cer 0.1, val/loss 0.02944, train/loss 0.03771"
    assert line("epoch 18 (0.6 s)", values, "val/wer") == head
    del values["val/cer"]
    said = line("epoch 18 (0.6 s)", values, "val/wer")
    assert said == head.replace("val/cer 0.1, ", "") + ", train/samples_per_second 10,512"
    assert len(said) <= 110
    assert line("epoch 0 (1.0 s)", {"a": 1.0}, "val/wer") == "epoch 0 (1.0 s): a 1"


def test_a_line_leaves_out_other_metrics_before_the_losses() -> None:
    names = ("accuracy", "calibration_error", "loss", "macro_f1", "weighted_f1")
    values = {f"val/{name}": 0.8123 for name in names} | {"train/loss": 1.5}
    assert line("epoch 18 (0.6 s)", values, "val/macro_f1") == (
        "epoch 18 (0.6 s): val/macro_f1 0.8123, val/accuracy 0.8123, val/loss 0.8123, "
        "train/loss 1.5"
    )
    # The metric that selects the best checkpoint is there even if nothing fits.
    assert line("x" * 110, values, "val/macro_f1") == f"{'x' * 110}: val/macro_f1 0.8123"
