"""Learning-rate schedules, which advance with every optimizer step.

Each schedule computes its rate only from the optimizer's rate, ``base_lrs``, and the number of the
step. A resumed run can therefore change the optimizer's rate.
"""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Rates = list[float | Tensor]


class Noam(LRScheduler):
    """Raises the learning rate linearly, then lowers it with the inverse square root of the step.

    The rate at step s, counted from 1, is lr * size ** -0.5 * min(s ** -0.5, s * warmup ** -1.5),
    where lr is the optimizer's learning rate. Vaswani et al. (2017), Attention Is All You Need
    (arXiv 1706.03762), section 5.3, equation 3; the paper sets lr to 1.

    Args:
        optimizer: Optimizer whose learning rate is set.
        size: Number of features of the model, at least 1; the rate falls with its square root.
        warmup: Number of steps during which the rate rises, at least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, optimizer: Optimizer, size: int, warmup: int = 4000) -> None:
        if size < 1 or warmup < 1:
            raise ValueError(f"size and warmup must be at least 1, got {size} and {warmup}")
        self.size = size
        self.warmup = warmup
        super().__init__(optimizer)

    def get_lr(self) -> Rates:
        step = self.last_epoch + 1
        return _scaled(self, self.size**-0.5 * min(step**-0.5, step * self.warmup**-1.5))


class Cosine(LRScheduler):
    """Raises the learning rate linearly to the optimizer's, then lowers it along half a cosine.

    Loshchilov and Hutter (2017), SGDR (arXiv 1608.03983), equation 5, without restarts.

    Args:
        optimizer: Optimizer whose learning rate is set.
        steps: Number of steps until the rate reaches its minimum and stays there, including the
            warm-up; more than ``warmup``.
        warmup: Number of steps during which the rate rises, 0 or more. The first step has
            1 / warmup of the optimizer's rate.
        floor: Minimum rate as a fraction of the optimizer's, from 0 to 1.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, steps: int, warmup: int = 0, floor: float = 0.0
    ) -> None:
        if not 0 <= warmup < steps:
            raise ValueError(
                f"warmup must be at least 0 and less than steps ({steps}), got {warmup}"
            )
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be between 0 and 1, got {floor}")
        self.steps = steps
        self.warmup = warmup
        self.floor = floor
        super().__init__(optimizer)

    def get_lr(self) -> Rates:
        done = self.last_epoch
        if done < self.warmup:
            return _scaled(self, (done + 1) / self.warmup)
        progress = min(1.0, (done - self.warmup) / (self.steps - self.warmup))
        return _scaled(self, self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2)


class Warmup(LRScheduler):
    """Raises the learning rate linearly to the optimizer's, and keeps it there.

    Args:
        optimizer: Optimizer whose learning rate is set.
        steps: Number of steps during which the rate rises, at least 1. The first step has 1 / steps
            of the optimizer's rate.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self) -> Rates:
        return _scaled(self, min(1.0, (self.last_epoch + 1) / self.steps))


class Decay(LRScheduler):
    """Keeps the optimizer's learning rate at first, then multiplies it by a factor at intervals.

    Args:
        optimizer: Optimizer whose learning rate is set.
        gamma: Factor of each multiplication, above 0 and at most 1.
        every: Number of steps between two multiplications, at least 1. The number of steps in an
            epoch makes the rate decay once per epoch.
        start: Number of steps at the optimizer's rate, 0 or more. The next step is the first at
            ``gamma`` times that rate.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, every: int, start: int = 0) -> None:
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, got {gamma}")
        if every < 1 or start < 0:
            raise ValueError(
                f"every must be at least 1 and start at least 0, got {every} and {start}"
            )
        self.gamma = gamma
        self.every = every
        self.start = start
        super().__init__(optimizer)

    def get_lr(self) -> Rates:
        after = self.last_epoch - self.start
        return _scaled(self, self.gamma ** (1 + after // self.every) if after >= 0 else 1.0)


def _scaled(schedule: LRScheduler, factor: float) -> Rates:
    return [rate * factor for rate in schedule.base_lrs]
