"""Attention: which source steps each step of a translation needs.

Shapes: B sentences of S steps with M features, and Q queries of D features for each sentence.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

Scoring = Literal["dot", "general", "additive"]


class Attention(nn.Module, ABC):
    """Scores each source step for each query."""

    @abstractmethod
    def keys(self, encoded: Tensor) -> Tensor:
        """Prepares what is scored, once for a sentence.

        Args:
            encoded: Encoded source, (B, S, M).

        Returns:
            Keys, (B, S, A).
        """

    @abstractmethod
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores all pairs.

        Args:
            queries: Steps of translations, (B, Q, D).
            keys: What ``keys`` gave, (B, S, A).

        Returns:
            Scores, (B, Q, S).
        """


class Product(Attention):
    """The product of query and key: Luong et al. (2015), arXiv 1508.04025, equation 8.

    Args:
        weight: Makes a key of an encoded source step: a matrix for their "general" attention,
            nothing for "dot".
    """

    def __init__(self, weight: nn.Linear | nn.Identity) -> None:
        super().__init__()
        self.weight = weight

    def keys(self, encoded: Tensor) -> Tensor:
        keys: Tensor = self.weight(encoded)
        return keys

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.mT


class Additive(Attention):
    """A small network of both: Bahdanau et al. (2015), arXiv 1409.0473, section A.1.2.

    All pairs are in memory at once, (B, Q, S, D).

    Args:
        query_size: Features of a query, D.
        memory_size: Features of an encoded source step, M.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size)
        self.query = nn.Linear(query_size, query_size, bias=False)
        self.score = nn.Linear(query_size, 1, bias=False)

    def keys(self, encoded: Tensor) -> Tensor:
        keys: Tensor = self.key(encoded)
        return keys

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        pairs = self.query(queries).unsqueeze(2) + keys.unsqueeze(1)
        scores: Tensor = self.score(pairs.tanh()).squeeze(-1)
        return scores


def get_attention(scoring: Scoring, query_size: int, memory_size: int) -> Attention:
    """Makes the attention of that name.

    Args:
        scoring: dot, general or additive.
        query_size: Features of a query, D.
        memory_size: Features of an encoded source step, M.

    Raises:
        ValueError: If there is no such attention, or a dot product of vectors of two sizes.
    """
    if scoring == "dot":
        if query_size != memory_size:
            raise ValueError(
                f"attention=dot needs as many features of the decoder, {query_size}, as of the "
                f"encoder, {memory_size} (both directions together): change one, or use "
                "attention=general"
            )
        return Product(nn.Identity())
    if scoring == "general":
        return Product(nn.Linear(memory_size, query_size, bias=False))
    if scoring == "additive":
        return Additive(query_size, memory_size)
    raise ValueError(f"attention must be dot, general or additive, got {scoring}")


def attention_weights(scores: Tensor, valid: Tensor) -> Tensor:
    """Turns scores into weights.

    Args:
        scores: Scores of source steps, (B, Q, S).
        valid: Which steps are real, (B, S) bool, at least one of each sentence.

    Returns:
        Weights, (B, Q, S), 0 where nothing is; each row sums to 1.
    """
    wide = torch.promote_types(scores.dtype, torch.float32)
    masked = scores.to(wide).masked_fill(~valid.unsqueeze(1), float("-inf"))
    return masked.softmax(-1).to(scores.dtype)
