"""Time series in the ``.ts`` format of the UCR and UEA archives."""

import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import file_checksum, filled_lines
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.corpora.assembly import OneSequence, assemble
from srulight.tasks.sequence_prediction.corpora.base import SequenceCorpus, Sequences

_REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"
_STEP = re.compile(r"\(([^(),]*),([^(),]*)\)")
_OUTER_COLON = re.compile(r":(?![^(]*\))")
_BEGINNING = datetime(1970, 1, 1)


class TsFiles(SequenceCorpus):
    """Time series in ``.ts`` files, as the UCR and UEA archives contain them.

    A file starts with a header, whose lines begin with ``@`` and which ends with ``@data``. Each of
    the following lines is a sequence: its dimensions, separated by colons, and then its class or,
    with ``@targetLabel true``, its number. A dimension consists of numbers separated by commas,
    with ``?`` where one is missing, or of pairs of a time and a number, such as
    ``(2007-01-01 00:00:00,241.97)``. Dates become seconds. Lines that begin with ``#`` or ``%`` are
    comments. Sequences may differ in length, but all dimensions of a sequence have the same steps.

    Args:
        train: Name of the training file in ``root``, such as ``BasicMotions_TRAIN.ts``.
        val: Name of the validation file; if None, a fixed tenth of the training sequences is held
            out.
        test: Name of the test file; if None, the corpus has no test set.
        kind: "class" for classification, "numbers" for regression.
    """

    per = "sequence"

    def __init__(
        self,
        train: str = "train.ts",
        val: str | None = None,
        test: str | None = None,
        kind: Literal["class", "numbers"] = "class",
    ) -> None:
        self.kind: Kind = kind
        self.files = {"train": train, "val": val, "test": test}

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        names = [name for name in self.files.values() if name is not None]
        return [self.files, [file_checksum(root / name, _REMEDY) for name in names]]

    def read(self, root: Path) -> Sequences:
        read = {
            part: _read(root / name, self.kind)
            for part, name in self.files.items()
            if name is not None
        }
        found = {part: sequences for part, (_, sequences) in read.items()}
        named = read["train"][0].classes if self.kind == "class" else ["target"]
        parts, targets = assemble(found, self.kind, "sequence", named)
        size = parts["train"].numbers.shape[1]
        return Sequences(
            parts["train"],
            parts["val"],
            parts.get("test"),
            numbers=[f"dimension_{i}" for i in range(1, size + 1)],
            categories=[],
            targets=targets,
            time_column="time" if parts["train"].times is not None else None,
        )


class _Header(NamedTuple):
    """What the header of a file says.

    Attributes:
        kind: Kind of the targets.
        classes: The classes; None if the header does not list them.
        has_times: Whether each number has a time.
        dimensions: Number of dimensions; None if the header does not say it.
        steps: Number of steps of each sequence; None if they differ, or the header does not say it.
    """

    kind: Kind
    classes: list[str] | None
    has_times: bool
    dimensions: int | None
    steps: int | None


def _read(path: Path, kind: Kind) -> tuple[_Header, list[OneSequence]]:
    """Reads a file."""
    values: dict[str, list[str]] = {}
    header: _Header | None = None
    sequences: list[OneSequence] = []
    faults = Faults()
    for number, line in filled_lines(path, _REMEDY):
        text, place = line.strip(), f"{path}:{number}"
        if text[0] in "#%":
            continue
        if header is not None:
            try:
                sequences.append(_sequence(text, header, str(len(sequences) + 1), place))
            except InputError as error:
                faults.add(error)
        elif text[0] == "@":
            name, *rest = text[1:].split() or [""]
            values[name.lower()] = rest
            if name.lower() == "data":
                header = _header(values, kind, place)
        else:
            raise InputError(
                f"{place}: expected a line of the header that begins with @, got {text[:40]!r}; "
                "add @data before the first sequence"
            )
    faults.refuse()
    if header is None or not sequences:
        raise InputError(f"{path}: expected sequences after @data, got none; add some")
    return header, sequences


