"""The interface of question corpora."""

from typing import NamedTuple

from srulight.data.base import Corpus


class Answer(NamedTuple):
    """A part of a context that answers a question.

    Attributes:
        text: Part of the context, character for character.
        start: Start of the answer in the context, in characters.
    """

    text: str
    start: int


class Question(NamedTuple):
    """A question about a text.

    Attributes:
        id: Id of the question in files of predictions.
        text: The question.
        answers: Reference answers; training uses the first. Empty if the context does not answer
            the question.
    """

    id: str
    text: str
    answers: list[Answer]


class Paragraph(NamedTuple):
    """A text and the questions about it.

    Attributes:
        context: The text.
        questions: Questions in the order of the file.
        article: Article that the text belongs to. No article is divided between splits.
    """

    context: str
    questions: list[Question]
    article: str


class QuestionSplits(NamedTuple):
    """The splits of a question corpus.

    Attributes:
        train: Training paragraphs.
        val: Validation paragraphs.
        test: Test paragraphs; None if the corpus has none.
        corrections: Number of corrected or skipped answers, questions and paragraphs, by reason.
    """

    train: list[Paragraph]
    val: list[Paragraph]
    test: list[Paragraph] | None
    corrections: dict[str, int]


class QuestionCorpus(Corpus[QuestionSplits]):
    """A corpus of questions and the texts that answer them."""
