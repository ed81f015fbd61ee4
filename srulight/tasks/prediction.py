"""How a task answers on the command line: its options, what it reads, what it writes."""

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
from srulight.runtime.records import TABLES, table_rows, text_cell

if TYPE_CHECKING:
    from srulight.tasks.base import Task

_T = TypeVar("_T")
_R = TypeVar("_R")


class Predictor(ABC):
    """What ``predict`` does with the checkpoint of a task.

    A task names its subclass in ``Task.predictor``. The arguments of the subclass are the options
    of the command, and its docstring is their help.

    Attributes:
        inputs: What ``--input`` takes, for the help.
    """

    inputs: ClassVar[str]

    @abstractmethod
    def answers(self, task: Any, inputs: list[str]) -> Iterator[str]:  # noqa: ANN401
        """Reads the inputs and answers them.

        Args:
            task: The task of the checkpoint.
            inputs: What follows ``--input``; one ``-`` stands for standard input.

        Yields:
            Text to write, line ends included.

        Raises:
            InputError: If an input or an option cannot be used.
        """

    def run(self, task: Any, inputs: list[str], output: str) -> None:  # noqa: ANN401
        """Writes the answers.

        Args:
            task: The task of the checkpoint.
            inputs: What follows ``--input``.
            output: File to write; ``-`` for standard output.
        """
        write(self.answers(task, inputs), output)


class LinePredictor(Predictor):
    """Writes the fields of each line's answer, tabs between them, and the line behind.

    Args:
        batch_size: Lines at a time.
    """

    inputs = """file of lines, UTF-8; - for standard input; or a table (.tsv, .csv, .jsonl), of
which the column is read that training read"""

    def __init__(self, batch_size: int = 64) -> None:
        check_range(1, batch_size=batch_size)
        self.batch_size = batch_size

    def answers(self, task: "Task", inputs: list[str]) -> Iterator[str]:
        texts = read_lines(task, inputs)
        for piece in pieces(texts, self.batch_size * 16, "predicting"):
            for text, answer in zip(piece, task.predict(piece, self.batch_size), strict=True):
                # In a table a text may have several lines.
                line = text.replace("\r\n", " ").replace("\n", " ")
                yield "\t".join([*map(_shown, answer), line]) + "\n"


class Generator(ABC):
    """What ``generate`` does with the checkpoint of a task that writes text of its own accord.

    A task names its subclass in ``Task.generator``; the arguments are the options of the command.
    """

    @abstractmethod
    def run(self, task: Any) -> None:  # noqa: ANN401
        """Writes to standard output.

        Args:
            task: The task of the checkpoint.
        """


def one_input(inputs: list[str], what: str) -> str:
    """Gives the only input.

    Args:
        inputs: What follows ``--input``.
        what: What it should be, for the error.

    Raises:
        InputError: If there are several.
    """
    if len(inputs) != 1:
        raise InputError(f"expected one {what}, got {len(inputs)}")
    return inputs[0]


def read_lines(task: "Task", inputs: list[str]) -> list[str]:
    """Reads the lines of the one input; of a table what is in the column that training read.

    Args:
        task: The task of the checkpoint, which knows the column.
        inputs: What follows ``--input``.

    Raises:
        InputError: If the file cannot be read, or has no such column.
    """
    path = one_input(inputs, "file of lines")
    if Path(path).suffix not in TABLES:
        return [line for _, line in lines(path)]
    column = task.check_trained().get("column") or "text"
    remedy = "name it so, or give the lines alone in a file of another name, such as .txt"
    faults = Faults()
    texts = [
        text_cell(row, column, f"{path}:{number}", remedy)
        for number, row in table_rows(path, "", faults)
    ]
    faults.refuse()
    return texts


def pieces(items: Sequence[_T], size: int, doing: str) -> Iterator[Sequence[_T]]:
    """Cuts a long input into pieces, and shows on standard error how far it is.

    Args:
        items: The whole input.
        size: Items in a piece; several batches, so that they can be sorted by length.
        doing: What is done meanwhile, for the progress bar.
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
    """Answers items in batches of similar length, which need less padding.

    Args:
        items: What to answer.
        length: Length of an item, in steps.
        batch_size: Items in a batch.
        answer: Answers a batch, in order.

    Returns:
        An answer for each item, in the order of ``items``.
    """
    order = sorted(range(len(items)), key=lambda i: length(items[i]))
    found: dict[int, _R] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        found.update(zip(chosen, answer([items[i] for i in chosen]), strict=True))
    return [found[i] for i in range(len(items))]


def write(texts: Iterable[str], output: str) -> None:
    """Writes text as it comes; a file appears once it is whole.

    Args:
        texts: Pieces of text.
        output: File to write; ``-`` for standard output.
    """
    # A file's name may have what no text has.
    texts = map(well_formed, texts)
    if output == "-":
        for text in texts:
            sys.stdout.write(text)
        return
    with written(Path(output)) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(texts)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
