"""Reports of measurements: tables for people, and JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from srulight.bench.cases import TITLES, Case
from srulight.bench.machine import in_short
from srulight.bench.measure import Result, Timing
from srulight.bench.statistics import Estimate
from srulight.bench.tables import Row, text_of
from srulight.runtime.atomic_io import written
from srulight.runtime.terminal import width

FORMAT = 1
"""Version of the structure of the JSON file; it grows when a program would have to change."""
NAME = "bench"
"""Name of the files without their extensions."""

UNSTEADY = 0.2
"""Width of the interval of a time, relative to its median, from which on a note says so."""

CLAIM = "as fast as a Conv1d, and 5 to 10 times as fast as cuDNN's LSTM on a GPU"
"""Lei et al. (2017), the first version of arXiv 1709.02755, abstract."""


@dataclass(frozen=True)
class Report:
    """Everything that a run of ``bench`` has found.

    Attributes:
        command: The command line.
        date: Date in UTC, as YYYY-MM-DD.
        machine: What ``machine.describe`` returns.
        versions: Versions of the packages.
        commit: Commit of the checkout, or None.
        not_installed: Contenders whose packages are missing, with the packages.
        groups: Results of the cases that differ in the pass only.
    """

    command: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    not_installed: dict[str, list[str]]
    groups: list[list[Result]]

    def about(self) -> str:
        """Describes the machine, the versions and the date in one line."""
        return f"{in_short(self.machine, self.versions)}, {self.date}"

    def notes(self) -> list[str]:
        """Says what was not measured, and why, a line for each reason."""
        lines = []
        if self.not_installed:
            missing = [f"{n} ({', '.join(packages)})" for n, packages in self.not_installed.items()]
            lines.append(f"not installed: {'; '.join(missing)}")
        where: dict[tuple[str, str], list[str]] = {}
        for result in (one for group in self.groups for one in group):
            for name, reason in result.skipped.items():
                where.setdefault((name, reason), []).append(TITLES[result.case.passing])
        names: dict[tuple[str, str], list[str]] = {}
        for (name, reason), passes in where.items():
            names.setdefault((" and ".join(dict.fromkeys(passes)), reason), []).append(name)
        for (place, reason), found in names.items():
            lines.append(f"not measured in {place}: {', '.join(found)} ({reason})")
        if unsteady := [one for group in self.groups for one in group if is_unsteady(one)]:
            lines.append(
                f"the time of {unsteady[0].reference} varies by more than {UNSTEADY:.0%} in "
                f"{len(unsteady)} of {sum(map(len, self.groups))} measurements; end other "
                "programs, or raise --seconds"
            )
        return lines

    def text(self, heading: str = "") -> str:
        """Formats all tables.

        Args:
            heading: What stands before the title of each table, such as ``## `` in Markdown.
        """
        parts = []
        for group in self.groups:
            parts += [f"{heading}{title(group[0].case)}", aligned(rows(group))]
            parts += claim(group)
        return "\n\n".join([*parts, *self.notes()])

    def markdown(self) -> str:
        """Formats the whole report as Markdown."""
        lines = [
            "# Speed of layers", f"{self.about()}\n\n    {self.command}", legend(self.groups),
            self.text("## "),
        ]  # fmt: skip
        return "\n\n".join(lines) + "\n"

    def data(self) -> dict[str, Any]:
        """Returns the whole report as plain data."""
        kept = ("command", "date", "commit", "machine", "versions", "not_installed")
        results = [as_data(result) for group in self.groups for result in group]
        return {"format": FORMAT, **{k: getattr(self, k) for k in kept}, "results": results}

    def write(self, folder: Path) -> list[Path]:
        """Writes ``bench.md`` and ``bench.json``.

        Args:
            folder: Folder for the files, which replace older ones.

        Returns:
            Their paths.
        """
        contents = {"md": self.markdown(), "json": json.dumps(self.data(), indent=1) + "\n"}
        for ending, content in contents.items():
            with written(folder / f"{NAME}.{ending}") as part:
                part.write_text(content, encoding="utf-8")
        return [folder / f"{NAME}.{ending}" for ending in contents]


def is_unsteady(result: Result) -> bool:
    """Returns whether the interval of the time of the reference is wide."""
    seconds = result.timings[result.reference].seconds
    return seconds.high - seconds.low > UNSTEADY * seconds.median


def as_data(result: Result) -> dict[str, Any]:
    """Returns a result as plain data; all times are in seconds."""

    def numbers(timing: Timing) -> dict[str, Any]:
        return {
            key: None if value is None else value._asdict() for key, value in vars(timing).items()
        }

    case = asdict(result.case)
    return {
        "pass": case.pop("passing"), **case, "reference": result.reference,
        "rounds": result.rounds, "copy_bytes_per_second": result.bandwidth,
        "contenders": {name: numbers(timing) for name, timing in result.timings.items()},
        "skipped": result.skipped,
    }  # fmt: skip


def title(case: Case) -> str:
    """Describes a case without its pass."""
    size = f"length {case.length}, width {case.width}, batch {case.batch}"
    if case.passing == "step":
        streams = "one stream" if case.batch == 1 else f"{case.batch} streams"
        size = f"one step of {streams}, width {case.width}"
    where = case.device
    if case.device_type == "cpu":
        where = f"{case.threads} thread{'' if case.threads == 1 else 's'}"
    more = f"{', compiled' if case.compiled else ''}{', CPU time' if case.clock == 'cpu' else ''}"
    return f"{size}, {case.dtype}, {where}{more}"


def unit(group: Sequence[Result]) -> tuple[str, float]:
    """Chooses the unit of time for a table, and its number per second."""
    most = max(result.timings[result.reference].seconds.median for result in group)
    return ("ms", 1e3) if most >= 1e-3 else ("µs", 1e6)


def rows(group: Sequence[Result]) -> list[Row]:
    """Returns a row per contender, with the time, the ratio and the share for each pass.

    Args:
        group: Results of cases that differ in the pass only.
    """
    name, factor = unit(group)
    names = dict.fromkeys(one for result in group for one in result.timings)
    table = []
    for one in names:
        row: Row = {"layer": one}
        for result in group:
            times, timing = f"{TITLES[result.case.passing]}, {name}", result.timings.get(one)
            ratio, part = (
                column + _mark(row, column)
                for column in (f"/ {result.reference} [95%]", "share of floor")
            )
            row |= dict.fromkeys((times, ratio, part))
            if timing is not None:
                row[times] = text_of(timing.seconds.median * factor)
                row[ratio] = spread(timing.ratio)
                row[part] = f"{timing.share.median:.0%}" if timing.share else None
        table.append(row)
    return table


def _mark(row: Row, name: str) -> str:
    """Tells columns of the same title apart by spaces, which nobody sees."""
    return " " * sum(column.strip() == name for column in row)


def spread(estimate: Estimate) -> str:
    """Formats a ratio and its interval."""
    median, low, high = (f"{value:.2f}" if value < 100 else f"{value:.0f}" for value in estimate)
    return f"{median} [{low}, {high}]"


def claim(group: Sequence[Result]) -> list[str]:
    """Compares the ratios with the paper's claim, if both of its layers were measured."""
    lines = []
    for result in group:
        found = [result.timings.get(name) for name in ("LSTM", "Conv1d-k3")]
        if result.reference != "SRU" or result.case.passing == "step" or None in found:
            continue
        lstm, convolution = (spread(one.ratio) for one in found if one is not None)
        lines.append(
            f"{TITLES[result.case.passing]}: an LSTM takes {lstm} times as long as an SRU, and a "
            f"Conv1d-k3 {convolution} times"
        )
    return ["\n".join(lines)] if lines else []