def _header(values: dict[str, list[str]], kind: Kind, place: str) -> _Header:
    """Interprets the header; the names of its values are in lower case."""

    def says(name: str) -> bool:
        return [value.lower() for value in values.get(name, [])[:1]] == ["true"]

    def integer(name: str) -> int | None:
        found = " ".join(values.get(name, []))
        if name in values and not (found.isascii() and found.isdecimal()):
            raise InputError(
                f"{place}: expected an integer after @{name}, got {found!r}; correct the header"
            )
        return int(found) if found else None

    wanted, other = ("classLabel", "numbers") if kind == "class" else ("targetLabel", "class")
    if not says(wanted.lower()):
        has_other = says("targetlabel") or says("classlabel")
        remedy = f"set --data.corpus.kind={other}" if has_other else "add it"
        raise InputError(f"{place}: expected '@{wanted} true' before @data, got none; {remedy}")
    return _Header(
        kind=kind,
        classes=(kind == "class" and values["classlabel"][1:]) or None,
        has_times=says("timestamps"),
        dimensions=1 if says("univariate") else integer("dimensions") or integer("dimension"),
        steps=integer("serieslength") if says("equallength") else None,
    )


def _sequence(text: str, header: _Header, name: str, place: str) -> OneSequence:
    """Parses a line of data."""
    # Dates contain colons, too, but stand in brackets.
    *columns, target = _OUTER_COLON.split(text) if header.has_times else text.split(":")
    expected = header.dimensions or max(1, len(columns))
    if len(columns) != expected:
        raise InputError(
            f"{place}: expected {expected} dimensions and a target, separated by colons, got "
            f"{len(columns)} and a target; correct the line, or the header"
        )
    read = [_dimension(column, header.has_times, place) for column in columns]
    times, first = read[0]
    for i, (own, values) in enumerate(read, 1):
        if len(values) != len(first):
            raise InputError(
                f"{place}: expected {len(first)} steps in dimension {i}, as in dimension 1, got "
                f"{len(values)}; correct the line"
            )
        if own is not None and times is not None and not np.array_equal(own, times):
            raise InputError(
                f"{place}: expected the same times in dimensions 1 and {i}, got others; resample "
                "the sequence"
            )
    if header.steps is not None and len(first) != header.steps:
        raise InputError(
            f"{place}: expected {header.steps} steps, as @seriesLength says, got {len(first)}; "
            "correct the line, or the header"
        )
    target = target.strip()
    is_class = header.kind == "class"
    return OneSequence(
        name=name,
        numbers=np.stack([values for _, values in read], axis=1),
        times=times,
        targets=np.array(target.strip("?")) if is_class else _numbers([target], place),
        place=lambda _: place,
    )


def _dimension(
    text: str, has_times: bool, place: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Returns the times, if there are any, and the numbers of a dimension."""
    if not has_times:
        return None, _numbers(text.split(","), place)
    steps = _STEP.findall(text)
    if _STEP.sub("", text).strip(", ") or not steps:
        raise InputError(
            f"{place}: expected steps like (2007-01-01 00:00:00,241.97), got {text[:60]!r}; "
            "correct the line, or set @timeStamps false"
        )
    times = np.array([_seconds(time.strip(), place) for time, _ in steps])
    return times, _numbers([number for _, number in steps], place)


def _numbers(cells: list[str], place: str) -> NDArray[np.float64]:
    """Parses numbers; ``?`` and ``NaN`` are missing."""
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return np.array([_number(cell.strip(), place) for cell in cells])


def _number(cell: str, place: str) -> float:
    try:
        return math.nan if cell == "?" else float(cell)
    except ValueError as error:
        raise InputError(
            f"{place}: expected a number, or ? where one is missing, got {cell[:40]!r}; correct "
            "the line"
        ) from error


def _seconds(time: str, place: str) -> float:
    """Parses a number, or a date with a time."""
    try:
        return float(time)
    except ValueError:
        pass
    try:
        return (datetime.fromisoformat(time).replace(tzinfo=None) - _BEGINNING).total_seconds()
    except ValueError as error:
        raise InputError(
            f"{place}: expected a number or a date like 2007-01-01 00:00:00 as a time, got "
            f"{time[:40]!r}; correct the line"
        ) from error
