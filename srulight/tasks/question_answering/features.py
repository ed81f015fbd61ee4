"""Texts and questions as numbers: words, features and windows, for training and answering alike."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED
from srulight.tasks.question_answering.annotation import Annotated
from srulight.tasks.question_answering.batch import AskedText, QuestionBatch
from srulight.text.vocabulary import UNKNOWN_INDEX, Vocabulary


class TokenTable(NamedTuple):
    """The words of many texts, one text behind the other; S words in all.

    Attributes:
        forms: Every distinct word and lemma.
        words: Form of each word, (S,) int32.
        lemmas: Form of the lemma of each word, (S,) int32; (0,) if they are not known.
        tags: Tag of each word, (K, S) int32, numbers as in ``tag_names``; K is 0 without tags.
        tag_names: Names of the tags of each of the K kinds.
        starts: Where each word begins in its text, in characters, (S,) int32.
        ends: Where each word ends, (S,) int32.
        bounds: Where each of the N texts begins, and the last ends, in words, (N + 1,) int64.
    """

    forms: list[str]
    words: Tensor
    lemmas: Tensor
    tags: Tensor
    tag_names: list[list[str]]
    starts: Tensor
    ends: Tensor
    bounds: Tensor

    def place(self, text: int) -> slice:
        """Gives where the words of a text are."""
        return slice(int(self.bounds[text]), int(self.bounds[text + 1]))


def token_table(texts: Iterable[Annotated]) -> TokenTable:
    """Puts the words of texts into a table."""
    forms: dict[str, int] = {}
    names: list[dict[str, int]] = []
    words: list[int] = []
    lemmas: list[int] = []
    tags: list[list[int]] = []
    starts: list[int] = []
    ends: list[int] = []
    bounds = [0]

    def number(known: dict[str, int], wanted: list[str]) -> list[int]:
        return [known.setdefault(one, len(known)) for one in wanted]

    for text in texts:
        words += number(forms, text.words)
        lemmas += number(forms, text.lemmas)
        if not names:
            names = [{} for _ in text.tags]
            tags = [[] for _ in text.tags]
        for known, column, given in zip(names, tags, text.tags, strict=True):
            column += number(known, given)
        starts += text.starts
        ends += text.ends
        bounds.append(len(words))
    return TokenTable(
        list(forms),
        torch.tensor(words, dtype=torch.int32),
        torch.tensor(lemmas, dtype=torch.int32),
        torch.tensor(tags, dtype=torch.int32).view(len(names), -1 if names else len(words)),
        [list(known) for known in names],
        torch.tensor(starts, dtype=torch.int32),
        torch.tensor(ends, dtype=torch.int32),
        torch.tensor(bounds),
    )


class QuestionExample(NamedTuple):
    """A question to be read.

    Attributes:
        context: Number of the text in the table.
        question: Number of the question in the table.
        answer: First and last word of the answer in the text; None if the text does not have it.
    """

    context: int
    question: int
    answer: tuple[int, int] | None


class FeaturizerSettings(NamedTuple):
    """How texts become numbers; part of what a checkpoint knows.

    Attributes:
        words: The vocabulary.
        lowercase: Whether its words are in lower case.
        tag_names: Tags that are told apart, of each kind.
        lemmas: Whether lemmas are compared.
        window: Most words of a window.
        overlap: Words that a window has in common with the next.
        no_answer: Whether a text may not have the answer.
    """

    words: list[str]
    lowercase: bool
    tag_names: list[list[str]]
    lemmas: bool
    window: int
    overlap: int
    no_answer: bool

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> "FeaturizerSettings":
        """Picks them out of a checkpoint's metadata."""
        return cls(**{name: metadata[name] for name in cls._fields})

    @property
    def feature_size(self) -> int:
        """Features of a word: exact matches, frequency, and one for each tag."""
        return 3 + self.lemmas + sum(map(len, self.tag_names))


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
        vocabulary = Vocabulary(settings.words)
        lower = [form.lower() for form in table.forms]
        known = vocabulary.encode(lower if settings.lowercase else table.forms)
        self._indices = torch.tensor(known)
        number: dict[str, int] = {}
        same = [number.setdefault(form, len(number)) for form in lower]
        self._lower = torch.tensor(same, dtype=torch.int32)
        # Column of each tag among the features; those that were never learnt have none.
        self._columns = []
        column = 3 + settings.lemmas
        for names, learnt in zip(table.tag_names, settings.tag_names, strict=True):
            place = {name: column + i for i, name in enumerate(learnt)}
            self._columns.append(torch.tensor([place.get(name, -1) for name in names] or [-1]))
            column += len(learnt)

    def windows(self, asked: QuestionExample) -> list[range]:
        """Gives the words of the text of a question that are read together."""
        words = len(range(*self.table.place(asked.context).indices(len(self.table.words))))
        window, step = self.settings.window, self.settings.window - self.settings.overlap
        starts = range(0, max(words - self.settings.overlap, 1), step)
        return [range(start, min(start + window, words)) for start in starts]

    def learnt(self, asked: QuestionExample) -> list[range]:
        """Gives the windows that there is something to learn from."""
        windows = self.windows(asked)
        if self.settings.no_answer:
            return windows
        return [window for window in windows if _within(asked.answer, window)]

    def features(self, asked: QuestionExample) -> Tensor:
        """Gives the features of all words of the text of a question, (T, A) float32."""
        here, there = self.table.place(asked.context), self.table.place(asked.question)
        words, wanted = self.table.words[here], self.table.words[there]
        lower = self._lower[words]
        features = torch.zeros(len(words), self.settings.feature_size)
        features[:, 0] = torch.isin(words, wanted)
        features[:, 1] = torch.isin(lower, self._lower[wanted])
        _, places, counts = lower.unique(return_inverse=True, return_counts=True)
        features[:, 2] = counts[places] / len(words)
        if self.settings.lemmas:
            features[:, 3] = torch.isin(self.table.lemmas[here], self.table.lemmas[there])
        for columns, tags in zip(self._columns, self.table.tags, strict=True):
            column = columns[tags[here]]
            rows = (column >= 0).nonzero().squeeze(1)
            features[rows, column[rows]] = 1
        return features

    def _words(self, text: int) -> Tensor:
        """Looks the words of a text up; a text without words is an unknown one."""
        words = self._indices[self.table.words[self.table.place(text)]]
        return words if len(words) else torch.tensor([UNKNOWN_INDEX])

    def batch(
        self,
        asked: Sequence[QuestionExample],
        texts: Sequence[AskedText] = (),
        training: bool = False,
    ) -> QuestionBatch:
        """Makes a batch.

        Args:
            asked: The questions. Without any it is an unknown word asked about an unknown word,
                with nothing to learn.
            texts: What their answers are compared with.
            training: Whether only windows are read that there is something to learn from.
        """
        rows: list[tuple[Tensor, Tensor, Tensor, int, int, tuple[int, int] | None]] = []
        for owner, one in enumerate(asked):
            words, question = self._words(one.context), self._words(one.question)
            features = self.features(one)
            for window in self.learnt(one) if training else self.windows(one):
                part = slice(window.start, window.stop)
                inside = _within(one.answer, window)
                place = None
                if inside and one.answer is not None:
                    place = (one.answer[0] - window.start, one.answer[1] - window.start)
                rows.append((words[part], features[part], question, owner, window.start, place))
        nothing = not rows
        if nothing:
            unknown = torch.tensor([UNKNOWN_INDEX])
            features = torch.zeros(1, self.settings.feature_size)
            rows.append((unknown, features, unknown, 0, 0, None))
        documents, marks, questions, question_index, offsets, places = map(
            list, zip(*rows, strict=True)
        )
        lengths = torch.tensor([len(document) for document in documents])
        steps = int(lengths.max())
        none = (IGNORED, IGNORED) if nothing or not self.settings.no_answer else (steps, steps)
        labels = torch.tensor([none if place is None else place for place in places])
        return QuestionBatch(
            pad_sequence(documents, batch_first=True),
            lengths,
            pad_sequence(marks, batch_first=True),
            pad_sequence(questions, batch_first=True),
            torch.tensor([len(question) for question in questions]),
            torch.tensor(question_index),
            torch.tensor(offsets),
            labels[:, 0],
            labels[:, 1],
            list(texts),
            len(asked),
        )


def _within(answer: tuple[int, int] | None, window: range) -> bool:
    return answer is not None and answer[0] in window and answer[1] in window


def answer_words(start: int, end: int, starts: Tensor, ends: Tensor) -> tuple[int, int]:
    """Gives the first and the last word that a part of a text has something of.

    Args:
        start: Where the part begins, in characters.
        end: Where it ends; it has something else than white space.
        starts: Where each word begins, (T,), rising.
        ends: Where each word ends, (T,), rising.
    """
    first = int(torch.searchsorted(ends, start, right=True))
    return first, int(torch.searchsorted(starts, end)) - 1
