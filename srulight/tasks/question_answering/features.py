"""Texts and questions as numbers: words, features and windows, for training and prediction."""

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

"""Special tokens of the vocabulary."""


@dataclass(frozen=True)
class Windows:
    """How a long text is read: in windows that overlap.

    Args:
        size: Most words of a text that are read at once, at least 1.
        overlap: Words that a window has in common with the next, 0 to below ``size``.
    """

    size: int = 400
    overlap: int = 100

    def __post_init__(self) -> None:
        check_range(1, **{"windows.size": self.size})
        check_range(0, self.size - 1, **{"windows.overlap": self.overlap})

    def split(self, words: int) -> list[range]:
        """Gives the words of each window of a text.

        Args:
            words: Words of the text.
        """
        starts = range(0, max(words - self.overlap, 1), self.size - self.overlap)
        return [range(start, min(start + self.size, words)) for start in starts]


class QuestionExample(NamedTuple):
    """A question about a text.

    Attributes:
        context: Number of the text in the table.
        question: Number of the question in the table.
        answer: First and last word of the answer in the text; None if the text does not have it.
    """

    context: int
    question: int
    answer: tuple[int, int] | None


class FeaturizerSettings(NamedTuple):
    """How texts become numbers; what a checkpoint knows of its data.

    Attributes:
        tokenizer: Splits texts, and has the vocabulary.
        annotator: Name or folder of the spaCy pipeline that gives lemmas and tags; None without.
        tag_names: Tags that are told apart, of each kind.
        windows: How long texts are read.
        no_answer: Whether a text may not have the answer.
    """

    tokenizer: Words
    annotator: str | None
    tag_names: list[list[str]]
    windows: Windows
    no_answer: bool

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "FeaturizerSettings":
        """Makes them of a data module's ``metadata``, maybe that of a checkpoint.

        Raises:
            InputError: If something is out of range, or the tokenizer is not of this kind.
        """
        tokenizer = from_settings(metadata["tokenizer"], PAD_UNKNOWN)
        if not isinstance(tokenizer, Words):
            raise InputError(f"tokenizer.kind must be Words, got {type(tokenizer).__name__}")
        windows = Windows(metadata["windows"]["size"], metadata["windows"]["overlap"])
        given = {name: metadata[name] for name in ("annotator", "tag_names", "no_answer")}
        return cls(tokenizer=tokenizer, windows=windows, **given)

    @property
    def metadata(self) -> dict[str, Any]:
        """Plain data that ``from_metadata`` makes the same from."""
        plain = {"tokenizer": self.tokenizer.settings, "windows": asdict(self.windows)}
        return {**self._asdict(), **plain}

    @property
    def tag_start(self) -> int:
        """Features of a word before its tags: exact matches, frequency, and match of lemmas."""
        return 3 + (self.annotator is not None)

    @property
    def feature_size(self) -> int:
        """Features of a word: those before its tags, and one for each tag."""
        return self.tag_start + sum(map(len, self.tag_names))


class _Row(NamedTuple):
    """A window of a text, as a row of a batch."""

    document: Tensor  # word indices, (T,)
    features: Tensor  # (T, A)
    question: Tensor  # word indices, (Q,)
    question_index: int
    offset: int
    answer: tuple[int, int] | None  # first and last word, in the window


class QuestionFeaturizer:
    """Makes batches of questions.

    The features of a word are those of Chen et al. (2017), arXiv 1704.00051, section 3.2: whether
    the question has it as it is, in lower case, and as a lemma; its tags; and how frequent it is in
    the whole text.

    Args:
        table: Words of texts and questions.
        settings: How they become numbers.
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
        # Column of each tag among the features; those that training did not see have none.
        self._columns = []
        column = settings.tag_start
        for names, learned in zip(table.tag_names, settings.tag_names, strict=True):
            place = {name: column + i for i, name in enumerate(learned)}
            self._columns.append(torch.tensor([place.get(name, -1) for name in names] or [-1]))
            column += len(learned)

    def windows(self, example: QuestionExample, training: bool = False) -> list[range]:
        """Gives the words of each window of an example's text.

        Args:
            example: A question about a text.
            training: Whether to leave out windows with nothing to learn: those without the answer,
                unless a text may not have one.
        """
        here = self.table.place(example.context)
        windows = self.settings.windows.split(here.stop - here.start)
        if not training or self.settings.no_answer:
            return windows
        return [window for window in windows if _inside(example.answer, window)]

    def features(self, example: QuestionExample) -> Tensor:
        """Gives the features of all words of an example's text, (T, A) float32."""
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
        """Looks up the words of a text; a text without words is an unknown one."""
        words = self._ids[self.table.words[self.table.place(text)]]
        return words if len(words) else torch.tensor([UNKNOWN_ID])

    def _rows(self, example: QuestionExample, index: int, training: bool) -> Iterator[_Row]:
        """Gives the windows of the example that is ``index`` in its batch."""
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
        """Makes a batch.

        Args:
            examples: The questions. Without any it is an unknown word asked about an unknown word,
                with nothing to learn.
            contexts: Their texts and reference answers, where answers are to be found.
            training: Whether to leave out windows with nothing to learn.
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
        # What says that there is no answer stands behind the last word.
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
    """Finds the first and the last word that overlap with a part of a text.

    Args:
        start: Where the part begins, in characters.
        end: Where it ends; it must have more than white space.
        starts: Where each word begins, (T,), rising.
        ends: Where each word ends, (T,), rising.
    """
    first = int(torch.searchsorted(ends, start, right=True))
    return first, int(torch.searchsorted(starts, end)) - 1
