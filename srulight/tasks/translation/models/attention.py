"""Attention of the target steps over the source steps.

Shapes: B sentences of S source steps with M features, and Q queries with D features per sentence.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

Scoring = Literal["dot", "general", "additive"]


class Attention(nn.Module, ABC):
    """Computes a score for each pair of a query and a source step."""

    @abstractmethod
    def keys(self, encoded: Tensor) -> Tensor:
        """Computes the keys of the source steps, once per sentence.

        Args:
            encoded: Encoded source steps, (B, S, M).

        Returns:
            Keys, (B, S, A).
        """

    @abstractmethod
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Computes the scores of all pairs.

        Args:
            queries: Decoder steps, (B, Q, D).
            keys: Result of ``keys``, (B, S, A).

        Returns:
            Scores, (B, Q, S).
        """


class Product(Attention):
    """Scores by a dot product: Luong et al. (2015), arXiv 1508.04025, equation 8.

    Args:
        weight: Layer that maps an encoded source step to a key: a linear layer for "general"
            attention, the identity for "dot".
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
    """Scores by a one-layer network: Bahdanau et al. (2015), arXiv 1409.0473, section A.1.2.

    It holds the hidden features of all pairs in memory at once, (B, Q, S, D).

    Args:
        query_size: Number of features of a query, D.
        memory_size: Number of features of an encoded source step, M.
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
    """Builds an attention module by name.

    Args:
        scoring: Name of the scoring function: dot, general or additive.
        query_size: Number of features of a query, D.
        memory_size: Number of features of an encoded source step, M.

    Raises:
        ValueError: If the name is unknown, or "dot" is given two different sizes.
    """
    if scoring == "dot":
        if query_size != memory_size:
            raise ValueError(
                "attention=dot needs equal output sizes of encoder (both directions together) and "
                f"decoder, got {memory_size} and {query_size}; change one of them, or set "
                "--model.translator.attention=general"
            )
        return Product(nn.Identity())
    if scoring == "general":
        return Product(nn.Linear(memory_size, query_size, bias=False))
    if scoring == "additive":
        return Additive(query_size, memory_size)
    raise ValueError(f"attention must be dot, general or additive, got {scoring!r}")


def attention_weights(scores: Tensor, valid: Tensor) -> Tensor:
    """Normalizes scores to attention weights with a masked softmax.

    Args:
        scores: Scores of the source steps, (B, Q, S).
        valid: Mask of the steps that are not padding, (B, S) bool, with at least one per sentence.

    Returns:
        Weights, (B, Q, S), 0 in padding; each row sums to 1.
    """
    wide = torch.promote_types(scores.dtype, torch.float32)
    masked = scores.to(wide).masked_fill(~valid.unsqueeze(1), float("-inf"))
    return masked.softmax(-1).to(scores.dtype)
