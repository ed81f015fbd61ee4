"""What callbacks do that no test of a whole run shows."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import RichProgressBar

from srulight.training.callbacks.plot_curves import draw
from srulight.training.callbacks.progress_bar import ProgressBar
from srulight.training.resume.override_settings import OverrideSettings
from srulight.training.schedules import Noam


def test_new_settings_reach_a_restored_optimiser_and_its_schedule() -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    trainer = SimpleNamespace(
        optimizers=[optimizer], lr_scheduler_configs=[SimpleNamespace(scheduler=scheduler)]
    )
    changes = {
        "model.optimizer.lr": (0.1, 0.4),
        "model.optimizer.momentum": (0.5, 0.9),
        "model.dropout": (0.1, 0.2),
    }
    OverrideSettings(changes).on_train_start(trainer, None)  # type: ignore[arg-type]
    optimizer.step()
    scheduler.step()
    group = optimizer.param_groups[0]
    assert group["momentum"] == 0.9
    assert group["lr"] == pytest.approx(0.2)  # half of the new rate, after one step


def test_a_log_becomes_a_picture(tmp_path: Path, figures: list[Any]) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text(
        "step,train/loss,val/loss,val/accuracy,lr\n"
        "9,,0.9,0.25,0.1\n9,1.0,,,\n19,,0.5,0.75,0.1\n19,0.6,,,\n"
    )
    draw(log, tmp_path / "curves.png")
    figure = figures[0]
    drawn = {
        axes.get_title(): {
            line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines
        }
        for axes in figure.axes
    }
    assert drawn == {
        "accuracy": {"val": [(9, 0.25), (19, 0.75)]},
        "loss": {"train": [(9, 1.0), (19, 0.6)], "val": [(9, 0.9), (19, 0.5)]},
    }
    assert [axes.get_xlabel() for axes in figure.axes] == ["step", "step"]
    # Each plot has 4 x 3 inches at 120 dots per inch, with colored lines on white.
    pixels = pytest.importorskip("matplotlib.image").imread(tmp_path / "curves.png")[..., :3]
    assert pixels.shape == (360, 960, 3)
    assert (pixels.max(-1) - pixels.min(-1) > 0.3).sum() > 200

    log.write_text("step,val/a,val/b,val/c,val/d,val/e\n9,1,1,1,1,1\n")
    draw(log, tmp_path / "curves.png")
    # At most four plots side by side, in rows of about the same length.
    places = [axes.get_subplotspec() for axes in figures[1].axes]
    rows = [(place.rowspan.start, place.colspan.start) for place in places if place]
    assert rows == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert tuple(figures[1].get_size_inches()) == (12, 6)

    log.write_text("step,train/loss\n9,1.0\n")
    draw(log, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_new_rate_keeps_the_place_in_the_schedule_and_the_schedule_changes() -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = Noam(optimizer, size=4, warmup=10)
    for _ in range(39):
        optimizer.step()
        scheduler.step()
    before = optimizer.param_groups[0]["lr"]
    assert before == pytest.approx(0.1 / 2 / 40**0.5)
    trainer = SimpleNamespace(
        optimizers=[optimizer], lr_scheduler_configs=[SimpleNamespace(scheduler=scheduler)]
    )
    changes = {"model.optimizer.lr": (0.1, 0.4), "model.scheduler.warmup": (10, 50)}
    OverrideSettings(changes).on_train_start(trainer, None)  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(4 * before)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.4 / 2 * 41 / 50**1.5)


def test_a_new_rate_without_a_schedule_is_that_rate() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    trainer = SimpleNamespace(optimizers=[optimizer], lr_scheduler_configs=[])
    for rate in (0.3, 0.07, 0.1):
        changes = {"model.optimizer.lr": (0.0, rate)}
        OverrideSettings(changes).on_train_start(trainer, None)  # type: ignore[arg-type]
        assert optimizer.param_groups[0]["lr"] == rate


def test_the_bar_shows_the_loss_of_the_batch_and_no_number_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RichProgressBar, "on_train_batch_end", lambda *_: None)
    logger = SimpleNamespace(version=3)
    trainer: Any = SimpleNamespace(
        loggers=[logger],
        num_training_batches=5,
        accumulate_grad_batches=2,
        training=True,
        progress_bar_metrics={"train/loss": 9.0, "val/loss": 2.0},
    )
    bar = ProgressBar()
    bar.on_train_batch_end(trainer, None, {"loss": torch.tensor(0.25)}, None, 4)  # type: ignore[arg-type]
    assert bar.get_metrics(trainer, None) == {"train/loss": 0.5, "val/loss": 2.0}  # type: ignore[arg-type]
    trainer.progress_bar_metrics |= {"val/f1": 1.0, "mine": 4.0}
    shown = ProgressBar("val/f1").get_metrics(trainer, None)  # type: ignore[arg-type]
    assert shown == {"train/loss": 0.0, "val/f1": 1.0, "mine": 4.0}
    trainer.progress_bar_metrics = {"train/loss": 9.0, "val/loss": 2.0}
    trainer.training = False
    assert bar.get_metrics(trainer, None) == {"train/loss": 9.0, "val/loss": 2.0}  # type: ignore[arg-type]
