"""What callbacks promise and a run does not show."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from srulight.callbacks import NewSettings
from srulight.callbacks.curves import draw


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
    NewSettings(changes).on_train_start(trainer, None)  # type: ignore[arg-type]
    optimizer.step()
    scheduler.step()
    group = optimizer.param_groups[0]
    assert group["momentum"] == 0.9
    assert group["lr"] == pytest.approx(0.2)  # half of the new rate, after one step


def test_a_log_becomes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,train/loss,val/loss\n0,,0.9\n0,1.0,\n1,,0.5\n1,0.6,\n")
    draw(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    log.write_text("epoch,train/loss\n0,1.0\n")
    draw(log, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
