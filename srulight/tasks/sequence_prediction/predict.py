"""The predict command of sequence prediction: of tables, NumPy files, or a live stream."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.faults import Faults
from srulight.runtime.files import name_of, well_formed
from srulight.runtime.progress import progress
from srulight.runtime.records import table_rows
from srulight.runtime.table_writing import TableFormat, table_writer, write_parquet
from srulight.tasks.prediction import Predictor, one_input, write
from srulight.tasks.sequence_prediction.corpora.numpy_files import (
    array_names,
    map_array,
    read_arrays,
)
from srulight.tasks.sequence_prediction.corpora.tables import read_sequences
from srulight.tasks.sequence_prediction.inputs import InputReader, Steps
from srulight.tasks.target_prediction import answer_cells, table_format

if TYPE_CHECKING:
    from srulight.tasks.sequence_prediction.task import SequencePrediction

_ARRAYS = (".npy", ".npz")
_REMEDY = "correct the name of the file"
_AT_ONCE = 1 << 20  # Number of steps that are read before the model predicts.


class SequencePredictor(Predictor):
    """Predicts from tables of sequences and writes a table of answers.

    A table has the columns of training; the target columns may be missing. If the model gives an
    answer per step, the output has the rows of the input with all their columns, followed by the
    answer. If the model gives an answer per sequence, the output has one row per sequence, with its
    name. The answer of a model that predicts h steps ahead is the target h rows further on.

    If no column names the sequences, each file is one sequence, and the output has a column "file".
    An .npy file holds the features of one sequence, in the order of training, with a row per step.
    An .npz file has the arrays of training, and holds one sequence, or several if it has an array
    "lengths". The output for them has the columns "sequence" and "step".

    With --stream=true, srulight reads one table line by line, from standard input by default, and
    writes an answer after each line, in constant time and memory. A new name in the sequence column
    begins a new sequence; without that column, all rows belong to one sequence. The first line that
    cannot be used ends the stream.

    Args:
        batch_size: Number of sequences per batch.
        format: Format of the table to write; if None, that of --output by its file extension, or
            else that of the input. With --stream=true, it is also the format of standard input:
            "csv" or "tsv", with names of columns in the first line, or "jsonl", with a JSON object
            per line; "csv" if None.
        probabilities: Whether to write the probability of every class or label, too.
        stream: Whether to answer line by line, for recurrent encoders that are not bidirectional.
            If the model gives an answer per sequence, the answer in each line is that of the
            sequence so far.
    """

    inputs = (
        "tables (.csv, .tsv, .jsonl, .parquet, or a folder that datasets has saved), or NumPy "
        "files (.npy, .npz); with --stream=true, one table, or - for standard input"
    )

    def __init__(
        self,
        batch_size: int = 64,
        format: TableFormat | None = None,
        probabilities: bool = False,
        stream: bool = False,
    ) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.format = format
        self.probabilities = probabilities
        self.stream = stream

    def run(self, task: "SequencePrediction", inputs: list[str], output: str) -> None:
        if not self.stream:
            if inputs == ["-"]:
                raise InputError(
                    "expected tables or NumPy files; pass --input with files, or --stream=true to "
                    "read a table from standard input"
                )
            form = table_format(self.format, inputs[0], output)
            rows = self._rows(task, inputs, form)
            if form == "parquet":
                write_parquet([row for row, _ in rows], Path(output))
            else:
                write(_lines(rows, form), output)
            return
        if output != "-":
            raise InputError("--stream=true writes to standard output; remove --output")
        if self.format == "parquet":
            raise InputError("format must be csv, tsv or jsonl with --stream=true, got 'parquet'")
        source = one_input(inputs, "table")
        form = self.format or ("csv" if source == "-" else table_format(None, source, output))
        for text in _lines(self._live_rows(task, source, form), form):
            sys.stdout.write(well_formed(text))
            sys.stdout.flush()

    def answers(self, task: "SequencePrediction", inputs: list[str]) -> Iterator[str]:
        form = table_format(self.format, inputs[0], "-")
        return _lines(self._rows(task, inputs, form), form)

    def _rows(
        self, task: "SequencePrediction", inputs: list[str], form: TableFormat
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Yields rows with their answers, and the places of the rows."""
        metadata = task.check_trained()
        sequences = (one for path in inputs for one in _read(path, metadata))
        for several in _groups(progress(sequences, "predicting", None), self.batch_size):
            steps = [one.steps for one in several]
            found = task.predict_steps(steps, self.batch_size)
            for one, answer in zip(several, found, strict=True):
                if not task.per_step:
                    yield self._answered(task, {one.column: one.name}, answer, form, one.place)
                    continue
                for row, own in zip(one.rows, answer, strict=True):
                    yield self._answered(task, row, own, form, one.place)

    def _live_rows(
        self, task: "SequencePrediction", source: str, form: TableFormat
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Yields rows like ``_rows``, each before it reads the next line."""
        stream = task.stream()
        column = task.check_trained()["sequence_column"]
        ending = f".{form}" if source == "-" else None
        name = None
        for number, row in table_rows(source, _REMEDY, Faults(collects=False), ending):
            place = f"{name_of(source)}:{number}"
            steps = stream.columns.row(row, place)
            if row.get(column) != name:
                name = row.get(column)
                stream.reset()
            (answer,) = stream.advance(steps)
            yield self._answered(task, row, answer, form, place)

    def _answered(
        self,
        task: "SequencePrediction",
        row: dict[str, Any],
        answer: Any,  # noqa: ANN401
        form: TableFormat,
        place: str,
    ) -> tuple[dict[str, Any], str]:
        cells = answer_cells(task.target, answer, self.probabilities, form)
        if taken := next((name for name in cells if name in row), None):
            raise InputError(
                f"{place}: expected no column {taken!r}, which predict adds, got one; rename it"
            )
        return row | cells, place


def _lines(rows: Iterable[tuple[dict[str, Any], str]], form: TableFormat) -> Iterator[str]:
    """Formats rows as soon as they come; the first one determines the columns.

    Args:
        rows: Cells by the names of their columns, and the place of each row for error messages.
        form: Format other than "parquet".

    Yields:
        Text with line ends; the first one begins with the header.

    Raises:
        InputError: If the rows differ in their columns, and the format has a header.
    """
    columns: list[str] = []
    for row, place in rows:
        header = ""
        if not columns:
            columns = list(row)
            header, line = table_writer(form, columns)
        if form != "jsonl" and row.keys() != {*columns}:
            raise InputError(
                f"{place}: expected the columns of the first row, {', '.join(columns)}, got "
                f"{', '.join(row)}; use the same columns in all rows, or pass --format=jsonl"
            )
        yield header + line(row)


class _Sequence(NamedTuple):
    """A sequence to predict from.

    Attributes:
        place: Name of the file, for error messages.
        column: Name of the column that names the sequences in the output.
        name: Name of the sequence.
        steps: The steps, T.
        rows: The rows of the input, T.
    """

    place: str
    column: str
    name: str
    steps: Steps
    rows: Iterable[dict[str, Any]]


def _groups(sequences: Iterable[_Sequence], batch_size: int) -> Iterator[list[_Sequence]]:
    """Groups sequences; several batches let the caller batch those of similar length."""
    several: list[_Sequence] = []
    count = 0
    for one in sequences:
        several.append(one)
        count += len(one.steps)
        if len(several) == 16 * batch_size or count >= _AT_ONCE:
            yield several
            several, count = [], 0
    if several:
        yield several


def _read(path: str, metadata: dict[str, Any]) -> Iterator[_Sequence]:
    """Reads the sequences of a table or of a NumPy file."""
    if Path(path).suffix in _ARRAYS:
        for name, steps in _read_arrays(path, metadata):
            yield _Sequence(path, "sequence", name, steps, _numbered(name, len(steps)))
        return
    column = metadata["sequence_column"]
    for one in read_sequences(path, metadata):
        steps = Steps(one.numbers, one.categories, one.times, lambda _: path)
        if column is None:
            rows = ({"file": path, **row} for row in one.rows)
            yield _Sequence(path, "file", path, steps, rows)
        else:
            yield _Sequence(path, column, one.name, steps, one.rows)


def read_steps(paths: Iterable[str], metadata: dict[str, Any]) -> Iterator[Steps]:
    """Reads the sequences of tables and NumPy files.

    Args:
        paths: Paths of the files.
        metadata: Metadata of the task.

    Yields:
        The steps of each sequence.

    Raises:
        InputError: If a file cannot be used.
    """
    for path in paths:
        for one in _read(path, metadata):
            yield one.steps


def _numbered(name: str, steps: int) -> Iterator[dict[str, Any]]:
    for step in range(steps):
        yield {"sequence": name, "step": step}


def _read_arrays(path: str, metadata: dict[str, Any]) -> Iterator[tuple[str, Steps]]:
    """Reads the sequence in an ``.npy`` file, or the sequences in an ``.npz`` file."""
    reader = InputReader(metadata)
    if Path(path).suffix == ".npy":
        yield path, reader.arrays(map_array(Path(path), _REMEDY), None, path)
        return
    # Features have numbered names if there are several; see NumpyArrays.
    name = reader.numbers[0].removesuffix("_0") if reader.numbers else ""
    found = read_arrays(Path(path), [name, reader.time, "lengths"], _REMEDY)
    if name not in found:
        others = ", ".join(array_names(Path(path))) or "none"
        raise InputError(
            f"{path}: expected an array {name!r}, got {others}; rename the array of the features"
        )
    features, times, lengths = found[name], found.get(reader.time), found.get("lengths")
    if lengths is None:
        yield path, reader.arrays(features, times, path)
        return
    is_padded = features.ndim > 1 and len(features) == len(lengths) != lengths.sum()
    start = 0
    for i, length in enumerate(lengths.tolist()):
        rows: Any = (i, slice(length)) if is_padded else slice(start, start + length)
        where = f"{path}, sequence {i}"
        yield (
            f"{path}:{i}",
            reader.arrays(features[rows], None if times is None else times[rows], where),
        )
        start += length
