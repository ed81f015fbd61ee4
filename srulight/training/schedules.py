"""Learning-rate schedules; all are stepped after every batch that the optimiser steps on.

Each computes its rate from the optimiser's own, ``base_lrs``, and the number of the step alone: a
resumed run may be given another rate.
"""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Rates = list[float | Tensor]


class Noam(LRScheduler):
    """Rises linearly, then falls with the inverse square root of the step.

    The rate at step s, counted from 1, is lr * size ** -0.5 * min(s ** -0.5, s * warmup ** -1.5),
    where lr is the optimiser's own rate. Vaswani et al. (2017), Attention Is All You Need (arXiv
    1706.03762), section 5.3, equation 3; they use lr 1.

    Args:
        optimizer: Whose learning rate it sets.
        size: Features of the model, at least 1; a larger model learns more slowly.
        warmup: Steps that the rate rises, at least 1.

    Raises:
        ValueError: If a number is out of its range.
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
    """Rises linearly to the optimiser's rate, then falls along half a cosine.

    Loshchilov and Hutter (2017), SGDR (arXiv 1608.03983), equation 5, without restarts.

    Args:
        optimizer: Whose learning rate it sets.
        steps: Steps until the rate stays at its lowest, warm-up included; more than ``warmup``.
        warmup: Steps that the rate rises, 0 or more; the first has 1 / warmup of the whole rate.
        floor: Lowest rate, as a share of the optimiser's, 0 to 1.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self, optimizer: Optimizer, steps: int, warmup: int = 0, floor: float = 0.0
    ) -> None:
        if not 0 <= warmup < steps:
            raise ValueError(
                f"warmup must be at least 0 and below steps, got {warmup} of {steps} steps"
            )
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be 0 to 1, got {floor}")
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
    """Rises linearly to the optimiser's rate and stays there.

    Args:
        optimizer: Whose learning rate it sets.
        steps: Steps that the rate rises, at least 1; the first has 1 / steps of the whole rate.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.steps = steps
        super().__init__(optimizer)

    def get_lr(self) -> Rates:
        return _scaled(self, min(1.0, (self.last_epoch + 1) / self.steps))


class Decay(LRScheduler):
    """Keeps the optimiser's rate for a while, then multiplies it by a factor now and again.

    Args:
        optimizer: Whose learning rate it sets.
        gamma: The factor, above 0 and at most 1.
        every: Steps between two multiplications, at least 1; one epoch's steps for a decay by the
            epoch.
        start: Steps at the whole rate, 0 or more; the next one is the first at ``gamma`` of it.

    Raises:
        ValueError: If a number is out of its range.
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
