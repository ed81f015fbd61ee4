"""A corpus of your own NumPy arrays."""

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.files import file_checksum
from srulight.runtime.records import TABLES, table_rows, text_cell
from srulight.targets import Kind
from srulight.targets.cells import flag, is_missing, number
from srulight.tasks.sequence_prediction.corpora.array_layout import (
    Layout,
    as_lengths,
    as_times,
    side_by_side,
)
from srulight.tasks.sequence_prediction.corpora.assembly import OneSequence, assemble, floats
from srulight.tasks.sequence_prediction.corpora.base import Per, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.corpora.numpy_files import (
    array_names,
    map_array,
    read_arrays,
)

_REMEDY = "set --data.root to its folder, or correct the file name in --data.corpus"


class NumpyArrays(SequenceCorpus):
    """Your own NumPy arrays: one file per part, or one file per sequence, listed in a table.

    An ``.npz`` file contains all sequences of a part. Its features have the shape (R, ...), where R
    is the number of steps of all sequences, one after the other; or (N, T, ...), where N is the
    number of sequences, which are padded at the end to T steps. The targets have the shape (N, ...)
    or, with one per step, the same first dimensions as the features.

    A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file is a table with one row per sequence. One
    of its columns names a ``.npy`` file with features of the shape (T, ...), or an ``.npz`` file;
    the paths are relative to the folder of the table. Targets of sequences are further columns of
    the table, and targets of steps are an array in the ``.npz`` file.

    All dimensions after those of the steps are flattened. NaN means that a feature, label or number
    is missing; an empty string, NaN or -100 means that a class is missing.

    Args:
        train: Name of the training file in ``root``.
        val: Name of the validation file; if None, a fixed tenth of the training sequences is held
            out.
        test: Name of the test file; if None, the corpus has no test set.
        kind: Kind of the targets. Classes are strings or integers, and labels are 0 or 1.
        per: Whether each sequence has a target, or each of its steps.
        features: Name of the array of features in ``.npz`` files.
        lengths: Name of the array with the number of steps of each sequence, (N,), in the ``.npz``
            file of a part; if None, all sequences have T steps.
        targets: Name of the array of targets; in a table, the column of the class, or the columns
            of the labels or numbers.
        times: Name of the array with the time of each step; if None, the steps have no times.
        target_names: Name of the array with the names of the classes, labels or numbers in the
            ``.npz`` file of a part. Integers of classes are indices into it.
        file: Column of a table with the names of the files.
    """

    def __init__(
        self,
        train: str = "train.npz",
        val: str | None = None,
        test: str | None = None,
        kind: Kind = "class",
        per: Per = "sequence",
        features: str = "features",
        lengths: str | None = "lengths",
        targets: str | list[str] = "target",
        times: str | None = None,
        target_names: str | None = None,
        file: str = "file",
    ) -> None:
        self.files = {"train": train, "val": val, "test": test}
        self.kind = kind
        self.per = per
        self.features = features
        self.lengths = lengths
        self.targets = [targets] if isinstance(targets, str) else targets
        self.times = times
        self.target_names = target_names
        self.file = file
        if not self.targets or (kind == "class" and len(self.targets) > 1):
            wanted = "one name" if kind == "class" else "one or several names"
            raise InputError(f"targets must be {wanted}, got {self.targets}")

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        settings = [
            self.files, self.features, self.lengths, self.targets, self.times, self.target_names,
            self.file,
        ]  # fmt: skip
        sums: list[Any] = []
        for name in filter(None, self.files.values()):
            sums.append(file_checksum(root / name, _REMEDY))
            if Path(name).suffix in TABLES:
                # Checksums of many files would take too long.
                listed = [row.path for row in self._rows(root / name, root)]
                states = [path.stat() for path in listed if path.exists()]
                sums += [[state.st_size, state.st_mtime_ns] for state in states]
        return [settings, sums]

    def read(self, root: Path) -> Sequences:
        found = {}
        names: dict[str, list[str] | None] = {}
        for key, name in self.files.items():
            if name is not None:
                found[key], names[key] = self._sequences(root / name, root)
        for key, own in names.items():
            if own != names["train"]:
                raise InputError(
                    f"{root / str(self.files[key])}: expected the {self.target_names!r} of "
                    f"{self.files['train']}, got others; save the same names in all files"
                )
        targets = names["train"]
        if self.kind != "class" and targets is None:
            targets = self._names(found["train"][0].targets)
        parts, targets = assemble(found, self.kind, self.per, targets)
        size = parts["train"].numbers.shape[1]
        return Sequences(
            parts["train"],
            parts["val"],
            parts.get("test"),
            numbers=[f"{self.features}_{i}" for i in range(size)],
            categories=[],
            targets=targets,
            time_column=self.times,
        )

    def _names(self, targets: NDArray[Any]) -> list[str]:
        """Names the labels or numbers of a sequence after their arrays or columns."""
        count = math.prod(targets.shape[1:] if self.per == "step" else targets.shape)
        if count == len(self.targets):
            return self.targets
        return [f"{'_'.join(self.targets)}_{i}" for i in range(count)]

    def _sequences(self, path: Path, root: Path) -> tuple[list[OneSequence], list[str] | None]:
        """Returns the sequences of a part, and the names of the targets if the file has them."""
        if path.suffix == ".npz":
            return self._packed(path)
        if path.suffix in TABLES:
            if self.target_names is not None:
                raise InputError(
                    f"{path}: expected an .npz file with the array {self.target_names!r}, got a "
                    "table; remove --data.corpus.target_names"
                )
            return [self._listed(row) for row in self._rows(path, root)], None
        raise InputError(
            f"{path}: expected a name ending in .npz or, for a table of files, in "
            f"{', '.join(TABLES)}, got {path.name!r}; rename or convert the file"
        )

    def _packed(self, path: Path) -> tuple[list[OneSequence], list[str] | None]:
        """Reads all sequences of a part from one file."""
        names = [self.features, self.lengths, self.times, self.target_names, *self.targets]
        arrays = self._arrays(path, names, _REMEDY)
        values = floats(arrays[self.features], f"{path}, {self.features}")
        if self.lengths is not None:
            lengths = as_lengths(arrays[self.lengths], f"{path}, {self.lengths}")
        elif values.ndim > 1 and values.size:
            lengths = np.full(len(values), values.shape[1])
        else:
            raise InputError(
                f"{path}, {self.features}: expected the shape (N, T, ...), got {values.shape}; "
                "name the array of the lengths with --data.corpus.lengths"
            )
        layout = Layout(path, lengths, values.shape)
        numbers = layout.steps(values, self.features)
        numbers = numbers.reshape(len(numbers), -1)
        times = None
        if self.times is not None:
            times = as_times(layout.steps(arrays[self.times], self.times), f"{path}, {self.times}")
        choose = layout.steps if self.per == "step" else layout.sequences
        targets = side_by_side([choose(arrays[name], name) for name in self.targets])
        sequences = []
        for i, end in enumerate(np.cumsum(lengths).tolist()):
            steps = slice(end - int(lengths[i]), end)
            sequences.append(
                OneSequence(
                    name=str(i),
                    numbers=numbers[steps],
                    times=None if times is None else times[steps],
                    targets=targets[steps] if self.per == "step" else targets[i],
                    place=partial("{}, sequence {}, step {}".format, path, i),
                )
            )
        if self.target_names is None:
            return sequences, None
        return sequences, [str(name) for name in arrays[self.target_names].ravel().tolist()]

    def _arrays(
        self, path: Path, wanted: Sequence[str | None], remedy: str
    ) -> dict[str, NDArray[Any]]:
        """Reads arrays, all of which the file must have."""
        names = [name for name in wanted if name is not None]
        arrays = read_arrays(path, names, remedy)
        for name in names:
            if name not in arrays:
                own = ", ".join(map(repr, array_names(path))) or "none"
                raise InputError(
                    f"{path}: expected an array {name!r}, got {own}; set the names of the arrays "
                    "with --data.corpus.features, lengths, targets, times and target_names"
                )
        return arrays

    def _rows(self, path: Path, root: Path) -> "list[_Row]":
        """Reads a table of files."""
        targets = [] if self.per == "step" else self.targets
        rows: list[_Row] = []
        faults = Faults()
        for line, row in table_rows(path, _REMEDY, faults):
            place = f"{path}:{line}"
            for column in (self.file, *targets):
                if column not in row:
                    raise InputError(
                        f"{place}: expected a column {column!r}, got the columns "
                        f"{', '.join(row)}; set --data.corpus.file and --data.corpus.targets"
                    )
            try:
                name = text_cell(row, self.file, place, "")
                inside = _inside(root, path.parent, name, place)
                cells = [self._cell(row, column, place) for column in targets]
                rows.append(_Row(inside, name, cells, place))
            except InputError as error:
                faults.add(error)
        faults.refuse()
        if not rows:
            raise InputError(f"{path}: expected rows below the header, got none; add some")
        return rows

    def _cell(self, row: dict[str, Any], column: str, place: str) -> str | float:
        """Returns the name of a class, or the value of a label or a number."""
        value = row[column]
        if self.kind == "class":
            return "" if is_missing(value) else text_cell(row, column, place, "")
        return (flag if self.kind == "labels" else number)(value, column, place)

    def _listed(self, row: "_Row") -> OneSequence:
        """Reads a sequence from a file of its own."""
        path, remedy = row.path, f"correct the name in {row.place}, or add the file"
        per_step = self.targets if self.per == "step" else []
        if path.suffix == ".npz":
            arrays = self._arrays(path, [self.features, self.times, *per_step], remedy)
            place = f"{path}, {self.features}"
        elif path.suffix == ".npy" and not per_step and self.times is None:
            arrays, place = {self.features: map_array(path, remedy)}, str(path)
        else:
            wanted = "an .npz file" if per_step or self.times else "an .npy or .npz file"
            raise InputError(f"{row.place}: expected {wanted}, got {row.name!r}; convert the file")
        values = floats(arrays[self.features], place)
        if not values.size:
            raise InputError(
                f"{place}: expected the shape (T, ...), got {values.shape}; remove the sequence"
            )
        layout = Layout(path, np.array([len(values)]), values.shape[:1])
        times = None
        if self.times is not None:
            times = as_times(layout.steps(arrays[self.times], self.times), f"{path}, {self.times}")
        if per_step:
            targets = side_by_side([layout.steps(arrays[name], name) for name in per_step])
        else:
            targets = np.array(row.targets[0] if self.kind == "class" else row.targets)
        return OneSequence(
            name=row.name,
            numbers=values.reshape(len(values), -1),
            times=times,
            targets=targets,
            place=partial("{}, step {}".format, path),
        )


class _Row(NamedTuple):
    """A row of a table of files."""

    path: Path
    name: str
    targets: list[str | float]
    place: str  # file:line


def _inside(root: Path, folder: Path, name: str, place: str) -> Path:
    """Returns the path of a listed file, which must not be outside the root."""
    path = Path(os.path.abspath(folder / name))
    if "\0" in name or not name or not path.is_relative_to(os.path.abspath(root)):
        raise InputError(
            f"{place}: expected a file below {root}, got {name!r}; move the file, or set "
            "--data.root to a folder that contains it"
        )
    return path
