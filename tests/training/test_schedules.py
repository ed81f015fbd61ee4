"""Learning-rate schedules against values worked out by hand, and schedules in configurations."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from srulight.cli import main
from srulight.training.schedules import Cosine, Decay, Noam, Warmup
from tests.python import python

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
Build = Callable[[SGD], LRScheduler]


def optimizer(rate: float) -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def rates(schedule: LRScheduler, steps: int) -> list[float]:
    """The rate that each of the next steps is made with."""
    found = []
    for _ in range(steps):
        found.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("build", "rate", "expected"),
    [
        # 16 ** -0.5 = 1/4 and 4 ** -1.5 = 1/8; the peak is 1/4 * 4 ** -0.5.
        (
            lambda o: Noam(o, size=16, warmup=4),
            2.0,
            {1: 0.0625, 2: 0.125, 4: 0.25, 9: 1 / 6, 16: 0.125},
        ),
        # A third of the way from step 3 to 9 the cosine is at 60 degrees: (1 + 1/2) / 2 = 3/4.
        (
            lambda o: Cosine(o, steps=8, warmup=2),
            0.4,
            {1: 0.2, 2: 0.4, 3: 0.4, 5: 0.3, 6: 0.2, 7: 0.1, 9: 0.0, 12: 0.0},
        ),
        (lambda o: Cosine(o, steps=4, floor=0.2), 1.0, {1: 1.0, 3: 0.6, 5: 0.2, 6: 0.2}),
        (lambda o: Warmup(o, steps=4), 0.8, {1: 0.2, 2: 0.4, 4: 0.8, 5: 0.8, 9: 0.8}),
        (
            lambda o: Decay(o, gamma=0.5, every=3, start=4),
            8.0,
            {1: 8.0, 4: 8.0, 5: 4.0, 7: 4.0, 8: 2.0, 10: 2.0, 11: 1.0},
        ),
        (lambda o: Decay(o, gamma=0.5, every=1), 8.0, {1: 4.0, 2: 2.0, 3: 1.0}),
    ],
    ids=["noam", "cosine", "floor", "warmup", "decay", "decay-at-once"],
)
def test_rates_are_those_worked_out_by_hand(
    build: Build, rate: float, expected: dict[int, float]
) -> None:
    found = rates(build(optimizer(rate)), max(expected))
    for step, value in expected.items():
        assert found[step - 1] == pytest.approx(value, abs=1e-12), f"step {step}"


BUILDS: list[Build] = [
    lambda o: Noam(o, 16, 4),
    lambda o: Cosine(o, 12, 2, 0.1),
    lambda o: Warmup(o, 6),
    lambda o: Decay(o, 0.9, 2, 3),
]
NAMES = ["noam", "cosine", "warmup", "decay"]


@pytest.mark.parametrize("build", BUILDS, ids=NAMES)
def test_a_schedule_goes_on_from_its_state_also_at_another_rate(build: Build) -> None:
    whole = rates(build(optimizer(0.5)), 10)
    first = build(optimizer(0.5))
    rates(first, 4)
    file = io.BytesIO()
    torch.save((first.state_dict(), first.optimizer.state_dict()), file)
    file.seek(0)
    state, of_optimizer = torch.load(file, weights_only=True)
    second = build(optimizer(0.5))
    second.load_state_dict(state)
    second.optimizer.load_state_dict(of_optimizer)
    assert rates(second, 2) == whole[4:6]
    second.base_lrs = [1.0]
    rates(second, 1)  # set before the change
    assert rates(second, 3) == pytest.approx([2 * rate for rate in whole[7:10]])


@pytest.mark.parametrize("build", BUILDS, ids=NAMES)
def test_each_group_of_parameters_keeps_its_own_rate(build: Build) -> None:
    groups = SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 3.0)])
    schedule = build(groups)
    groups.step()
    schedule.step()
    first, second = (group["lr"] for group in groups.param_groups)
    assert second == pytest.approx(3 * first)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda o: Noam(o, 0), "size and warmup must be at least 1, got 0 and 4000"),
        (lambda o: Noam(o, 8, 0), "size and warmup must be at least 1, got 8 and 0"),
        (lambda o: Cosine(o, 5, 5), r"warmup must be at least 0 and less than steps \(5\), got 5"),
        (lambda o: Cosine(o, 5, -1), r"warmup must be .* less than steps \(5\), got -1"),
        (lambda o: Cosine(o, 5, floor=1.5), "floor must be between 0 and 1, got 1.5"),
        (lambda o: Warmup(o, 0), "steps must be at least 1, got 0"),
        (lambda o: Decay(o, 0.0, 1), "gamma must be above 0 and at most 1, got 0.0"),
        (lambda o: Decay(o, 1.1, 1), "gamma must be above 0 and at most 1, got 1.1"),
        (lambda o: Decay(o, 0.5, 0), "every must be at least 1 and start at least 0, got 0 and 0"),
        (lambda o: Decay(o, 0.5, 1, -1), "at least 1 and start at least 0, got 1 and -1"),
    ],
)
def test_numbers_out_of_range_are_named(build: Build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(optimizer(1.0))


def fit(folder: Path, *args: str) -> dict[str, Any]:
    """Trains for two epochs of two steps and reads the last checkpoint."""
    main(
        [
            "fit", f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
            "--data.corpus.val_size=16", "--data.corpus.test_size=16",
            "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--data.batch_size=32",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            "--trainer.max_epochs=2", f"--trainer.default_root_dir={folder}", *args,
        ]
    )  # fmt: skip
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    loaded: dict[str, Any] = torch.load(last, weights_only=True)
    return loaded


def test_a_schedule_is_known_by_its_name_and_stepped_after_every_batch(tmp_path: Path) -> None:
    stored = fit(
        tmp_path, "--model.optimizer.lr=2", "--model.scheduler=Noam",
        "--model.scheduler.size=16", "--model.scheduler.warmup=100",
    )  # fmt: skip
    (state,) = stored["lr_schedulers"]
    assert state["last_epoch"] == 4
    # The rate of the fifth step: 2 / 4 * 5 / 1000.
    assert state["_last_lr"] == [pytest.approx(0.0025)]


@pytest.mark.slow
def test_schedules_are_imported_for_every_configuration() -> None:
    code = "import sys; from srulight.plugins import load_plugins; load_plugins(); "
    code += "sys.exit('srulight.training.schedules' not in sys.modules)"
    assert python("-c", code).returncode == 0


def test_a_plateau_watches_its_metric_after_every_epoch(tmp_path: Path) -> None:
    plateau = [
        "--model.optimizer.lr=0.01",
        "--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
        "--model.scheduler.patience=0", "--model.scheduler.factor=0.5",
        # No loss is lower by so much: every epoch after the first is one too many.
        "--model.scheduler.threshold=1e6", "--model.scheduler.threshold_mode=abs",
        "--trainer.max_epochs=3",
    ]  # fmt: skip
    stored = fit(tmp_path, *plateau, "--model.scheduler.monitor=val/loss")
    (state,) = stored["lr_schedulers"]
    assert state["last_epoch"] == 3
    assert state["_last_lr"] == [0.0025]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["Cosine", "--model.scheduler.steps=0"], r"less than steps \(0\), got 0"),
        (["torch.optim.lr_scheduler.ReduceLROnPlateau"], "use lightning.pytorch.cli.ReduceLROn"),
    ],
)
def test_one_sentence_for_a_schedule_that_cannot_be(
    args: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=message):
        fit(tmp_path, f"--model.scheduler={args[0]}", *args[1:])
