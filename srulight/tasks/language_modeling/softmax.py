"""Embedding and softmax layers over a vocabulary, with tied or separate weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.data.base import IGNORED
from srulight.ops.product import Matrix, dense, lookup, product


class TokenLayers(nn.Module, ABC):
    """The first and the last layer of a language model: embedding and softmax."""

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Looks up the embeddings of tokens.

        Args:
            tokens: Token ids, (...) int64.

        Returns:
            Embeddings, (..., E).
        """

    @abstractmethod
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Computes the loss of each target.

        Args:
            features: Output of the encoder at the previous step, (N, H).
            targets: Token ids, (N,) int64; -100 where there is no target.

        Returns:
            Negative log-probabilities of the targets in nats, (N,) float32 or wider; 0 where there
            is no target.
        """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Computes the log-probabilities of all tokens.

        Args:
            features: Output of the encoder at the previous step, (N, H).

        Returns:
            Log-probabilities in nats, (N, V).
        """


class Softmax(TokenLayers):
    """One embedding and one softmax over the whole vocabulary.

    Args:
        vocabulary_size: Number of tokens in the vocabulary, V.
        embedding_size: Number of features per token, E.
        feature_size: Number of features that the encoder outputs, H.
        tied: Whether the embedding and the softmax share their weights (Press and Wolf 2017,
            arXiv 1608.05859). If so, and H differs from E, a linear map from H to E comes first.

    Attributes:
        matrices: Names of the attributes that may also hold a ``StoredMatrix``.
    """

    matrices: ClassVar = ("embedding", "weight")

    def __init__(
        self, vocabulary_size: int, embedding_size: int, feature_size: int, tied: bool
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(_drawn(vocabulary_size, embedding_size))
        self.mapping = _mapping(feature_size, embedding_size if tied else feature_size)
        self.weight = None if tied else nn.Parameter(_drawn(vocabulary_size, feature_size))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def embed(self, tokens: Tensor) -> Tensor:
        return lookup(tokens, self.embedding)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self._logits(features)
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")

    def forward(self, features: Tensor) -> Tensor:
        return self._logits(features).log_softmax(-1)

    def _logits(self, features: Tensor) -> Tensor:
        weight = self.embedding if self.weight is None else self.weight
        logits = product(self.mapping(features), weight, self.bias)
        return logits.float() if logits.dtype.itemsize < 4 else logits


class AdaptiveSoftmax(TokenLayers):
    """An adaptive softmax, in which clusters of rarer tokens have fewer features.

    The softmax is that of Grave et al. (2017), arXiv 1609.04309; the embedding is that of Baevski
    and Auli (2019), arXiv 1809.10853.

    Args:
        vocabulary_size: Number of tokens in the vocabulary, V; the most frequent tokens come first.
        embedding_size: Number of features of the most frequent tokens, E. Each further cluster has
            a quarter of the features of the previous one.
        feature_size: Number of features that the encoder outputs, H; mapped to E if it differs.
        tied: Whether the embedding and the softmax share their weights.
        cutoffs: Ids of the first token of each cluster of rarer tokens, in increasing order.

    Raises:
        ValueError: If ``cutoffs`` do not increase from at least 1 to below ``vocabulary_size``, or
            if there are so many that a cluster would have no features.

    Attributes:
        matrices: Names of the attributes that may also hold a ``StoredMatrix``, or a list of them.
    """

    matrices: ClassVar = ("own",)

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        feature_size: int,
        tied: bool,
        cutoffs: Sequence[int],
    ) -> None:
        super().__init__()
        ends = [*cutoffs, vocabulary_size]
        if not cutoffs or ends[0] < 1 or any(a >= b for a, b in pairwise(ends)):
            raise ValueError(
                "cutoffs must increase from at least 1 to below the size of the vocabulary "
                f"({vocabulary_size}), got {list(cutoffs)}"
            )
        if embedding_size < 4 ** len(cutoffs):
            raise ValueError(
                f"embedding_size must be at least {4 ** len(cutoffs)} with {len(cutoffs)} cutoffs, "
                f"got {embedding_size}"
            )
        self.starts = [0, *cutoffs]
        self.mapping = _mapping(feature_size, embedding_size)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(embedding_size, vocabulary_size, [*cutoffs])
        # All clusters start at the scale that Softmax uses, unlike with torch's initialization.
        self.own: nn.ParameterList | None = None
        self.softmax.head.weight.data = _drawn(*self.softmax.head.weight.shape)
        for pair in self.softmax.tail:
            pair[1].weight.data = _drawn(*pair[1].weight.shape)  # type: ignore[index]
        if not tied:
            tables = [
                dense(table)[: end - start].detach().clone()
                for (table, _), start, end in zip(self._clusters(), self.starts, ends, strict=True)
            ]
            maps = [dense(m).detach().clone() for _, m in self._clusters() if m is not None]
            self.own = nn.ParameterList([*tables, *maps])

    def _clusters(self) -> list[tuple[Matrix, Matrix | None]]:
        """Returns the embeddings of each cluster, and the matrix that maps them to E features.

        The first table may have more rows than its cluster has tokens.
        """
        if self.own is not None:
            tables, maps = [*self.own][: len(self.starts)], [*self.own][len(self.starts) :]
            return list(zip(tables, [None, *maps], strict=True))
        tail = [(pair[1].weight, pair[0].weight) for pair in self.softmax.tail]  # type: ignore[index]
        return [(self.softmax.head.weight, None), *tail]

    def embed(self, tokens: Tensor) -> Tensor:
        features = None
        ends = [*self.starts[1:], self.softmax.n_classes]
        for start, end, (table, mapping) in zip(self.starts, ends, self._clusters(), strict=True):
            places = tokens - start
            inside = (places >= 0) & (tokens < end)
            rows = lookup(places.clamp(0, end - start - 1), table)
            rows = rows if mapping is None else rows @ dense(mapping)
            rows = rows * inside.unsqueeze(-1)
            features = rows if features is None else features + rows
        assert features is not None
        return features

    # Not compiled: the number of targets per cluster changes with every batch and may be zero, so
    # the compiler would recompile again and again.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        # torch's module mixes dtypes under autocast, but log-probabilities need float32.
        real = targets != IGNORED
        with torch.autocast(features.device.type, enabled=False):
            found = -self.softmax(self._mapped(features[real]), targets[real]).output
        return found.new_zeros(len(targets)).masked_scatter(real, found)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.softmax.log_prob(self._mapped(features))

    def _mapped(self, features: Tensor) -> Tensor:
        return self.mapping(features.to(self.softmax.head.weight.dtype))


def _drawn(rows: int, features: int) -> Tensor:
    """Draws uniform weights with variance 1 / ``features``."""
    bound = math.sqrt(3 / features)
    return torch.empty(rows, features).uniform_(-bound, bound)


def _mapping(size: int, to: int) -> nn.Module:
    return nn.Identity() if size == to else nn.Linear(size, to, bias=False)
