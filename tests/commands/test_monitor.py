"""``--model.monitor`` chooses what the best checkpoint is."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar

from srulight.cli import main
from srulight.tasks.text_classification.corpora.grammar import Grammar

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=32", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--trainer.default_root_dir=runs",
    # The second of three epochs has the best macro F1, but not the best accuracy.
    "--model.optimizer.lr=0.02", "--data.batch_size=16", "--seed_everything=2",
    "--trainer.max_epochs=3",
]  # fmt: skip
MONITOR = "--model.monitor=val/macro_f1"
CHECKPOINTS = Path("runs/version_0/checkpoints")


@pytest.fixture(autouse=True)
def _here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")


def scores(name: str) -> list[float]:
    """Values of a metric in the log, by epoch."""
    with open("runs/version_0/metrics.csv") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def best(path: Path) -> dict[str, Any]:
    """State of the callback that keeps the best checkpoint."""
    stored = torch.load(path, weights_only=True)["callbacks"]
    (state,) = [state for key, state in stored.items() if key.startswith("ModelCheckpoint")]
    return dict(state)


@pytest.mark.parametrize(
    ("monitor", "choose"),
    [("val/macro_f1", max), ("calibration_error", min)],
)
def test_the_best_is_that_of_the_monitor(
    monitor: str,
    choose: Any,  # noqa: ANN401
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    main(["fit", *SMALL, f"--model.monitor={monitor}"])
    name = f"val/{monitor.removeprefix('val/')}"
    logged = scores(name)
    expected = choose(logged)
    (shown, *_) = caplog.messages[-1].splitlines()
    assert shown == f"best {name}: {expected:.4f}"
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    first = [line.partition(" s): ")[2].partition(",")[0] for line in lines]
    assert first == [f"{name} {value:.4g}" for value in logged]
    stored = torch.load(CHECKPOINTS / "best.ckpt", weights_only=True)
    assert stored["epoch"] == logged.index(expected)

    caplog.clear()
    main(["validate", "--ckpt_path=best", "--trainer.enable_progress_bar=false"])
    assert capsys.readouterr().out.startswith(f"{name} {expected:.4f}\n")
    described = [message for message in caplog.messages if message.startswith("loading")]
    assert described[0].endswith(f"with SRU, {name} {expected:.4f}, step {stored['global_step']}")


def test_a_resumed_run_keeps_its_best_and_is_exact(caplog: pytest.LogCaptureFixture) -> None:
    main(["fit", *SMALL, MONITOR])
    whole = torch.load(CHECKPOINTS / "last.ckpt", weights_only=True)
    expected = best(CHECKPOINTS / "last.ckpt")
    logged = scores("val/macro_f1")

    parts = ["--trainer.default_root_dir=parts"]
    main(["fit", *SMALL, MONITOR, *parts, "--trainer.max_epochs=2"])
    caplog.clear()
    main(["fit", "--ckpt_path=last", *parts, "--trainer.max_epochs=3"])
    last = Path("parts/version_0/checkpoints/last.ckpt")
    resumed = torch.load(last, weights_only=True)
    for name, weight in whole["state_dict"].items():
        assert torch.equal(weight, resumed["state_dict"][name]), name
    assert best(last)["best_model_score"] == expected["best_model_score"]
    assert best(last)["monitor"] == "val/macro_f1"
    assert caplog.messages[-1].startswith(f"best val/macro_f1: {max(logged):.4f}\n")


def test_another_monitor_chooses_anew_from_there_on(caplog: pytest.LogCaptureFixture) -> None:
    main(["fit", *SMALL, MONITOR, "--trainer.max_epochs=1"])
    main(["fit", "--ckpt_path=last", "--model.monitor=val/loss", "--trainer.max_epochs=2"])
    assert "model.monitor: val/macro_f1 -> val/loss" in caplog.text
    assert caplog.messages[-1].startswith(f"best val/loss: {scores('val/loss')[1]:.4f}")
    assert torch.load(CHECKPOINTS / "best.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize(
    ("command", "name"),
    [("fit", "val/f1"), ("fit", ""), ("test", "test/accuracy"), ("validate", "train/loss")],
)
def test_a_wrong_name_is_refused_before_data_are_read(
    command: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grammar, "read", lambda *_: pytest.fail("read the data"))
    with pytest.raises(SystemExit) as leaving:
        main([command, *SMALL, f"--model.monitor={name}"])
    assert leaving.value.code == (
        "error: model.monitor must be one of val/accuracy, val/macro_f1, val/weighted_f1, "
        f"val/calibration_error, val/loss for this kind of target, got {name!r}"
    )
    assert not Path("runs").exists()


def test_the_bar_shows_the_monitor_and_no_other_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: set[str] = set()
    update = RichProgressBar._update_metrics

    def watched(self: RichProgressBar, trainer: Any, module: Any, *rest: Any) -> None:  # noqa: ANN401
        shown.update(self.get_metrics(trainer, module))
        update(self, trainer, module, *rest)

    monkeypatch.setattr(RichProgressBar, "_update_metrics", watched)
    main(["fit", *SMALL, MONITOR, "--trainer.enable_progress_bar=true"])
    assert shown == {"train/loss", "val/macro_f1"}
