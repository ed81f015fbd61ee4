"""Long tables of sequences: a row per step, in CSV, TSV, JSON Lines or Parquet."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.columns import Column, TableFile
from srulight.data.hold_out import hold_out
from srulight.runtime.arrow import is_dataset
from srulight.runtime.errors import InputError, listed
from srulight.runtime.faults import Faults
from srulight.runtime.files import file_checksum
from srulight.runtime.records import TABLES, is_table, table_rows
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.corpora.base import Part, Per, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.corpora.table_steps import (
    Layout,
    Steps,
    read_steps,
)
from srulight.tasks.sequence_prediction.corpora.table_targets import TableTargets

_REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"
_AS_CATEGORY = (
    "correct it, leave the cell empty, or name the column in --data.corpus.categories instead"
)


class SequenceTables(SequenceCorpus):
    """Your own data: long tables with a row per step, and columns that are chosen by their names.

    A part is one table with the steps of all sequences, or a folder or a pattern such as
    ``train/*.csv`` of several tables. The rows of a sequence must be in the order of time; rows of
    other sequences may stand between them. A ``.csv`` or ``.tsv`` file is encoded in UTF-8 and
    names its columns in the first row; a ``.jsonl`` file has a JSON object per line. A ``.parquet``
    file, and a folder that Hugging Face's ``datasets`` has saved to disk, require pyarrow, which
    also reads large ``.csv`` and ``.tsv`` files many times faster.

    A number is missing where the cell is empty, or contains NaN, NA, N/A, null or None. A class is
    missing where the cell is blank or contains NaN. Targets that are missing count neither in the
    loss nor in the metrics. The classes are those of the training tables, in alphabetical order, or
    in numerical order if all are integers.

    Args:
        train: Name of the training table, folder or pattern in ``root``.
        val: Name of the validation tables. If None, a fixed tenth of the training sequences is held
            out; if there is only one sequence with a target at each step, the last tenth of its
            steps.
        test: Name of the test tables; if None, the corpus has no test set.
        sequence: Column that names the sequence of each row; if None, each table is one sequence.
        time: Column with the time of each step, as a number or as an ISO 8601 date, which becomes
            seconds; the time zone is UTC if there is none. If None, the steps have no times.
        features: Columns of the numeric features; if None, all columns that begin with a number and
            have none of the other roles.
        categories: Columns of the categorical features.
        targets: Column of the targets, or a list of several columns. Several labels are either
            names in one column, separated by semicolons, or a list of columns that contain 0 or 1.
        kind: Kind of the targets.
        per: Whether each sequence has a target, the same in all of its rows that are not empty, or
            each of its steps.
    """

    def __init__(
        self,
        train: str = "train.csv",
        val: str | None = None,
        test: str | None = None,
        sequence: str | None = "sequence",
        time: str | None = "time",
        features: list[str] | None = None,
        categories: list[str] = [],  # noqa: B006
        targets: list[str] | str = "target",
        kind: Kind = "class",
        per: Per = "sequence",
    ) -> None:
        self.files = {"train": train, "val": val, "test": test}
        self.sequence = sequence
        self.time = time
        self.features = features
        self.categories = categories
        self.kind = kind
        self.per = per
        self._targets = TableTargets(targets, kind, per)
        inputs, columns = [*(features or []), *categories], self._targets.table.columns
        for name, own in {"features and categories": inputs, "targets": columns}.items():
            if twice := next((one for one in own if own.count(one) > 1), None):
                raise InputError(f"{name} must be different columns, got {twice!r} twice")
        if per == "sequence" and (told := next((n for n in columns if n in inputs), None)):
            raise InputError(
                f"features must not be targets if per is 'sequence', got {told!r} in both; remove "
                "it from one of the two"
            )

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        sums = []
        for name in filter(None, self.files.values()):
            paths = _paths(root, name)
            sums += [_names(paths), [[path.suffix, _checksums(path)] for path in paths]]
        return [
            sums, self.sequence, self.time, self.features, self.categories,
            self._targets.table.columns, self._targets.table.has_names,
        ]  # fmt: skip

    def read(self, root: Path) -> Sequences:
        files = {part: name for part, name in self.files.items() if name is not None}
        paths = {part: _paths(root, name) for part, name in files.items()}
        tables = {part: [TableFile(path, _REMEDY) for path in paths[part]] for part in paths}
        numbers: list[str] | None = self.features
        notes: list[str] = []
        if numbers is None:
            numbers, notes = self._choose_features(tables["train"])
        layout = self._layout(numbers)
        steps = {part: read_steps(tables[part], _names(paths[part]), layout) for part in tables}
        names = self._targets.names(steps["train"], str(root / files["train"]))
        parts = {part: self._part(steps[part], names) for part in steps}
        if "val" not in parts:
            parts["train"], parts["val"] = _hold_out(parts["train"], self.per)
        return Sequences(
            parts["train"],
            parts["val"],
            parts.get("test"),
            numbers=numbers,
            categories=self.categories,
            targets=names,
            sequence_column=self.sequence,
            time_column=self.time,
            target_columns=self._targets.table.columns,
            notes=notes,
        )

    def _choose_features(self, tables: Sequence[TableFile]) -> tuple[list[str], list[str]]:
        """Returns the columns that begin with a number and have no other role, and a note."""
        others = {self.sequence, self.time, *self.categories, *self._targets.table.columns}
        first = tables[0]
        for table in tables:
            if more := [n for n in table.numeric if n not in {*first.first, *others}]:
                raise InputError(
                    f"{table.path}: expected the columns of {first.path.name} "
                    f"({listed([*first.first])}), got {more[0]!r} as well; remove the column, or "
                    "name those to read in --data.corpus.features"
                )
        numeric = {name for table in tables for name in table.numeric} - others
        chosen = [name for name in first.first if name in numeric]
        if not chosen and not self.categories:
            raise InputError(
                f"{first.path}: expected columns of numbers, got the columns "
                f"{listed([*first.first])}; name categories in --data.corpus.categories"
            )
        note = f"features: {listed(chosen) or 'no numbers'}"
        left = [name for name in first.first if name not in numeric | others]
        if left:
            note += f"; columns that do not begin with a number are left out: {listed(left)}"
        return chosen, [note]

    def _layout(self, numbers: Sequence[str]) -> Layout:
        correct = "correct --data.corpus."
        columns = {name: Column("text", f"{correct}categories") for name in self.categories}
        columns |= {n: Column("number", f"{correct}features", _AS_CATEGORY) for n in numbers}
        if self.time is not None:
            columns[self.time] = Column(
                "time", f"{correct}time (null if the steps have no times)", "correct it"
            )
        if self.sequence is not None:
            columns[self.sequence] = Column(
                "text", f"{correct}sequence (null if each file is a sequence)"
            )
        wanted = self._targets.table.wanted
        return Layout(self.sequence, self.time, numbers, self.categories, wanted, columns)

    def _part(self, steps: Steps, names: Sequence[str]) -> Part:
        return Part(
            names=steps.names,
            lengths=steps.lengths,
            numbers=steps.numbers,
            categories=steps.categories,
            times=steps.times,
            targets=self._targets.encode(steps, names),
            place=steps.place,
        )


def _paths(root: Path, name: str) -> list[Path]:
    """Returns the tables that a name stands for: a table, a folder, or a pattern."""
    path = root / name
    if path.is_dir() and not is_dataset(path):
        found = sorted(one for one in path.iterdir() if is_table(one))
        if not found:
            raise InputError(
                f"{path}: expected tables ({', '.join(TABLES)}) in the folder, got none; {_REMEDY}"
            )
        return found
    if glob.has_magic(name) and not path.exists():
        found = sorted(root / one for one in glob.glob(name, root_dir=root, recursive=True))
        found = [one for one in found if is_table(one)]
        if not found:
            raise InputError(
                f"{path}: expected tables ({', '.join(TABLES)}) that match the pattern, got none; "
                f"{_REMEDY}"
            )
        return found
    if not is_table(path):
        raise InputError(
            f"{path}: expected a folder, a pattern, or a name ending in {', '.join(TABLES)}; "
            "rename or convert the file"
        )
    return [path]


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns the names of tables without their endings; with their folders if they repeat."""
    stems = [path.stem for path in paths]
    if len({*stems}) == len(stems):
        return stems
    return [str(path.with_suffix("")) for path in paths]


def _checksums(path: Path) -> list[str]:
    if not path.is_dir():
        return [file_checksum(path, _REMEDY)]
    return [file_checksum(one) for one in sorted(path.iterdir()) if one.is_file()]


def _hold_out(part: Part, per: Per) -> tuple[Part, Part]:
    """Holds out a tenth of the sequences, or the last tenth of the steps of a single sequence."""
    count = len(part.lengths)
    if count > 1 or per == "sequence" or part.lengths[0] < 2:
        train, val = hold_out(range(count))
        return _select(part, train, per), _select(part, val, per)
    steps = int(part.lengths[0])
    return _cut(part, steps - max(1, steps // 10))


def _cut(part: Part, steps: int) -> tuple[Part, Part]:
    """Divides the only sequence of a part with a target per step."""
    pieces = []
    for rows in (slice(steps), slice(steps, None)):
        pieces.append(_take(part, np.arange(len(part.numbers))[rows], part.targets[rows]))
    return pieces[0], pieces[1]


def _select(part: Part, indices: Sequence[int], per: Per) -> Part:
    """Returns some sequences of a part."""
    chosen = np.zeros(len(part.lengths), dtype=bool)
    chosen[list(indices)] = True
    rows = np.flatnonzero(np.repeat(chosen, part.lengths))
    taken = _take(part, rows, part.targets[rows if per == "step" else chosen])
    return replace(taken, names=[part.names[i] for i in indices], lengths=part.lengths[chosen])


def _take(part: Part, rows: NDArray[np.int64], targets: NDArray[Any]) -> Part:
    """Returns some steps of a part as one sequence."""
    return replace(
        part,
        lengths=np.array([len(rows)]),
        numbers=part.numbers[rows],
        categories=part.categories[rows],
        times=None if part.times is None else part.times[rows],
        targets=targets,
        place=lambda row: part.place(int(rows[row])),
    )


class TableSequence(NamedTuple):
    """A sequence of T steps in a table.

    Attributes:
        name: Name of the sequence.
        numbers: Numeric features, (T, F) float64; NaN where missing.
        categories: Categorical features, (T, C) of strings; the empty string where missing.
        times: Time of each step, (T,) float64; None if there are none.
        rows: All cells of each row by the names of their columns; text in CSV and TSV.
    """

    name: str
    numbers: NDArray[np.float64]
    categories: NDArray[np.object_]
    times: NDArray[np.float64] | None
    rows: list[dict[str, Any]]


def read_sequences(path: str, metadata: dict[str, Any]) -> Iterator[TableSequence]:
    """Reads the sequences of a table with the columns that a model was trained on.

    Args:
        path: Path of the table.
        metadata: Metadata of the task. Targets are not read, and times only if they are there or
            the model needs them.

    Yields:
        The sequences in the order of their first rows.

    Raises:
        InputError: If the table lacks a column, or cells or rows are not as expected.
    """
    features = metadata["features"]
    needed = "add the column, which the model needs"
    columns = {name: Column("text", needed) for name in features["categories"]}
    columns |= {name: Column("number", needed) for name in features["numbers"]}
    sequence, time = metadata["sequence_column"], metadata["time_column"]
    if not is_table(path):
        raise InputError(
            f"{path}: expected a name ending in {', '.join(TABLES)}; rename or convert the table"
        )
    table = TableFile(Path(path), "correct the name of the file")
    if time not in table.first and features["intervals"] is None:
        time = None
    if time is not None:
        columns[time] = Column("time", needed, "correct it")
    if sequence is not None:
        columns[sequence] = Column("text", needed)
    layout = Layout(sequence, time, features["numbers"], [*features["categories"]], {}, columns)
    steps = read_steps([table], [Path(path).stem], layout)
    rows = [row for _, row in table_rows(path, "", Faults())]
    for name, start, length in zip(
        steps.names, steps.starts.tolist(), steps.lengths.tolist(), strict=True
    ):
        own = slice(start, start + length)
        yield TableSequence(
            name,
            steps.numbers[own],
            steps.categories[own],
            None if steps.times is None else steps.times[own],
            [rows[row] for row in steps.order[own].tolist()],
        )
