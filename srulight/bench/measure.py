"""Measures contenders in a case, and summarizes their times as ratios."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from srulight.bench.cases import Case
from srulight.bench.contenders import Contender, SkippedError
from srulight.bench.statistics import LEAST, Estimate, estimate, ratio
from srulight.bench.timing import Run, rounds, warm_up
from srulight.runtime.errors import InputError

TICKS = 20
"""Steps of the progress bar for each case."""


@dataclass(frozen=True)
class Timing:
    """The times of one contender.

    Attributes:
        seconds: Seconds of one run.
        ratio: Its seconds divided by those of the reference, in the same round.
        floor: The least seconds that it could take (``floors.py``), or None.
        share: The floor divided by its seconds, in the same round, or None.
    """

    seconds: Estimate
    ratio: Estimate
    floor: Estimate | None = None
    share: Estimate | None = None


@dataclass(frozen=True)
class Result:
    """What was measured in a case.

    Attributes:
        case: The case.
        reference: Name of the contender that all others are divided by.
        rounds: Number of rounds; each contender ran once or more in each.
        bandwidth: Bytes per second that the copy read and wrote, or None.
        timings: Timings by the names of the contenders.
        skipped: Reasons by the names of the contenders that did not run.
    """

    case: Case
    reference: str
    rounds: int
    bandwidth: float | None
    timings: dict[str, Timing]
    skipped: dict[str, str] = field(default_factory=dict)


def measure(
    case: Case,
    contenders: Sequence[Contender],
    reference: str,
    seconds: float,
    least: int = LEAST,
) -> Iterator[Result | None]:
    """Measures contenders, which take turns.

    Args:
        case: What to run.
        contenders: What to compare.
        reference: Name of the contender that all others are divided by. If it does not run in this
            case, the first one that does takes its place.
        seconds: Approximate duration in seconds, without preparing and warming up.
        least: Smallest number of rounds.

    Yields:
        None for each of ``TICKS`` parts of the work, the last time the result instead. There is no
        result, and one None more, if no contender runs.

    Raises:
        InputError: If there is not enough memory.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        runs, warm, skipped = prepare(case, contenders)
        told, each = 0, []
        timed = (
            rounds(runs, warm, seconds, least, case.device_type, case.clock) if runs else iter(())
        )
        for share, times in timed:
            each.append(times)
            for _ in range(int(share * TICKS) - told - (share == 1)):
                told += 1
                yield None
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise InputError(
            f"not enough memory for length {case.length}, width {case.width} and batch "
            f"{case.batch}; reduce --length, --width or --batch"
        ) from error
    finally:
        torch.set_num_threads(threads)
    for _ in range(TICKS - 1 - told):
        yield None
    yield summary(case, contenders, reference, each, skipped) if each else None


def prepare(
    case: Case, contenders: Sequence[Contender]
) -> tuple[dict[str, Run], dict[str, float], dict[str, str]]:
    """Prepares the contenders, and warms them up.

    Args:
        case: What to run.
        contenders: What to compare.

    Returns:
        Runs and seconds by the names of contenders, and reasons by the names of those that cannot
        run. An error of another library is such a reason, too.
    """
    runs: dict[str, Run] = {}
    warm: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for one in contenders:
        try:
            run = one.prepare(case)
            warm[one.name] = warm_up(run)
            runs[one.name] = run
        except SkippedError as error:
            skipped[one.name] = str(error)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if one.ours or "memory" in str(error):
                raise
            text = " ".join(str(error).split()) or type(error).__name__
            skipped[one.name] = f"cannot run here: {text[:200]}"
    return runs, warm, skipped


def summary(
    case: Case,
    contenders: Sequence[Contender],
    reference: str,
    each: list[dict[str, float]],
    skipped: dict[str, str],
) -> Result:
    """Summarizes the times of all rounds.

    Args:
        case: What ran.
        contenders: What was compared.
        reference: Name of the contender that all others are divided by.
        each: Seconds by the names of the contenders, for each round.
        skipped: Reasons by the names of the contenders that did not run.
    """
    times = {name: [row[name] for row in each] for name in each[0]}
    base = times.get(reference) or next(iter(times.values()))
    reference = reference if reference in times else next(iter(times))
    timings = {}
    for one in contenders:
        if one.name not in times:
            continue
        own = times[one.name]
        floor = share = None
        if one.floor and all(name in times for name in one.floor):
            least = [sum(row[name] for name in one.floor) for row in each]
            floor, share = estimate(least), ratio(least, own)
        timings[one.name] = Timing(estimate(own), ratio(own, base), floor, share)
    copied = timings.get("copy")
    bandwidth = None if copied is None else case.moved / copied.seconds.median
    return Result(case, reference, len(each), bandwidth, timings, skipped)
