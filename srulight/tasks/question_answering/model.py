"""Where in a text the answer to a question begins and ends."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.data.base import IGNORED
from srulight.encoders import EncoderFactory
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout
from srulight.layers.masking import masked_max, valid_steps
from srulight.runtime.errors import check_range


class Scores(NamedTuple):
    """How well the answer begins, and ends, at each word of a text.

    All are unnormalised log-probabilities, float32 or wider.

    Attributes:
        start: Of the first word, (B, T); minus infinity where padded.
        end: Of the last word, (B, T), as ``start``.
        none: That the text does not have the answer, (B,), which competes with the words; None if
            every text has it.
    """

    start: Tensor
    end: Tensor
    none: Tensor | None


@dataclass(frozen=True)
class ReaderLayers:
    """Layers of the document reader; the outputs of all of them count.

    Args:
        document: Encoders of the text, one on top of the other, at least 1.
        question: Encoders of the question, as well.
    """

    document: int = 3
    question: int = 3

    def __post_init__(self) -> None:
        numbers = {"layers.document": self.document, "layers.question": self.question}
        check_range(1, **numbers)


class StackedEncoder(nn.Module):
    """Encoders one on top of the other, whose outputs are concatenated.

    Chen et al. (2017), arXiv 1704.00051, section 3.2, concatenate the states of every layer. A
    Recurrent of several layers gives those of its last alone: hence one encoder a layer. Dropout
    draws once for a whole sequence (Gal and Ghahramani 2016, arXiv 1512.05287).

    Args:
        input_size: Features of a step, F.
        factory: Builds a layer for a number of features.
        num_layers: Layers, at least 1.
        dropout: Probability of zeroing a feature that goes into a layer, or comes out of the last,
            while training, 0 to 1.

    Attributes:
        output_size: Features of all layers together.
    """

    def __init__(
        self, input_size: int, factory: EncoderFactory, num_layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList()
        self.output_size = 0
        size = input_size
        for _ in range(num_layers):
            layer = build_encoder(factory, size)
            self.layers.append(layer)
            size = layer.output_size
            self.output_size += size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encodes a batch.

        Args:
            x: Steps, (B, T, F).
            lengths: Real steps in each sequence, (B,) int64.

        Returns:
            What comes out of every layer, (B, T, ``output_size``), zeros where padded.
        """
        outputs = []
        for layer in self.layers:
            x = layer(self._drop(x), lengths)
            outputs.append(x)
        return self._drop(torch.cat(outputs, -1))

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self.dropout(x.new_ones(len(x), 1, x.size(2)))


class DocumentReader(nn.Module):
    """Encodes a text and a question, and compares each word of the text with the question.

    Chen et al. (2017), arXiv 1704.00051, section 3.2, with encoders of any kind. Each word of the
    text attends to the words of the question; the question becomes one vector, the mean of its
    encoded words by learned weights.

    Args:
        vector_size: Features of a word vector, F.
        feature_size: Other features of a word of the text, A.
        document_encoder: Builds a layer of the text's encoder.
        question_encoder: Builds a layer of the question's encoder.
        layers: Layers of both encoders.
        dropout: Probability of zeroing a feature that goes into a layer, or comes out of the last,
            while training, 0 to 1.
        no_answer: Whether a text may not have the answer.
    """

    def __init__(
        self,
        vector_size: int,
        feature_size: int,
        document_encoder: EncoderFactory,
        question_encoder: EncoderFactory,
        layers: ReaderLayers,
        dropout: float = 0.2,
        no_answer: bool = False,
    ) -> None:
        super().__init__()
        self.align = nn.Linear(vector_size, vector_size)
        self.document = StackedEncoder(
            2 * vector_size + feature_size, document_encoder, layers.document, dropout
        )
        self.question = StackedEncoder(vector_size, question_encoder, layers.question, dropout)
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
            features: Other features of each word, (B, T, A).
            question: Word vectors of the questions, (B, Q, F).
            question_lengths: Real words of each question, (B,) int64, at least 1.
        """
        valid = valid_steps(lengths, document.size(1))
        valid_question = valid_steps(question_lengths, question.size(1)).unsqueeze(1)
        # f_align of Chen et al.: attention from each word of the text to those of the question.
        keys = self.align(question).relu()
        similarity = self.align(document).relu() @ keys.transpose(1, 2)
        aligned = _softmax(similarity, valid_question) @ question
        encoded = self.document(torch.cat((document, aligned, features), -1), lengths)
        words = self.question(question, question_lengths)
        weights = _softmax(self.weight(words).transpose(1, 2), valid_question)
        summary = weights @ words  # (B, 1, H)
        none = None
        if self.none is not None:
            pooled = masked_max(encoded, lengths)
            none = _wide(self.none(torch.cat((summary.squeeze(1), pooled), -1)).squeeze(1))
        start, end = (
            _wide((layer(summary) @ encoded.transpose(1, 2)).squeeze(1))
            .masked_fill(~valid, float("-inf"))
            for layer in (self.start, self.end)
        )  # fmt: skip
        return Scores(start, end, none)


def span_loss(scores: Scores, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the loss, -(log P(first) + log P(last)) / 2, over all texts that have one.

    Args:
        scores: Of B texts.
        first: First word of each answer, (B,) int64; T if the text does not have the answer, and
            ``IGNORED`` where there is nothing to learn.
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
    """Gives weights in the type of the scores, 0 where they are not valid."""
    return _wide(scores).masked_fill(~valid, float("-inf")).softmax(-1).to(scores.dtype)
