"""The files that a run leaves on disk."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback, LightningModule, Trainer

from srulight.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--trainer.max_epochs=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(*args: str) -> None:
    main(["fit", *SMALL, "--trainer.default_root_dir=runs", *args])


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


CHECKPOINTS = {"runs/version_0/checkpoints/best.ckpt", "runs/version_0/checkpoints/last.ckpt"}
LOG = {"runs/version_0/config.yaml", "runs/version_0/metrics.csv", "runs/version_0/curves.png"}


def test_a_trial_leaves_nothing() -> None:
    fit("--trainer.fast_dev_run=true")
    fit(
        "--trainer.fast_dev_run=2",
        "--trainer.callbacks+=srulight.training.resume.LastCheckpoint",
    )
    assert left() == set()
    assert not Path("runs").exists()


def test_the_curves_of_a_run_are_those_of_its_log(figures: list[Any]) -> None:
    fit("--trainer.max_epochs=3")
    (figure,) = figures
    with open("runs/version_0/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    drawn = {axes.get_title(): axes.lines for axes in figure.axes}
    assert list(drawn) == ["accuracy", "calibration_error", "loss", "macro_f1", "weighted_f1"]
    assert [line.get_label() for line in drawn["loss"]] == ["train", "val"]
    for metric, lines in drawn.items():
        for line in lines:
            name = f"{line.get_label()}/{metric}"
            logged = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            assert len(logged) == 3
            assert list(zip(*line.get_data(), strict=True)) == logged
    assert Path("runs/version_0/curves.png").read_bytes()


def test_without_a_log_the_checkpoints_have_a_folder_all_the_same() -> None:
    fit("--trainer.logger=false")
    assert left() == CHECKPOINTS
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--trainer.logger=false"])
    assert left() == {*CHECKPOINTS, "runs/version_0/checkpoints/previous.ckpt"}
    fit("--trainer.logger=false")
    assert Path("runs/version_1/checkpoints/best.ckpt").is_file()


@pytest.mark.parametrize("sign", ["=", "+="])
def test_other_loggers_are_beside_our_log(sign: str) -> None:
    fit(f"--trainer.logger{sign}CSVLogger", "--trainer.logger.save_dir=theirs")
    theirs = {f"theirs/lightning_logs/version_0/{name}" for name in ("hparams.yaml", "metrics.csv")}
    assert left() == CHECKPOINTS | LOG | theirs
    with open("runs/version_0/metrics.csv") as file:
        assert any(row["val/accuracy"] for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.corpus=StanfordTrees", "--data.root=none"], "train.txt"),
        (["--trainer.accelerator=none"], "trainer: "),
        (["--model.encoder.dropout=2"], "dropout must be at least 0"),
        ([f"--trainer.callbacks+={__name__}.Stumbling"], "KeyError"),
        (["--trainer.barebones=true"], "trainer.barebones must be false"),
        (["--trainer.callbacks+=BatchSizeFinder"], "try values of --data.batch_size, each with"),
        (["--trainer.callbacks+=LearningRateFinder"], "try values of --model.optimizer.lr, each"),
    ],
)
def test_a_run_that_comes_to_nothing_leaves_nothing(args: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        fit(*args)
    assert left() == set()
    assert not list(Path().glob("runs/*"))


def test_a_configuration_holds_no_object_and_can_be_used_again() -> None:
    callbacks = ["StochasticWeightAveraging", "Timer"]
    fit(
        "--trainer.max_epochs=2", "--trainer.callbacks+=StochasticWeightAveraging",
        "--trainer.callbacks.swa_lrs=0.01", "--trainer.callbacks+=Timer",
        "--trainer.callbacks.duration=00:01:00:00",
    )  # fmt: skip
    text = Path("runs/version_0/config.yaml").read_text()
    assert "Unable" not in text
    config = yaml.safe_load(text)
    given = {one["class_path"].rpartition(".")[2]: one for one in config["trainer"]["callbacks"]}
    assert list(given) == callbacks
    assert "device" not in given["StochasticWeightAveraging"]["init_args"]
    assert given["Timer"]["init_args"]["interval"] == "step"
    stored = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
    assert stored["config"] == config
    again = ["fit", "--config=runs/version_0/config.yaml", "--trainer.max_epochs=3"]
    main([*again, "--ckpt_path=last"])
    last = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 3


def test_a_timer_ends_a_run_which_goes_on_later() -> None:
    timer = ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:00:00:02"]
    fit("--trainer.max_epochs=100000", *timer)
    last = "runs/version_0/checkpoints/last.ckpt"
    epoch = torch.load(last, weights_only=True)["epoch"]
    assert 0 < epoch < 100000
    more = [f"--trainer.max_epochs={epoch + 2}", "--trainer.callbacks=null"]
    main(["fit", "--ckpt_path=last", *more])
    assert torch.load(last, weights_only=True)["epoch"] == epoch + 2


class Stumbling(Callback):
    """Fails when training begins."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise KeyError("stumbled")


def test_what_was_trained_stays_when_a_run_ends_badly() -> None:
    with pytest.raises(SystemExit, match="stop here"):
        fit("--trainer.max_epochs=9", f"--trainer.callbacks+={__name__}.Ends")
    assert torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


class Ends(Callback):
    """Fails in the second epoch, after its first batch."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.current_epoch == 1:
            raise OSError("stop here")
