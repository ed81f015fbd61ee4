"""A vocabulary's embedding and softmax, which may share their weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.data.base import IGNORED


class TokenLayers(nn.Module, ABC):
    """Where tokens become features, and features the probabilities of the next token."""

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Looks tokens up.

        Args:
            tokens: Token ids, (...) int64.

        Returns:
            Their features, (..., E).
        """

    @abstractmethod
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Measures how surprising tokens are.

        Args:
            features: What is known before each, (N, H).
            targets: Token ids, (N,) int64; -100 for none.

        Returns:
            Negative log-probability of each target in nats, 0 for none, (N,) float32 or wider.
        """

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Scores every token.

        Args:
            features: What is known before each, (N, H).

        Returns:
            Log-probabilities in nats, (N, V).
        """


class Softmax(TokenLayers):
    """One embedding and one softmax over the whole vocabulary.

    Args:
        vocabulary_size: Tokens, V.
        embedding_size: Features of a token, E.
        feature_size: Features that the softmax sees, H.
        tied: Whether both have the same weights (Press and Wolf 2017, arXiv 1608.05859); features
            are mapped to E if H differs.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, feature_size: int, tied: bool
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(_drawn(vocabulary_size, embedding_size))
        self.mapping = _mapping(feature_size, embedding_size if tied else feature_size)
        self.weight = None if tied else nn.Parameter(_drawn(vocabulary_size, feature_size))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def embed(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self._logits(features)
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")

    def forward(self, features: Tensor) -> Tensor:
        return self._logits(features).log_softmax(-1)

    def _logits(self, features: Tensor) -> Tensor:
        weight = self.embedding if self.weight is None else self.weight
        logits = F.linear(self.mapping(features), weight, self.bias)
        return logits.float() if logits.dtype.itemsize < 4 else logits


class AdaptiveSoftmax(TokenLayers):
    """Rare tokens have fewer features, and are looked at only where one of them may come.

    Grave et al. (2017), arXiv 1609.04309, for the softmax; Baevski and Auli (2019),
    arXiv 1809.10853, for the embedding, which has the same weights if tied.

    Args:
        vocabulary_size: Tokens, V, the most frequent first.
        embedding_size: Features of a frequent token, E; each further cluster has a quarter of those
            of the one before.
        feature_size: Features that the softmax sees, H; mapped to E if H differs.
        tied: Whether embedding and softmax have the same weights.
        cutoffs: Ids at which the clusters of rarer tokens begin, going up.

    Raises:
        ValueError: If ``cutoffs`` do not go up from 1 to below ``vocabulary_size``, or are so many
            that a cluster would have no features.
    """

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
                f"cutoffs must go up from 1 to below the vocabulary's {vocabulary_size} tokens, "
                f"got {list(cutoffs)}"
            )
        if embedding_size < 4 ** len(cutoffs):
            raise ValueError(
                f"{len(cutoffs)} cutoffs need an embedding_size of at least {4 ** len(cutoffs)}, "
                f"got {embedding_size}"
            )
        self.starts = [0, *cutoffs]
        self.mapping = _mapping(feature_size, embedding_size)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(embedding_size, vocabulary_size, [*cutoffs])
        # torch's default would have the scores of frequent tokens start far apart.
        self.own: nn.ParameterList | None = None
        self.softmax.head.weight.data = _drawn(*self.softmax.head.weight.shape)
        for table, _ in self._clusters()[1:]:
            table.data = _drawn(*table.shape)
        if not tied:
            tables = [table.detach().clone() for table, _ in self._clusters()]
            maps = [m.detach().clone() for _, m in self._clusters() if m is not None]
            self.own = nn.ParameterList([*tables, *maps])

    def _clusters(self) -> list[tuple[Tensor, Tensor | None]]:
        """Gives each cluster's table, (tokens, features), and map to E, (features, E)."""
        if self.own is not None:
            tables, maps = [*self.own][: len(self.starts)], [*self.own][len(self.starts) :]
            return list(zip(tables, [None, *maps], strict=True))
        tail = [(pair[1].weight, pair[0].weight) for pair in self.softmax.tail]  # type: ignore[index]
        return [(self.softmax.head.weight[: self.softmax.shortlist_size], None), *tail]

    def embed(self, tokens: Tensor) -> Tensor:
        features = None
        for start, (table, mapping) in zip(self.starts, self._clusters(), strict=True):
            places = tokens - start
            inside = (places >= 0) & (places < len(table))
            rows = F.embedding(places.clamp(0, len(table) - 1), table)
            rows = rows if mapping is None else rows @ mapping
            rows = rows * inside.unsqueeze(-1)
            features = rows if features is None else features + rows
        assert features is not None
        return features

    # How many targets lie in a cluster differs from batch to batch, and may be none: a compiler
    # would begin anew again and again.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        # torch's module mixes dtypes under autocast, and log-probabilities need float32.
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
    """Draws rows whose features have variance 1 / ``features``."""
    bound = math.sqrt(3 / features)
    return torch.empty(rows, features).uniform_(-bound, bound)


def _mapping(size: int, to: int) -> nn.Module:
    return nn.Identity() if size == to else nn.Linear(size, to, bias=False)
