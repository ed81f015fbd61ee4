"""A batch of questions and texts."""

from typing import NamedTuple

from torch import Tensor


class QuestionContext(NamedTuple):
    """The text that a question is about, and its reference answers.

    Attributes:
        id: Id of the question.
        text: The text.
        starts: Start of each word of the text, in characters, (T,) int32.
        ends: End of each word of the text, in characters, (T,) int32.
        answers: Reference answers; empty if the text does not answer the question.
    """

    id: str
    text: str
    starts: Tensor
    ends: Tensor
    answers: list[str]


class QuestionBatch(NamedTuple):
    """A padded batch of questions with their texts, split into overlapping windows.

    The B questions have W windows, at least one each. The windows of a question are adjacent.

    Attributes:
        document: Word ids of each window, (W, T) int64, padded on the right with 0.
        lengths: Number of words of each window without padding, (W,) int64, at least 1.
        features: Additional features of each word, (W, T, A) float32, padded with 0.
        question: Word ids of the question of each window, (W, Q) int64, padded with 0.
        question_lengths: Number of words of each question without padding, (W,) int64, at least 1.
        question_index: Index of the question of each window, (W,) int64, 0 to B - 1, in
            nondecreasing order.
        offsets: Start of each window in its text, in words, (W,) int64.
        first: Index of the first word of the answer in each window, (W,) int64; T if the window
            does not contain the answer, -100 if the loss ignores the window.
        last: Index of the last word of the answer, with the same special values as ``first``.
        contexts: Texts and reference answers of the B questions; empty during training.
        size: Number of questions in the batch.
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
        """Unit in which the training speed is reported."""
        return "questions"
