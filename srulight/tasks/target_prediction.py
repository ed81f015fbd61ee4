"""The command ``predict`` of tasks that predict a target for each text of a file or table."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import lines
from srulight.runtime.records import is_table
from srulight.runtime.table_writing import (
    TableFormat,
    columns_of,
    format_of,
    table_writer,
    write_parquet,
)
from srulight.targets import Target
from srulight.tasks.prediction import Predictor, one_input, pieces, read_table, text_column, write

if TYPE_CHECKING:
    from srulight.tasks.target_task import TargetTask


class TargetPredictor(Predictor):
    """Writes the prediction for each line of a text file, or for each row of a table.

    For a text file, each line of the output has the prediction, its probability if it is a class,
    and the text, separated by tabs. For a table, the output is a table with all columns of the
    input, followed by those of the prediction.

    Args:
        batch_size: Number of texts per batch.
        probabilities: Whether to write the probability of every class or label, too.
        format: Format of the table to write; if None, that of --output by its file extension, or
            else that of the input. With a format, the output is a table for a text file, too.
    """

    inputs = """text file in UTF-8 with one input per line, - for standard input, or a table (.tsv,
.csv, .jsonl, .parquet, or a folder that datasets has saved) with the column that training read"""

    def __init__(
        self,
        batch_size: int = 64,
        probabilities: bool = False,
        format: TableFormat | None = None,
    ) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.probabilities = probabilities
        self.format = format

    def run(self, task: Any, inputs: list[str], output: str) -> None:  # noqa: ANN401
        path = one_input(inputs, "text file or table")
        if not is_table(path) and self.format is None:
            write(self.answers(task, inputs), output)
            return
        form = table_format(self.format, path, output)
        rows = list(self._rows(task, path, form))
        if form == "parquet":
            write_parquet(rows, Path(output))
        else:
            header, line = table_writer(form, columns_of(rows))
            write(chain([header], map(line, rows)), output)

    def answers(self, task: "TargetTask", inputs: list[str]) -> Iterator[str]:
        texts = [line for _, line in lines(one_input(inputs, "text file"))]
        for text, answer in self._predicted(task, texts):
            cells = answer_cells(task.target, answer, self.probabilities, "tsv")
            yield "\t".join([*cells.values(), text]) + "\n"

    def _rows(self, task: "TargetTask", path: str, form: TableFormat) -> Iterator[dict[str, Any]]:
        column = text_column(task)
        if is_table(path):
            rows, texts = read_table(path, column)
        else:
            texts = [line for _, line in lines(path)]
            rows = [{column: text} for text in texts]
        check_columns(task.target, self.probabilities, rows, path)
        answers = (answer for _, answer in self._predicted(task, texts))
        for row, answer in zip(rows, answers, strict=True):
            yield row | answer_cells(task.target, answer, self.probabilities, form)

    def _predicted(self, task: "TargetTask", texts: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for piece in pieces(texts, self.batch_size * 16, "predicting"):
            yield from zip(piece, task.predict(piece, self.batch_size), strict=True)


def table_format(chosen: TableFormat | None, path: str, output: str) -> TableFormat:
    """Returns the format of the table that ``predict`` writes.

    Args:
        chosen: Value of ``--format``.
        path: Path of the input.
        output: File to write; ``-`` for standard output.

    Raises:
        InputError: If Parquet is chosen for standard output.
    """
    form = chosen or format_of(output) or format_of(path) or "jsonl"
    if form != "parquet" or output != "-":
        return form
    if chosen is None:
        return "jsonl"  # a terminal cannot show Parquet
    raise InputError("--format=parquet needs a file to write; pass --output=FILE")


def check_columns(
    target: Target, probabilities: bool, rows: Sequence[dict[str, Any]], path: str
) -> None:
    """Checks that the columns of a table and those of the predictions have different names.

    Args:
        target: Target that is predicted.
        probabilities: Whether the probability of every class or label is written.
        rows: Rows of the table.
        path: Path of the table, for the error message.

    Raises:
        InputError: If a name is taken.
    """
    taken = {name for row in rows for name in row}
    for name in target.columns(probabilities):
        if name in taken:
            raise InputError(
                f"{path}: expected no column {name!r}, which predict adds, got one; rename it"
            )


def answer_cells(
    target: Target,
    answer: Any,  # noqa: ANN401
    probabilities: bool,
    form: TableFormat,
) -> dict[str, Any]:
    """Returns the columns that a prediction adds to a row.

    Args:
        target: Target that is predicted.
        answer: Answer of the target.
        probabilities: Whether to add the probability of every class or label.
        form: Format of the table. Numbers become text in "csv" and "tsv"; in other formats, they
            are rounded as in this text.
    """
    cells: dict[str, Any] = {}
    names, values = target.columns(probabilities), target.cells(answer, probabilities)
    for name, value in zip(names, values, strict=True):
        cells[name] = value if isinstance(value, str) else format(value, target.number_format)
        if isinstance(value, float) and form not in ("csv", "tsv"):
            cells[name] = float(cells[name])
    return cells
