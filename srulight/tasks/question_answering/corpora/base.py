"""What a corpus of questions about texts is."""

from typing import NamedTuple

from srulight.data.base import Corpus


class Answer(NamedTuple):
    """A part of a context that answers a question.

    Attributes:
        text: The part, character for character.
        start: Where it begins in the context, in characters.
    """

    text: str
    start: int


class Question(NamedTuple):
    """A question about a text.

    Attributes:
        id: Its name in files of predictions.
        text: The question.
        answers: Equally good answers, the first of which is trained on; none if the context does
            not answer it.
    """

    id: str
    text: str
    answers: list[Answer]


class Paragraph(NamedTuple):
    """A text and the questions about it.

    Attributes:
        context: The text.
        questions: In the order of the file.
        article: What it is part of; articles are never split between training and evaluation.
    """

    context: str
    questions: list[Question]
    article: str


class QuestionSplits(NamedTuple):
    """Everything that a corpus of questions holds.

    Attributes:
        train: Paragraphs to train on.
        val: Paragraphs to choose a model by.
        test: Paragraphs to report figures of; None where the corpus has none.
        corrections: How many answers were corrected or left out, by what was wrong.
    """

    train: list[Paragraph]
    val: list[Paragraph]
    test: list[Paragraph] | None
    corrections: dict[str, int]


class QuestionCorpus(Corpus[QuestionSplits]):
    """Knows where questions and the texts that answer them are."""
