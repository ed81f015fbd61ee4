"""What ``test`` and ``validate`` print and write."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor

from srulight.cli import main
from srulight.commands import training
from srulight.targets import report

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=24", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--trainer.max_epochs=1",
    "--trainer.default_root_dir=runs",
]  # fmt: skip
QUIET = "--trainer.enable_progress_bar=false"
RUN = Path("runs/version_0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that contains the folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    main(["fit", *SMALL, f"--trainer.default_root_dir={folder / 'runs'}"])
    return folder


@pytest.fixture(autouse=True)
def _here(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")


def written() -> set[str]:
    return {path.name for path in Path().rglob("*-report.csv")} | {
        path.name for path in Path().rglob("*-confusion.png")
    }


@pytest.mark.parametrize(
    ("command", "stage", "size"), [("test", "test", 24), ("validate", "val", 16)]
)
def test_an_evaluation_shows_and_writes_a_table(
    command: str,
    stage: str,
    size: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = {path for path in RUN.rglob("*") if path.is_file()}
    main([command, "--ckpt_path=best", QUIET])
    metrics, table = capsys.readouterr().out.split("\n\n")
    values = {name: float(value) for name, value in map(str.split, metrics.splitlines())}
    header, *rows = (line.split() for line in table.splitlines())
    assert header == ["class", "precision", "recall", "f1", "support"]
    assert [row[0] for row in rows] == ["negative", "positive"]
    assert sum(int(row[4]) for row in rows) == size
    hits = sum(float(row[2]) * int(row[4]) for row in rows)
    assert values[f"{stage}/accuracy"] == pytest.approx(hits / size, abs=1e-4)
    assert caplog.messages[-1] == (
        f"saved runs/version_0/{stage}-report.csv and runs/version_0/{stage}-confusion.png"
    )
    with (RUN / f"{stage}-report.csv").open() as file:
        saved = list(csv.reader(file))
    assert saved[0] == header
    for row, shown in zip(saved[1:], rows, strict=True):
        assert row[0] == shown[0]
        exact = [float(value or "nan") for value in row[1:4]]
        seen = [float(value.replace("-", "nan")) for value in shown[1:4]]
        assert exact == pytest.approx(seen, abs=1e-4, nan_ok=True)
    after = {path for path in RUN.rglob("*") if path.is_file()}
    assert after - before == {RUN / f"{stage}-report.csv", RUN / f"{stage}-confusion.png"}


def test_the_picture_is_drawn(figures: list[Any]) -> None:
    main(["test", "--ckpt_path=best", QUIET])
    (figure,) = figures
    assert figure.axes[0].get_title().startswith("test: 24 examples, accuracy 0.")
    assert (RUN / "test-confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_trial_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["test", "--ckpt_path=best", QUIET, "--trainer.fast_dev_run=true"])
    assert "negative" in capsys.readouterr().out
    assert not written()


def test_a_checkpoint_outside_of_a_run_has_no_place_for_a_report(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Path("copied").mkdir()
    shutil.copy(RUN / "checkpoints/best.ckpt", "copied/mine.ckpt")
    main(["test", "--ckpt_path=copied/mine.ckpt", QUIET])
    assert "negative" in capsys.readouterr().out
    assert "the report was not saved, because the checkpoint is not in a run" in caplog.text
    main(["test", *SMALL])  # without any checkpoint
    assert "negative" in capsys.readouterr().out
    assert not written()


def test_a_quantized_checkpoint_has_reports_of_its_own() -> None:
    main(["test", "--ckpt_path=best", QUIET])
    of_original = written()
    main(["quantize", "--ckpt_path=best", "--evaluate=none"])
    main(["test", f"--ckpt_path={RUN / 'checkpoints' / 'best-int8.ckpt'}", QUIET])
    assert written() - of_original == {f"best-int8-{name}" for name in of_original}


def test_results_are_there_although_they_cannot_be_written(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (RUN / "test-report.csv").mkdir()
    main(["test", "--ckpt_path=best", QUIET])
    out = capsys.readouterr().out
    assert "test/accuracy" in out
    assert "negative" in out
    assert caplog.messages[-1].startswith(
        "the report was not saved: cannot write runs/version_0/test-report.csv: "
    )
    assert not list(RUN.glob("*.part"))


def test_without_matplotlib_the_table_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (report, training):
        monkeypatch.setattr(module, "module_available", lambda name: name != "matplotlib")
    main(["test", "--ckpt_path=best", QUIET])
    assert written() == {"test-report.csv"}
    assert caplog.messages[-2:] == [
        "saved runs/version_0/test-report.csv",
        "a picture of the confusion matrix needs matplotlib; install it: pip install "
        '"srulight[plot]"',
    ]


def test_only_the_first_process_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    command: Any = SimpleNamespace(
        reports=True,
        trainer=SimpleNamespace(
            callback_metrics={"test/loss": torch.tensor(2.0)}, print=printed.append,
            is_global_zero=False, fast_dev_run=False,
        ),
        model=SimpleNamespace(
            monitored=lambda data: ("val/loss", "min"), report=report.Report(["class"], [["a"]])
        ),
        datamodule=None,
    )  # fmt: skip
    monkeypatch.setattr(training, "_save", lambda *_: pytest.fail("wrote"))
    training.TrainingCLI._print_results(command, "test")
    assert printed == ["test/loss 2.0000", "\nclass\na    "]


def test_only_numbers_reach_the_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    log_dict = LightningModule.log_dict

    def watched(self: LightningModule, values: dict[str, Tensor], **options: Any) -> None:  # noqa: ANN401
        logged.update(values)
        log_dict(self, values, **options)

    monkeypatch.setattr(LightningModule, "log_dict", watched)
    main(["test", "--ckpt_path=best", QUIET])
    names = ["accuracy", "calibration_error", "loss", "macro_f1", "weighted_f1"]
    assert sorted(logged) == [f"test/{name}" for name in names]
    assert all(value.ndim == 0 for value in logged.values())
    with (RUN / "metrics.csv").open() as file:
        columns = {name for name in csv.DictReader(file).fieldnames or () if "val/" in name}
    assert columns == {f"val/{name}" for name in names}


def test_a_validation_of_one_sentence_passes() -> None:
    # Warnings are errors in tests.
    sizes = [f"--data.corpus.{part}_size=1" for part in ("val", "test")]
    main(["fit", *SMALL, *sizes, "--trainer.limit_train_batches=1"])
    main(["test", "--ckpt_path=last", QUIET, "--trainer.limit_test_batches=1"])
    assert (RUN.with_name("version_1") / "test-report.csv").is_file()
