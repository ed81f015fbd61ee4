"""Converts texts and questions to word ids, features and windows."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.question_answering.batch import QuestionBatch, QuestionContext
from srulight.tasks.question_answering.token_table import TokenTable
from srulight.text.tokenizers import PAD_UNKNOWN, UNKNOWN_ID, Words, from_settings


@dataclass(frozen=True)
class Windows:
    """Size and overlap of the windows in which long texts are read.

    Args:
        size: Maximum number of words in a window, at least 1.
        overlap: Number of words that adjacent windows share, at least 0 and below ``size``.
    """

    size: int = 400
    overlap: int = 100

    def __post_init__(self) -> None:
        check_range(1, **{"windows.size": self.size})
        check_range(0, self.size - 1, **{"windows.overlap": self.overlap})

    def split(self, words: int) -> list[range]:
        """Computes the windows of a text.

        Args:
            words: Number of words of the text.

        Returns:
            The word positions of each window.
        """
        starts = range(0, max(words - self.overlap, 1), self.size - self.overlap)
        return [range(start, min(start + self.size, words)) for start in starts]


class QuestionExample(NamedTuple):
    """A question about a text.

    Attributes:
        context: Index of the text in the table.
        question: Index of the question in the table.
        answer: First and last word of the answer in the text; None if the text does not contain it.
    """

    context: int
    question: int
    answer: tuple[int, int] | None


class FeaturizerSettings(NamedTuple):
    """Settings of the featurizer, which a checkpoint stores.

    Attributes:
        tokenizer: Tokenizer with its vocabulary.
        annotator: Name or folder of the spaCy pipeline that adds lemmas and tags, or None.
        tag_names: Known tags of each kind.
        windows: Size and overlap of the windows.
        no_answer: Whether questions without an answer occur.
    """

    tokenizer: Words
    annotator: str | None
    tag_names: list[list[str]]
    windows: Windows
    no_answer: bool

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "FeaturizerSettings":
        """Builds settings from the metadata of a data module or a checkpoint.

        Args:
            metadata: Value of ``metadata`` of such settings.

        Raises:
            InputError: If a number is out of range, or the tokenizer is not ``Words``.
        """
        tokenizer = from_settings(metadata["tokenizer"], PAD_UNKNOWN)
        if not isinstance(tokenizer, Words):
            raise InputError(f"tokenizer.kind must be Words, got {type(tokenizer).__name__}")
        windows = Windows(metadata["windows"]["size"], metadata["windows"]["overlap"])
        given = {name: metadata[name] for name in ("annotator", "tag_names", "no_answer")}
        return cls(tokenizer=tokenizer, windows=windows, **given)

    @property
    def metadata(self) -> dict[str, Any]:
        """The settings as plain data, for ``from_metadata``."""
        plain = {"tokenizer": self.tokenizer.settings, "windows": asdict(self.windows)}
        return {**self._asdict(), **plain}

    @property
    def tag_start(self) -> int:
        """Number of features before the tags: exact matches, frequency and lemma match."""
        return 3 + (self.annotator is not None)

    @property
    def feature_size(self) -> int:
        """Number of features of a word, including one for each tag."""
        return self.tag_start + sum(map(len, self.tag_names))


class _Row(NamedTuple):
    """A window of a text, which becomes a row of a batch."""

    document: Tensor  # word ids, (T,)
    features: Tensor  # (T, A)
    question: Tensor  # word ids, (Q,)
    question_index: int
    offset: int
    answer: tuple[int, int] | None  # first and last word, relative to the window


class QuestionFeaturizer:
    """Computes batches of questions.

    The features of a word are those of Chen et al. (2017), arXiv 1704.00051, section 3.2: whether
    the question contains it as it is, in lower case, and as a lemma; its frequency in the whole
    text; and its tags.

    Args:
        table: Words of the texts and questions.
        settings: Settings of the features and windows.
    """

    def __init__(self, table: TokenTable, settings: FeaturizerSettings) -> None:
        self.table = table
        self.settings = settings
        tokenizer = settings.tokenizer
        lower = [form.lower() for form in table.forms]
        self._ids = torch.tensor(tokenizer.encode(lower if tokenizer.lowercase else table.forms))
        number: dict[str, int] = {}
        same = [number.setdefault(form, len(number)) for form in lower]
        self._lower = torch.tensor(same, dtype=torch.int32)
        # Feature column of each tag; -1 for tags that do not occur in the training data.
        self._columns = []
        column = settings.tag_start
        for names, learned in zip(table.tag_names, settings.tag_names, strict=True):
            place = {name: column + i for i, name in enumerate(learned)}
            self._columns.append(torch.tensor([place.get(name, -1) for name in names] or [-1]))
            column += len(learned)

    def windows(self, example: QuestionExample, training: bool = False) -> list[range]:
        """Computes the windows of the text of an example.

        Args:
            example: A question about a text.
            training: Whether to skip windows that do not contain the answer. They are kept if
                questions without an answer occur.

        Returns:
            The word positions of each window.
        """
        here = self.table.place(example.context)
        windows = self.settings.windows.split(here.stop - here.start)
        if not training or self.settings.no_answer:
            return windows
        return [window for window in windows if _inside(example.answer, window)]

    def features(self, example: QuestionExample) -> Tensor:
        """Computes the features of all words of the text of an example, (T, A) float32."""
        here, there = self.table.place(example.context), self.table.place(example.question)
        words, question = self.table.words[here], self.table.words[there]
        lower = self._lower[words]
        features = torch.zeros(len(words), self.settings.feature_size)
        features[:, 0] = torch.isin(words, question)
        features[:, 1] = torch.isin(lower, self._lower[question])
        _, places, counts = lower.unique(return_inverse=True, return_counts=True)
        features[:, 2] = counts[places] / len(words)
        if self.settings.annotator is not None:
            features[:, 3] = torch.isin(self.table.lemmas[here], self.table.lemmas[there])
        for columns, tags in zip(self._columns, self.table.tags, strict=True):
            column = columns[tags[here]]
            rows = (column >= 0).nonzero().squeeze(1)
            features[rows, column[rows]] = 1
        return features

    def _words(self, text: int) -> Tensor:
        """Looks up the word ids of a text; a text without words becomes one unknown word."""
        words = self._ids[self.table.words[self.table.place(text)]]
        return words if len(words) else torch.tensor([UNKNOWN_ID])

    def _rows(self, example: QuestionExample, index: int, training: bool) -> Iterator[_Row]:
        """Yields the windows of the example at position ``index`` of its batch."""
        words, question = self._words(example.context), self._words(example.question)
        features = self.features(example)
        for window in self.windows(example, training):
            start, part = window.start, slice(window.start, window.stop)
            answer = None
            if example.answer is not None and _inside(example.answer, window):
                answer = (example.answer[0] - start, example.answer[1] - start)
            yield _Row(words[part], features[part], question, index, start, answer)

    def batch(
        self,
        examples: Sequence[QuestionExample],
        contexts: Sequence[QuestionContext] = (),
        training: bool = False,
    ) -> QuestionBatch:
        """Builds a batch.

        Args:
            examples: Questions. Without any, the batch has one placeholder row that the loss
                ignores.
            contexts: Texts and reference answers of the questions, for evaluation and prediction.
            training: Whether to skip windows that do not contain the answer, as in ``windows``.
        """
        rows = [
            row for i, example in enumerate(examples) for row in self._rows(example, i, training)
        ]
        may_lack = self.settings.no_answer and bool(rows)
        if not rows:
            unknown = torch.tensor([UNKNOWN_ID])
            features = torch.zeros(1, self.settings.feature_size)
            rows = [_Row(unknown, features, unknown, 0, 0, None)]
        lengths = torch.tensor([len(row.document) for row in rows])
        # The label for "no answer" is the position after the last word.
        none = int(lengths.max()) if may_lack else IGNORED
        labels = torch.tensor([row.answer or (none, none) for row in rows])
        return QuestionBatch(
            pad_sequence([row.document for row in rows], batch_first=True),
            lengths,
            pad_sequence([row.features for row in rows], batch_first=True),
            pad_sequence([row.question for row in rows], batch_first=True),
            torch.tensor([len(row.question) for row in rows]),
            torch.tensor([row.question_index for row in rows]),
            torch.tensor([row.offset for row in rows]),
            labels[:, 0],
            labels[:, 1],
            list(contexts),
            len(examples),
        )


def _inside(answer: tuple[int, int] | None, window: range) -> bool:
    return answer is not None and answer[0] in window and answer[1] in window


def answer_words(start: int, end: int, starts: Tensor, ends: Tensor) -> tuple[int, int]:
    """Finds the first and last word that overlap a part of a text.

    Args:
        start: Start of the part, in characters.
        end: End of the part, in characters. The part must contain a word.
        starts: Start of each word, in characters, (T,), increasing.
        ends: End of each word, in characters, (T,), increasing.

    Returns:
        Indices of the first and last word.
    """
    first = int(torch.searchsorted(ends, start, right=True))
    return first, int(torch.searchsorted(starts, end)) - 1
