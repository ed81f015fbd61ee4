"""Where in a text the answer to a question begins and ends."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.data.base import IGNORED
from srulight.encoders import EncoderFactory
from srulight.layers.masking import masked_max, valid_steps
from srulight.tasks.question_answering.stacked import StackedEncoder


class Scores(NamedTuple):
    """How well each word of a text begins, and ends, the answer.

    All are unnormalised log-probabilities, float32 or wider.

    Attributes:
        start: Of the first word, (B, T); minus infinity where padded.
        end: Of the last word, (B, T), as ``start``.
        none: Of the text not having the answer, (B,), to compete with the words; None if every text
            has it.
    """

    start: Tensor
    end: Tensor
    none: Tensor | None


class DocumentReader(nn.Module):
    """Encodes a text and a question, and compares each word of the text with the question.

    Chen et al. (2017), arXiv 1704.00051, section 3.2, with encoders of any kind. Each word of the
    text also sees the question: the mean of its word vectors, weighed by how alike they are. The
    question becomes one vector, the mean of its encoded words, weighed by how much each matters.

    Args:
        vector_size: Features of a word vector, F.
        feature_size: What else is known of a word of the text, A.
        document_encoder: Builds a layer of the text's encoder.
        question_encoder: Builds a layer of the question's encoder.
        document_layers: Layers of the text's encoder, at least 1.
        question_layers: Layers of the question's encoder, at least 1.
        dropout: Probability of zeroing a feature that goes into a layer, or comes out of the last,
            while training, 0 to 1.
        no_answer: Whether a text may not have the answer.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        vector_size: int,
        feature_size: int,
        document_encoder: EncoderFactory,
        question_encoder: EncoderFactory,
        document_layers: int = 3,
        question_layers: int = 3,
        dropout: float = 0.2,
        no_answer: bool = False,
    ) -> None:
        super().__init__()
        self.align = nn.Linear(vector_size, vector_size)
        self.document = StackedEncoder(
            2 * vector_size + feature_size, document_encoder, document_layers, dropout
        )
        self.question = StackedEncoder(vector_size, question_encoder, question_layers, dropout)
        size, question_size = self.document.output_size, self.question.output_size
        self.weight = nn.Linear(question_size, 1, bias=False)
        self.start = nn.Linear(question_size, size, bias=False)
        self.end = nn.Linear(question_size, size, bias=False)
        self.none = nn.Linear(question_size + size, 1) if no_answer else None

    def forward(
        self,
        document: Tensor,
        lengths: Tensor,
        features: Tensor,
        question: Tensor,
        question_lengths: Tensor,
    ) -> Scores:
        """Scores the words of texts.

        Args:
            document: Word vectors of the texts, (B, T, F).
            lengths: Real words of each text, (B,) int64, at least 1.
            features: What else is known of each word, (B, T, A).
            question: Word vectors of the questions, (B, Q, F).
            question_lengths: Real words of each question, (B,) int64, at least 1.
        """
        valid = valid_steps(lengths, document.size(1))
        asked = valid_steps(question_lengths, question.size(1))
        # Chen et al.: f_align. How alike two words are is a product of what a ReLU lets through.
        keys = self.align(question).relu()
        alike = self.align(document).relu() @ keys.transpose(1, 2)
        aligned = _softmax(alike, asked.unsqueeze(1)) @ question
        encoded = self.document(torch.cat((document, aligned, features), -1), lengths)
        words = self.question(question, question_lengths)
        weights = _softmax(self.weight(words).transpose(1, 2), asked.unsqueeze(1))
        summary = weights @ words  # (B, 1, H)
        none = None
        if self.none is not None:
            seen = masked_max(encoded, lengths)
            none = _wide(self.none(torch.cat((summary.squeeze(1), seen), -1)).squeeze(1))
        start, end = (
            _wide((layer(summary) @ encoded.transpose(1, 2)).squeeze(1))
            .masked_fill(~valid, float("-inf"))
            for layer in (self.start, self.end)
        )  # fmt: skip
        return Scores(start, end, none)


def span_loss(scores: Scores, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Gives the loss of scores, -(log P(first) + log P(last)) / 2, over all texts that have one.

    Args:
        scores: Of B texts.
        first: First word of each answer, (B,) int64; T if the text does not have the answer, and
            ``IGNORED`` where nothing is to be learnt.
        last: Last word, as ``first``.

    Returns:
        The sum of the losses, and how many they are.
    """
    total = torch.zeros((), device=first.device)
    for words, labels in ((scores.start, first), (scores.end, last)):
        if scores.none is not None:
            words = torch.cat((words, scores.none.unsqueeze(1)), 1)
        total = total + F.cross_entropy(words, labels, ignore_index=IGNORED, reduction="sum") / 2
    return total, (first != IGNORED).sum()


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _softmax(scores: Tensor, valid: Tensor) -> Tensor:
    """Makes weights of scores, 0 where nothing is, in their type."""
    return _wide(scores).masked_fill(~valid, float("-inf")).softmax(-1).to(scores.dtype)
