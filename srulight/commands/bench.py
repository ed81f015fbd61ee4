"""The command ``bench``, which times layers side by side."""

import shlex
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import torch
from jsonargparse import Namespace
from lightning_utilities.core.imports import module_available

from srulight.bench import chart, machine
from srulight.bench.adapters import OTHERS
from srulight.bench.cases import PASSES, grid, sizes
from srulight.bench.contenders import Contender
from srulight.bench.layers import BOUNDS, BUILT_IN, MORE
from srulight.bench.machine import PACKAGES
from srulight.bench.measure import TICKS, Result, measure
from srulight.bench.report import Report, aligned, claim, legend, rows, title
from srulight.bench.statistics import LEAST
from srulight.bench.timing import Clock
from srulight.commands.parser import Parser
from srulight.runtime.devices import get_device, usable_cores
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.runtime.progress import progress
from srulight.runtime.provenance import commit, today, versions

DEFAULT = (*BUILT_IN, *OTHERS, *BOUNDS)
ALL: dict[str, Contender] = {one.name: one for one in (*DEFAULT, *MORE)}
DTYPES = ("float32", "bfloat16", "float16")

_SINGLE = ("reference", "device", "clock", "seconds", "rounds", "output")
_OPTIONS: dict[str, tuple[type, object, str, Sequence[str] | None]] = {
    "contenders": (str, None, "Layers to compare (default: all but those on request).", None),
    "reference": (str, "SRU", "Layer that the times of the others are divided by.", None),
    "passes": (
        str, list(PASSES), "Passes to measure: forward (without gradients), training (forward and "
        "backward), step (one step of a stream).", PASSES,
    ),
    "length": (int, None, "Numbers of steps (default: 32, or the paper's settings).", None),
    "width": (int, None, "Numbers of features (default: 256, or the paper's settings).", None),
    "batch": (int, [32], "Numbers of sequences.", None),
    "streams": (int, [1], "Numbers of streams that advance together in the pass step.", None),
    "dtype": (
        str, ["float32"], "Dtypes of the inputs: float32, bfloat16, float16. With half types, the "
        "layers run under autocast, with float32 weights.", DTYPES,
    ),
    "threads": (int, [1], "Numbers of CPU threads.", None),
    "device": (str, "cpu", "Device to measure on, such as cpu, cuda or cuda:1.", None),
    "compile": (
        str, ["no"], "Whether to run the layers through torch.compile: yes or no, or both.",
        ("no", "yes"),
    ),
    "clock": (
        str, "wall", "Which time counts: wall, or cpu for the time of the processor, which leaves "
        "out other programs on a busy machine, but needs --threads=1.", None,
    ),
    "seconds": (float, 5.0, "Approximate duration of each size and pass, in seconds.", None),
    "rounds": (int, LEAST, "Smallest number of rounds, in each of which every layer runs.", None),
    "output": (
        str, None, "Folder for bench.md, bench.json and the charts bench.png and bench.svg, which "
        "replace older ones.", None,
    ),
}  # fmt: skip
"""Type, default, help and allowed values of each option."""

_ABOUT = """Time layers side by side, in turns in one process, and print the ratios of their times.

By default, the command measures the two settings of the SRU paper (length 32 with width 256, length
128 with width 512, batch 32) in float32 on one CPU thread, which takes about two minutes. Options
that take several values measure all combinations.

layers:
"""


def run(args: list[str]) -> None:
    """Runs ``bench``: times layers side by side and prints the ratios of their times.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        InputError: If an option is out of its range, or nothing could be measured.
    """
    options = _parse(args)
    chosen, missing = _choose(options.contenders, options.reference)
    groups = grid(
        options.passes, sizes(options.length, options.width), options.batch, options.streams,
        options.dtype, options.threads, options.device,
        [word == "yes" for word in options.compile], options.clock,
    )  # fmt: skip
    if not groups:
        raise InputError("single steps are not compiled; pass --compile=no for --passes=step")
    folder = _folder(options.output)
    torch.manual_seed(0)
    # By default, cuDNN's convolutions and LSTMs round float32 to 10 bits, but products do not.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32
    report = Report(
        command=shlex.join([*shlex.split(program()), "bench", *args]),
        date=today(),
        machine=machine.describe(options.device),
        versions=versions(*PACKAGES),
        commit=commit(),
        not_installed=missing,
        groups=[],
    )
    print(report.about(), flush=True)
    done: list[Result] = []

    def work() -> Iterator[list[Result] | None]:
        """Yields the results of a group when it is complete, and None for other ticks."""
        for group in groups:
            done.clear()
            for place, case in enumerate(group, 1):
                ticks = measure(case, chosen, options.reference, options.seconds, options.rounds)
                for number, result in enumerate(ticks, 1):
                    if result is not None:
                        done.append(result)
                    is_last = place == len(group) and number == TICKS
                    yield list(done) if is_last else None

    total = TICKS * sum(map(len, groups))
    for results in progress(work(), "timing", total):
        if results:
            report.groups.append(results)
            print("", title(results[0].case), "", aligned(rows(results)), *claim(results), sep="\n")
            if folder is not None:  # what is measured survives an interruption
                report.write(folder)
    if not report.groups:
        raise InputError(f"no layer runs in these cases: {'; '.join(report.notes())}")
    print("", legend(report.groups), *report.notes(), sep="\n")
    if folder is not None:
        _save(report, chosen, folder)


