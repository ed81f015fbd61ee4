"""A batch of questions."""

from typing import NamedTuple

from torch import Tensor


class QuestionContext(NamedTuple):
    """The text that a question is about, and the reference answers.

    Attributes:
        id: Id of the question.
        text: The text.
        starts: Where each of its words begins, in characters, (T,) int32.
        ends: Where each ends, (T,) int32.
        answers: Equally good answers; none if the text has none.
    """

    id: str
    text: str
    starts: Tensor
    ends: Tensor
    answers: list[str]


class QuestionBatch(NamedTuple):
    """Questions with the texts to answer them from, long texts in windows that overlap.

    B questions have W windows, at least one each, those of a question next to each other.

    Attributes:
        document: Word indices of each window, (W, T) int64, padded on the right with 0.
        lengths: Real words of each window, (W,) int64, at least 1.
        features: Other features of each word, (W, T, A) float32, padded with 0.
        question: Word indices of the question of each window, (W, Q) int64, padded with 0.
        question_lengths: Real words of each question, (W,) int64, at least 1.
        question_index: Question of each window, (W,) int64, 0 to B - 1, never falling.
        offsets: Where each window begins in its text, in words, (W,) int64.
        first: First word of the answer in each window, (W,) int64; T if the window does not have
            it, -100 if there is nothing to learn.
        last: Last word of the answer, as ``first``.
        contexts: Texts and reference answers of the questions, B of them; none while training.
        size: Questions in the batch.
    """

    document: Tensor
    lengths: Tensor
    features: Tensor
    question: Tensor
    question_lengths: Tensor
    question_index: Tensor
    offsets: Tensor
    first: Tensor
    last: Tensor
    contexts: list[QuestionContext]
    size: int

    @property
    def unit(self) -> str:
        """What speed is counted in."""
        return "questions"
