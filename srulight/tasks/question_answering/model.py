"""The document reader, which scores the words of a text as the first and last of an answer."""

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
    """Logits of the first and last word of the answer, float32 or wider.

    Attributes:
        start: Logit of each word as the first, (B, T); minus infinity in padding.
        end: Logit of each word as the last, (B, T); minus infinity in padding.
        none: Logit of "no answer", (B,), which competes with the words; None if every question has
            an answer.
    """

    start: Tensor
    end: Tensor
    none: Tensor | None


@dataclass(frozen=True)
class ReaderLayers:
    """Number of stacked encoders in the document reader.

    Args:
        document: Number of encoders for the text, at least 1.
        question: Number of encoders for the question, at least 1.
    """

    document: int = 3
    question: int = 3

    def __post_init__(self) -> None:
        numbers = {"layers.document": self.document, "layers.question": self.question}
        check_range(1, **numbers)


class StackedEncoder(nn.Module):
    """A stack of encoders whose outputs are concatenated.

    Chen et al. (2017), arXiv 1704.00051, section 3.2, concatenate the outputs of all layers. An
    encoder with several layers returns only those of its last layer, so each layer is an encoder
    of its own. All steps of a sequence share one dropout mask (Gal and Ghahramani 2016, arXiv
    1512.05287).

    Args:
        input_size: Number of features of a step, F.
        factory: Function that builds a layer for a number of input features.
        num_layers: Number of layers, at least 1.
        dropout: Probability of zeroing a feature of the input of each layer and of the concatenated
            output during training, from 0 to 1.

    Attributes:
        output_size: Number of features of the concatenated output.
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
            lengths: Number of steps of each sequence without padding, (B,) int64.

        Returns:
            Concatenated outputs of all layers, (B, T, ``output_size``), zeros in padding.
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
    """Encodes a text and a question, and scores each word of the text against the question.

    This is the document reader of Chen et al. (2017), arXiv 1704.00051, section 3.2, with arbitrary
    encoders. Each word of the text attends to the words of the question. The question is pooled
    into one vector, a learned weighted mean of its encoded words.

    Args:
        vector_size: Number of features of a word vector, F.
        feature_size: Number of additional features of a word of the text, A.
        document_encoder: Function that builds one layer of the text encoder.
        question_encoder: Function that builds one layer of the question encoder.
        layers: Number of layers of both encoders.
        dropout: Probability of zeroing a feature of the input of each layer and of the encoder
            outputs during training, from 0 to 1.
        no_answer: Whether to score "no answer" as well.
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
            lengths: Number of words of each text without padding, (B,) int64, at least 1.
            features: Additional features of each word, (B, T, A).
            question: Word vectors of the questions, (B, Q, F).
            question_lengths: Number of words of each question without padding, (B,) int64, at
                least 1.

        Returns:
            Logits of the first and last word of the answer.
        """
        valid = valid_steps(lengths, document.size(1))
        valid_question = valid_steps(question_lengths, question.size(1)).unsqueeze(1)
        # f_align of Chen et al.: each word of the text attends to the words of the question.
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
    """Computes the loss of the answer spans, -(log P(first) + log P(last)) / 2 for each text.

    Args:
        scores: Logits for B texts.
        first: First word of each answer, (B,) int64; T if the text does not contain the answer, and
            ``IGNORED`` if the loss ignores the text.
        last: Last word of each answer, with the same special values as ``first``.

    Returns:
        The sum of the losses, and the number of texts in it.
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
    """Computes a masked softmax in the dtype of the scores, 0 where masked."""
    return _wide(scores).masked_fill(~valid, float("-inf")).softmax(-1).to(scores.dtype)