def _parse(args: list[str]) -> Namespace:
    """Parses and checks the options."""
    lines = [f"  {one.name:20} {one.about}" for one in DEFAULT]
    lines += ["only on request:", *(f"  {one.name:20} {one.about}" for one in MORE)]
    parser = Parser(
        prog=f"{program()} bench", description=_ABOUT + "\n".join(lines),
        formatter_class=RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.of = "bench"
    for name, (kind, default, text, _) in _OPTIONS.items():
        count: dict[str, Any] = {} if name in _SINGLE else {"nargs": "+"}
        parser.add_argument(f"--{name}", type=kind, default=default, help=text, **count)
    options = parser.parse_args(args)
    _check(options)
    return options


def _check(options: Namespace) -> None:
    """Raises InputError for options out of their ranges."""
    for name in ("length", "width", "batch", "streams"):
        for value in options[name] or ():
            check_range(1, 2**24, **{name: value})
    for name, (*_, allowed) in _OPTIONS.items():
        for value in options[name] if allowed else ():
            if value not in (allowed or ()):
                raise InputError(
                    f"{name} must be some of {', '.join(allowed or ())}, got {value!r}"
                )
    for value in options.threads:
        check_range(1, usable_cores(), threads=value)
    check_range(0, 86_400, seconds=options.seconds)
    check_range(LEAST, 1_000_000, rounds=options.rounds)
    device = get_device(options.device)
    if options.clock not in get_args(Clock):
        raise InputError(f"clock must be wall or cpu, got {options.clock!r}")
    if options.clock == "cpu" and (options.threads != [1] or device.type != "cpu"):
        raise InputError("clock must be wall on a GPU or with several threads; pass --clock=wall")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda, got {options.device!r}")


def _choose(
    names: Sequence[str] | None, reference: str
) -> tuple[list[Contender], dict[str, list[str]]]:
    """Returns the contenders that are installed, and the missing packages of the others.

    The lower bounds that a contender is held against are added to those that were asked for.
    """
    for name in (*(names or ()), reference):
        if name not in ALL:
            close = get_close_matches(name, ALL, 2)
            hint = (
                f"did you mean {' or '.join(close)}?" if close else f"pass some of {', '.join(ALL)}"
            )
            raise InputError(f"there is no layer {name!r}; {hint}")
    wanted = {one.name for one in DEFAULT} if names is None else set(names)
    if reference not in wanted:
        raise InputError(
            f"reference must be one of the contenders, got {reference!r}; add it to --contenders"
        )
    wanted |= {bound for name in wanted for bound in ALL[name].floor}
    found, missing = [], {}
    for one in ALL.values():
        if one.name in wanted:
            if lacking := one.missing():
                missing[one.name] = lacking
            else:
                found.append(one)
    if reference in missing:
        raise InputError(
            f"reference must be installed, got {reference!r}, which needs the package "
            f"{' and '.join(missing[reference])}; install it, or choose another --reference"
        )
    return found, missing


def _folder(output: str | None) -> Path | None:
    """Creates the folder for the files, and says what will be missing from it."""
    if output is None:
        return None
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output must be a folder that can be written, got {output!r} "
            f"({error.strerror}); pass another one"
        ) from error
    if not module_available("matplotlib"):
        print('no chart will be drawn without matplotlib; install it: pip install "srulight[plot]"')
    return folder


def _save(report: Report, chosen: Sequence[Contender], folder: Path) -> None:
    """Writes all files, and prints their paths."""
    paths = report.write(folder)
    if module_available("matplotlib"):
        ours = [one.name for one in chosen if one.ours]
        paths += chart.draw(report.groups, ours, report.about(), folder)
    print("", f"saved {', '.join(map(str, paths))}", sep="\n")
