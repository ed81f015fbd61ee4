"""The interface of corpora of sequences of numbers."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srulight.data.base import Corpus
from srulight.targets import Kind

Per = Literal["sequence", "step"]
"""Whether each sequence has a target, or each of its steps."""


@dataclass(frozen=True)
class Part:
    """The sequences of one part of a corpus, such as the training data, one after the other.

    R is the number of steps (rows) of all N sequences together.

    Attributes:
        names: Name of each sequence, N.
        lengths: Number of steps of each sequence, (N,) int64, at least 1.
        numbers: Numeric features of each step, (R, F) float32 or float64; NaN where missing, never
            infinite. May be mapped from a file.
        categories: Categorical features of each step, (R, C) of object (strings); the empty string
            where missing.
        times: Time of each step in seconds, or in any other unit, (R,) float64, increasing within
            each sequence; None if the steps have no times.
        targets: Targets of the sequences, (N, ...), or of the steps, (R, ...): classes, int64, -100
            where missing; or labels and numbers, (..., K) float32, NaN where missing.
        place: Returns the place of a row for messages, such as ``train.csv:17``.
    """

    names: Sequence[str]
    lengths: NDArray[np.int64]
    numbers: NDArray[Any]
    categories: NDArray[Any]
    times: NDArray[np.float64] | None
    targets: NDArray[Any]
    place: Callable[[int], str]


@dataclass(frozen=True)
class Sequences:
    """The contents of a corpus.

    Attributes:
        train: Training sequences.
        val: Validation sequences.
        test: Test sequences; None if the corpus has none.
        numbers: Names of the numeric features, F.
        categories: Names of the categorical features, C.
        targets: Names of the classes, labels or numbers.
        sequence_column: Name of the column that names the sequences in a table; None if the corpus
            is not a table with such a column.
        time_column: Name of the column with the times; None if there are no times.
        target_columns: Names of the target columns of a table; empty if the corpus is not a table.
        notes: Lines about the corpus, to log before training.
    """

    train: Part
    val: Part
    test: Part | None
    numbers: Sequence[str]
    categories: Sequence[str]
    targets: Sequence[str]
    sequence_column: str | None = None
    time_column: str | None = None
    target_columns: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name: "train", "val" and "test"."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


class SequenceCorpus(Corpus[Sequences]):
    """A corpus of sequences of numbers, which ``read`` returns as ``Sequences``.

    Attributes:
        kind: Kind of the targets.
        per: Whether each sequence has a target, or each of its steps.
    """

    kind: Kind = "class"
    per: Per = "sequence"

    @abstractmethod
    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        """Returns everything that determines what ``read`` returns, as plain data.

        It identifies the corpus in the cache: the settings of the corpus, and checksums of its
        files (``file_checksum``). None means that reading is fast, so that nothing is cached.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing.
        """
