"""The commands of docs/how_to/loggers.md log metrics with the packages they name."""

import sqlite3
from pathlib import Path

import pytest

from tests.documents import ROOT, STEPS
from tests.python import python

PAGE = ROOT / "docs" / "how_to" / "loggers.md"
COMMANDS = {
    "tensorboard": "configs/quickstart.yaml",
    "wandb": "WandbLogger",
    "mlflow": "MLFlowLogger",
}
SMALL = [
    "--data.corpus=Grammar", "--data.corpus.train_size=64", "--data.corpus.val_size=16",
    "--data.corpus.test_size=16", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip


def logs_accuracy(package: str, folder: Path) -> bool:
    """Tells whether the log of a package contains the metric of the task."""
    if package == "mlflow":
        with sqlite3.connect(folder / "mlflow.db") as database:
            return bool(
                database.execute("select * from metrics where key='val/accuracy'").fetchall()
            )
    pattern = {"tensorboard": "runs/*/*/events.*", "wandb": "wandb/offline-run-*/*.wandb"}[package]
    (log,) = folder.glob(pattern)
    return b"val/accuracy" in log.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("package", COMMANDS)
def test_a_logger_gets_the_metrics(package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    command = next(
        step.text
        for step in STEPS[PAGE]
        if step.text.startswith("python train.py fit") and COMMANDS[package] in step.text
    )
    done = python(ROOT / "train.py", *command.split()[2:], *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert logs_accuracy(package, tmp_path)
    assert (tmp_path / "runs/quickstart/version_0/metrics.csv").is_file()
