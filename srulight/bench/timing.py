"""Times functions that take turns in one process."""

import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from statistics import median
from typing import Literal

import torch

Clock = Literal["wall", "cpu"]
"""Which time counts: that on the wall, or that of the processor for this process alone."""

Run = Callable[[], object]
"""A function that does once what is timed."""

AHEAD = 2_000_000
"""Clock cycles that the GPU sleeps before each run, so that the host can queue the run."""
BEYOND_CACHE = 256 * 2**20
"""Bytes that all inputs of a kind take together, more than the cache of any GPU."""
TURN = 2e-3
"""Shortest duration of a turn on a CPU, in seconds. Shorter runs are repeated within the turn."""
WARM = 1.0
"""A run that takes at least this many seconds needs only one run to warm up."""


def time_on_cpu(run: Run, repeats: int = 1, clock: Clock = "wall") -> float:
    """Returns the mean seconds of a few runs in a row, as a clock shows them."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    start = now()
    for _ in repeat(None, repeats):
        run()
    return (now() - start) / repeats


def time_on_gpu(run: Run) -> float:
    """Returns the seconds that the GPU takes for one run, without waiting for the host."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(AHEAD)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def warm_up(run: Run) -> float:
    """Runs a function once or twice before it is timed, and returns the seconds of the last run."""
    first = time_on_cpu(run)
    return first if first >= WARM else time_on_cpu(run)


def rounds(
    runs: dict[str, Run],
    warm: dict[str, float],
    seconds: float,
    least: int,
    device: str = "cpu",
    clock: Clock = "wall",
) -> Iterator[tuple[float, dict[str, float]]]:
    """Times contenders that take turns, in every second round in reverse order.

    A drift of the speed of the machine then affects all contenders alike. On a CPU, a contender
    repeats a short run within its turn, so that its weights are in the cache as they would be if it
    ran alone.

    Args:
        runs: Functions that run each contender once.
        warm: Seconds that ``warm_up`` returned for each contender.
        seconds: Approximate duration of the measurement, in seconds.
        least: Smallest number of rounds.
        device: Device type that the contenders run on.
        clock: Which time counts on a CPU.

    Yields:
        After each round, the share of the work that is done, and the seconds of each contender.
    """
    repeats = {name: max(1, round(TURN / max(warm[name], 1e-9))) for name in runs}
    start, done, order = time.perf_counter(), 0, list(runs)
    share = 0.0
    while share < 1:
        times = {}
        for name in order:
            if device == "cuda":
                times[name] = time_on_gpu(runs[name])
            else:
                times[name] = time_on_cpu(runs[name], repeats[name], clock)
        order.reverse()
        done += 1
        elapsed = time.perf_counter() - start
        share = min(done / least, 1.0 if seconds <= 0 else elapsed / seconds, 1.0)
        yield share, {name: times[name] for name in runs}


def medians(runs: dict[str, Run], seconds: float, device: str = "cpu") -> dict[str, float]:
    """Returns the median seconds of contenders that take turns, at least five each.

    Args:
        runs: Functions that run each contender once.
        seconds: Approximate duration of the measurement, in seconds.
        device: Device type that the contenders run on.
    """
    warm = {name: warm_up(run) for name, run in runs.items()}
    each = [times for _, times in rounds(runs, warm, seconds, 5, device)]
    return {name: median(times[name] for times in each) for name in runs}


def turns(runs: list[Run]) -> Run:
    """Creates a function that calls the next one of several functions each time."""
    endless = chain.from_iterable(repeat(runs))
    return lambda: next(endless)()


def copies(elements: int, dtype: torch.dtype) -> int:
    """Returns how many tensors of this size exceed the cache of a GPU together, at most 64."""
    return min(64, BEYOND_CACHE // (elements * dtype.itemsize) + 2)