def legend(groups: Iterable[Sequence[Result]]) -> str:
    """Explains the columns."""
    counts = [result.rounds for group in groups for result in group]
    between = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    return (
        f"Times are medians of {between} rounds, in which the layers take turns. A ratio is the "
        "median of the ratios within a round, with its 95% confidence interval. The share of the "
        "floor says how much of the time is the lower bound: for an SRU, the time of its matrix "
        "products plus that of a copy of as many bytes as its recurrence moves; for a Conv1d-k3, "
        "the matrix products; for the recurrence, the copy. The SRU paper claims that SRU is "
        f"{CLAIM} (arXiv 1709.02755, first version)."
    )


def aligned(table: Sequence[Row]) -> str:
    """Formats rows as a Markdown table whose columns are aligned."""
    lines = [[name.strip() for name in table[0]]]
    lines += [[text_of(row.get(name)) for name in table[0]] for row in table]
    widths = [max(width(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [
            cell + " " * (most - width(cell)) if i == 0 else " " * (most - width(cell)) + cell
            for i, (cell, most) in enumerate(zip(line, widths, strict=True))
        ]
        text.append(f"| {' | '.join(cells)} |")
    bars = ["-" * (most + 1) + (":" if i else "-") for i, most in enumerate(widths)]
    return "\n".join([text[0], f"|{'|'.join(bars)}|", *text[1:]])
