"""The commands ``predict`` and ``generate`` of a task: options, input and output."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.faults import Faults
from srulight.runtime.files import lines, well_formed
from srulight.runtime.progress import progress
from srulight.runtime.records import is_table, table_rows, text_cell

if TYPE_CHECKING:
    from srulight.tasks.base import Task

_T = TypeVar("_T")
_R = TypeVar("_R")


class Predictor(ABC):
    """Implements the command ``predict`` for a task.

    A task names its subclass in ``Task.predictor``. The arguments of the subclass are the options
    of the command, and its docstring is their help.

    Attributes:
        inputs: Help text of the option ``--input``.
    """

    inputs: ClassVar[str]

    @abstractmethod
    def answers(self, task: Any, inputs: list[str]) -> Iterator[str]:  # noqa: ANN401
        """Reads the inputs and predicts from them.

        Args:
            task: The task of the checkpoint.
            inputs: Values of ``--input``; a single ``-`` stands for standard input.

        Yields:
            Text to write, including line ends.

        Raises:
            InputError: If an input or an option cannot be used.
        """

    def run(self, task: Any, inputs: list[str], output: str) -> None:  # noqa: ANN401
        """Writes the predictions to a file or to standard output.

        Args:
            task: The task of the checkpoint.
            inputs: Values of ``--input``.
            output: File to write; ``-`` for standard output.
        """
        write(self.answers(task, inputs), output)


class LinePredictor(Predictor):
    """Writes one line per input: the fields of the prediction and the input, separated by tabs.

    Args:
        batch_size: Number of lines per batch.
    """

    inputs = """text file in UTF-8 with one input per line, - for standard input, or a table (.tsv,
.csv, .jsonl, .parquet, or a folder that datasets has saved) with the column that training read"""

    def __init__(self, batch_size: int = 64) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size

    def answers(self, task: "Task", inputs: list[str]) -> Iterator[str]:
        texts = read_lines(task, inputs)
        for piece in pieces(texts, self.batch_size * 16, "predicting"):
            for text, answer in zip(piece, task.predict(piece, self.batch_size), strict=True):
                # A cell of a table may contain several lines.
                line = text.replace("\r\n", " ").replace("\n", " ")
                yield "\t".join([*map(_shown, answer), line]) + "\n"


class Generator(ABC):
    """Implements the command ``generate`` for a task that generates text.

    A task names its subclass in ``Task.generator``. The arguments of the subclass are the options
    of the command.
    """

    @abstractmethod
    def run(self, task: Any) -> None:  # noqa: ANN401
        """Writes generated text to standard output.

        Args:
            task: The task of the checkpoint.
        """


def one_input(inputs: list[str], what: str) -> str:
    """Returns the only input.

    Args:
        inputs: Values of ``--input``.
        what: Description of the expected input, for the error.

    Raises:
        InputError: If there is not exactly one.
    """
    if len(inputs) != 1:
        raise InputError(f"--input: expected one {what}, got {len(inputs)}")
    return inputs[0]


def read_lines(task: "Task", inputs: list[str]) -> list[str]:
    """Reads the texts of the only input: its lines, or one column if it is a table.

    Args:
        task: The task of the checkpoint, which knows the name of the column.
        inputs: Values of ``--input``.

    Raises:
        InputError: If the file cannot be read, or the column is missing.
    """
    path = one_input(inputs, "text file or table")
    if not is_table(path):
        return [line for _, line in lines(path)]
    return read_table(path, text_column(task))[1]


def text_column(task: "Task") -> str:
    """Returns the name of the column that training read, or "text" if it read no table."""
    return task.check_trained().get("column") or "text"


def read_table(path: str, column: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Reads a table, and the texts in one of its columns.

    Args:
        path: Path of the table.
        column: Name of the column with the texts.

    Returns:
        The rows, as values by the names of their columns, and the text of each.

    Raises:
        InputError: If the table cannot be read, or the column is missing.
    """
    remedy = "rename the column, or pass a .txt file with one text per line"
    faults = Faults()
    rows, texts = [], []
    for number, row in table_rows(path, "", faults):
        try:
            texts.append(text_cell(row, column, f"{path}:{number}", remedy))
            rows.append(row)
        except InputError as error:
            if not rows and column not in row:  # then it is missing in all rows
                raise
            faults.add(error)
    faults.refuse()
    return rows, texts


def pieces(items: Sequence[_T], size: int, doing: str) -> Iterator[Sequence[_T]]:
    """Divides a long input into pieces, and shows a progress bar on standard error.

    Args:
        items: The whole input.
        size: Number of items per piece. A piece of several batches lets the caller batch items of
            similar length.
        doing: Label of the progress bar.
    """
    starts = range(0, len(items), size)
    for start in progress(starts, doing, len(starts)):
        yield items[start : start + size]


def by_length(
    items: Sequence[_T],
    length: Callable[[_T], int],
    batch_size: int,
    answer: Callable[[list[_T]], Iterable[_R]],
) -> list[_R]:
    """Predicts in batches of similar length, which need less padding.

    Args:
        items: Inputs to predict from.
        length: Returns the length of an input in steps.
        batch_size: Number of inputs per batch.
        answer: Predicts from a batch, in order.

    Returns:
        One prediction per input, in the order of ``items``.
    """
    order = sorted(range(len(items)), key=lambda i: length(items[i]))
    found: dict[int, _R] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found.update(zip(chosen, answer([items[i] for i in chosen]), strict=True))
    return [found[i] for i in range(len(items))]


def write(texts: Iterable[str], output: str) -> None:
    """Writes text as it is produced; a file appears only when it is complete.

    Args:
        texts: Pieces of text.
        output: File to write; ``-`` for standard output.
    """
    # The name of an input file may contain bytes that are not valid UTF-8.
    texts = map(well_formed, texts)
    if output == "-":
        for text in texts:
            sys.stdout.write(text)
        return
    with written(Path(output)) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(texts)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
