"""The predict command of sequence prediction: of tables, NumPy files, or a live stream."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.faults import Faults
from srulight.runtime.files import well_formed
from srulight.runtime.progress import progress
from srulight.runtime.records import TABLES, table_rows
from srulight.tasks.prediction import Predictor, one_input
from srulight.tasks.sequence_prediction.corpora.numpy_files import (
    array_names,
    map_array,
    read_arrays,
)
from srulight.tasks.sequence_prediction.corpora.tables import read_sequences
from srulight.tasks.sequence_prediction.inputs import InputReader, Steps
from srulight.tasks.sequence_prediction.streaming import SequenceStream

if TYPE_CHECKING:
    from srulight.tasks.sequence_prediction.task import SequencePrediction

Format = Literal["csv", "tsv", "jsonl"]
_ARRAYS = (".npy", ".npz")
_REMEDY = "correct the name of the file"
_AT_ONCE = 1 << 20  # Number of steps that are read before the model predicts.


def table_writer(
    format: Format, columns: Sequence[str]
) -> tuple[str, Callable[[Mapping[str, Any]], str]]:
    """Returns the header of a table, and a function that formats a row.

    Args:
        format: Format of the table.
        columns: Names of the columns. JSON lines contain all values of a row.
    """
    if format == "jsonl":
        return "", lambda row: json.dumps(row, ensure_ascii=False, default=str) + "\n"
    if format == "tsv":

        def line(cells: Iterable[Any]) -> str:
            # A .tsv file has no escapes.
            return "\t".join(" ".join(_text(cell).split()) for cell in cells) + "\n"
    else:

        def line(cells: Iterable[Any]) -> str:
            file = io.StringIO()
            csv.writer(file, lineterminator="\n").writerow(map(_text, cells))
            return file.getvalue()

    return line(columns), lambda row: line(row[name] for name in columns)


def _text(cell: Any) -> str:  # noqa: ANN401
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return "" if cell is None else str(cell)


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
        format: Format of the output, and of a stream on standard input: "csv" or "tsv", with names
            of columns in the first line, or "jsonl", with a JSON object per line.
        probabilities: Whether to write the probability of each class or label.
        stream: Whether to answer line by line, for recurrent encoders that are not bidirectional.
            If the model gives an answer per sequence, the answer in each line is that of the
            sequence so far.
    """

    inputs = (
        "tables (.csv, .tsv, .jsonl, .parquet), or NumPy files (.npy, .npz); with "
        " --stream=true, one table, or - for standard input"
    )

    def __init__(
        self,
        batch_size: int = 64,
        format: Format = "csv",
        probabilities: bool = False,
        stream: bool = False,
    ) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.format: Format = format
        self.probabilities = probabilities
        self.stream = stream

    def run(self, task: "SequencePrediction", inputs: list[str], output: str) -> None:
        if not self.stream:
            super().run(task, inputs, output)
            return
        if output != "-":
            raise InputError("--stream=true writes to standard output; remove --output")
        stream = task.stream()
        for text in self._stream(task, stream, one_input(inputs, "table")):
            sys.stdout.write(well_formed(text))
            sys.stdout.flush()

    def answers(self, task: "SequencePrediction", inputs: list[str]) -> Iterator[str]:
        if inputs == ["-"]:
            raise InputError(
                "expected tables or NumPy files; pass --input with files, or --stream=true to read "
                "a table from standard input"
            )
        metadata = task.check_trained()
        table = _Answers(task, self.format, self.probabilities)
        sequences = (one for path in inputs for one in _read(path, metadata))
        for several in _groups(progress(sequences, "predicting", None), self.batch_size):
            steps = [one.steps for one in several]
            for one, answer in zip(
                several, task.predict_steps(steps, self.batch_size), strict=True
            ):
                if not task.per_step:
                    yield table.line({one.column: one.name}, answer, one.name)
                    continue
                for i, (row, own) in enumerate(zip(one.rows, answer, strict=True)):
                    yield table.line(row, own, one.steps.place(i))

    def _stream(
        self, task: "SequencePrediction", stream: SequenceStream, source: str
    ) -> Iterator[str]:
        table = _Answers(task, self.format, self.probabilities)
        column = task.check_trained()["sequence_column"]
        suffix = Path(source).suffix
        ending = suffix if suffix in TABLES else f".{self.format}"
        where = "standard input" if source == "-" else source
        name = None
        for number, row in table_rows(source, "", Faults(collects=False), ending):
            place = f"{where}:{number}"
            steps = stream.columns.row(row, place)
            if row.get(column) != name:
                name = row.get(column)
                stream.reset()
            (answer,) = stream.advance(steps)
            yield table.line(row, answer, place)


class _Answers:
    """Formats rows with answers; the first one determines the columns.

    Args:
        task: The task, which knows the columns of the answers.
        format: Format of the table.
        probabilities: Whether to write the probability of each class or label.
    """

    def __init__(self, task: "SequencePrediction", format: Format, probabilities: bool) -> None:
        self._target = task.target
        self._format: Format = format
        self._probabilities = probabilities
        self._added = self._target.columns(probabilities)
        # Probabilities have the precision of the network, numbers have units of their own.
        self._digits = 12 if self._target.kind == "numbers" else 6
        self._columns: list[str] | None = None
        self._format_row: Callable[[Mapping[str, Any]], str]

    def line(self, row: dict[str, Any], answer: Any, place: str) -> str:  # noqa: ANN401
        """Returns the text of a row; the first text begins with the header.

        Args:
            row: Cells by the names of their columns.
            answer: The answer.
            place: Place of the row, for error messages.

        Raises:
            InputError: If a column has the name of an answer, or the rows differ in their columns.
        """
        header = ""
        if self._columns is None:
            self._columns = list(row)
            header, self._format_row = table_writer(self._format, [*row, *self._added])
        if row.keys() & {*self._added}:
            taken = next(name for name in self._added if name in row)
            raise InputError(
                f"{place}: the column {taken!r} has the name of a column of answers; rename or "
                "remove it"
            )
        if self._format != "jsonl" and row.keys() != {*self._columns}:
            raise InputError(
                f"{place}: expected the columns of the first row, {', '.join(self._columns)}, got "
                f"{', '.join(row)}; use the same columns in all rows, or pass --format=jsonl"
            )
        cells = self._target.cells(answer, self._probabilities)
        shown = [c if isinstance(c, str) else float(f"{c:.{self._digits}g}") for c in cells]
        return header + self._format_row({**row, **dict(zip(self._added, shown, strict=True))})


class _Sequence(NamedTuple):
    """A sequence to predict from.

    Attributes:
        column: Name of the column that names the sequences in the output.
        name: Name of the sequence.
        steps: The steps, T.
        rows: The rows of the input, T.
    """

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
            yield _Sequence("sequence", name, steps, _numbered(name, len(steps)))
        return
    column = metadata["sequence_column"]
    for one in read_sequences(path, metadata):
        steps = Steps(one.numbers, one.categories, one.times, lambda _: path)
        if column is None:
            rows = ({"file": path, **row} for row in one.rows)
            yield _Sequence("file", path, steps, rows)
        else:
            yield _Sequence(column, one.name, steps, one.rows)


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
