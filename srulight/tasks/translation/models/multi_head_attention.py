"""Multi-head self-attention and cross-attention.

Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762), section 3.2. The weights of
queries, keys and values are initialized like one matrix, as in torch.nn.MultiheadAttention.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.layers.dropout import Dropout

_GAIN = 0.5**0.5  # makes Xavier bounds of a square matrix those of three stacked ones


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence over itself.

    Args:
        size: Number of features of a step, E, a multiple of ``num_heads``.
        num_heads: Number of attention heads, which divide the features among them.
        dropout: Probability of zeroing an attention weight during training, at least 0, below 1.
    """

    def __init__(self, size: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.project = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)
        for linear in (self.project, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Attends to all steps that are not padding.

        Args:
            x: Steps, (B, T, E).
            valid: Mask of the steps that are not padding, (B, T) bool, with at least one per
                sequence.

        Returns:
            Attention output, (B, T, E).
        """
        q, k, v = self._project(x).unbind()
        mask = valid[:, None, None]
        dropout = self.dropout if self.training else 0.0
        return self._join(F.scaled_dot_product_attention(q, k, v, mask, dropout))

    def forward_with_state(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attends to each step itself and to the steps before it.

        Args:
            x: Next steps, (N, T, E).
            past: Keys and values returned by the previous call; None at the beginning.

        Returns:
            Attention output, (N, T, E), and the keys and values of all steps so far, (2, N, heads,
            T so far, E / heads).
        """
        projected = self._project(x)
        q, seen = projected[0], projected[1:]
        if past is not None:
            seen = torch.cat((past, seen), 3)
        k, v = seen.unbind()
        mask = None
        if past is not None and x.size(1) > 1:
            mask = q.new_ones(q.size(2), k.size(2), dtype=torch.bool).tril(past.size(3))
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=past is None)
        return self._join(attended), seen

    def _project(self, x: Tensor) -> Tensor:
        """Computes queries, keys and values, (3, B, heads, T, E / heads)."""
        return self.project(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def _join(self, attended: Tensor) -> Tensor:
        joined: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return joined


class CrossAttention(nn.Module):
    """Multi-head attention of a sequence over another one, whose keys and values are given.

    Args:
        size: Number of features of a step, E, a multiple of ``num_heads``.
        num_heads: Number of attention heads, which divide the features among them.
        dropout: Probability of zeroing an attention weight during training, at least 0, below 1.
    """

    def __init__(self, size: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.query = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.query.weight, _GAIN)
        nn.init.xavier_uniform_(self.output.weight)
        for linear in (self.query, self.output):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, keys_values: Tensor, valid: Tensor) -> Tensor:
        """Attends to all steps of the other sequence that are not padding.

        Args:
            x: Steps, (N, T, E); the K = N / B sequences that attend to the same one are adjacent.
            keys_values: Key and value of each step of the other sequence, concatenated, (B, S, 2 *
                E).
            valid: Mask of these steps that are not padding, (B, S) bool, with at least one per
                sequence.

        Returns:
            Attention output, (N, T, E).
        """
        q, k, v = self._heads(x, keys_values)
        dropout = self.dropout.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, valid[:, None, None], dropout)
        return self._join(attended, x)

    def forward_with_weights(
        self, x: Tensor, keys_values: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attends as ``forward`` does, and also gives the attention weights.

        Args:
            x: Steps, (N, T, E), as of ``forward``.
            keys_values: Keys and values, (B, S, 2 * E), as of ``forward``.
            valid: Mask of the steps that are not padding, (B, S) bool.

        Returns:
            Attention output, (N, T, E), and the attention weights before dropout, averaged over the
            heads, (N, T, S), 0 in padding; each row sums to 1.
        """
        q, k, v = self._heads(x, keys_values)
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = ((q * q.size(-1) ** -0.5) @ k.mT).to(wide)
        weights = scores.masked_fill(~valid[:, None, None], float("-inf")).softmax(-1)
        attended = self.dropout(weights.to(v.dtype)) @ v
        mean = weights.mean(1).to(x.dtype).reshape(*x.shape[:2], -1)
        return self._join(attended, x), mean

    def _heads(self, x: Tensor, keys_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes queries, (B, heads, K * T, E / heads), and keys and values of S steps."""
        # The steps of all K sequences become queries of the same sequence.
        queries = self.query(x).reshape(keys_values.size(0), -1, x.size(-1))
        q = queries.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = keys_values.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return q, k, v

    def _join(self, attended: Tensor, x: Tensor) -> Tensor:
        joined: Tensor = self.output(attended.transpose(1, 2).reshape(x.shape))
        return joined


@torch.no_grad()
def draw_keys_values(linear: nn.Linear) -> None:
    """Initializes a linear map to keys and values in the same way as that to the queries.

    Args:
        linear: Map of E features to the keys and values of one or more ``CrossAttention`` modules.
    """
    for square in linear.weight.split(linear.in_features):
        nn.init.xavier_uniform_(square, _GAIN)
    nn.init.zeros_(linear.bias)
