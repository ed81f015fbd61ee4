"""Attention within a band of steps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.sru import is_exporting

# A sequence longer than this and than the memory is attended to in pieces, so that time and space
# grow with its length and not with the square of it.
_BLOCK = 128


class BandAttention(nn.Module):
    """Adds to each step what it attends to: itself and steps no further than ``memory_size``.

    Args:
        size: Features per step, P.
        num_heads: Heads, which share the features.
        memory_size: Steps before a step that it attends to, M.
        bidirectional: Whether it attends to as many after it.
        dropout: Probability of zeroing an attention weight while training, 0 to 1.

    Attributes:
        weight: Map from a step to its key and value, (2 * P, P).
        alpha: Factor of the attention, (1,), 0 at first.
    """

    def __init__(
        self, size: int, num_heads: int, memory_size: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.memory_size = memory_size
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(2 * size, size))
        # Not a scalar, which sharded training refuses.
        self.alpha = nn.Parameter(torch.zeros(1))
        nn.init.xavier_uniform_(self.weight)

    def extra_repr(self) -> str:
        size, heads = self.weight.size(1), self.num_heads
        return f"size={size}, num_heads={heads}, memory_size={self.memory_size}"

    def forward(
        self, z: Tensor, past: Tensor | None, count: Tensor | None, lengths: Tensor | None
    ) -> Tensor:
        """Runs z + alpha * attention.

        Args:
            z: Steps, (B, T, P).
            past: The ``memory_size`` steps before them, (B, M, P); None for none.
            count: How many of these are real, (B,); None with ``past``.
            lengths: Real steps of each sequence, (B,); None means all T.

        Returns:
            Sums, (B, T, P).
        """
        steps = z.size(1)
        seen = z if past is None else torch.cat((past, z), dim=1)
        before = 0 if past is None else self.memory_size
        after = self.memory_size if self.bidirectional else 0
        q = z.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, T, P / heads)
        k, v = F.linear(seen, self.weight).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        block = max(self.memory_size, _BLOCK)
        # How many pieces there are must not depend on the length of what a compiler looks at.
        if torch.compiler.is_compiling() or steps <= block:
            attended = self._attend(q, k, v, 0, -before, count, lengths)
        else:
            pieces = []
            for i in range(0, steps, block):
                start = max(i - self.memory_size, -before)
                sees = slice(start + before, i + block + after + before)
                queries, keys, values = q[:, :, i : i + block], k[:, :, sees], v[:, :, sees]
                # Later pieces do not reach the memory.
                real = count if i == 0 else None
                pieces.append(self._attend(queries, keys, values, i, start, real, lengths))
            attended = torch.cat(pieces, dim=2)
        return z + self.alpha.to(z.dtype) * attended.transpose(1, 2).flatten(2)

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        first_query: int,
        first_key: int,
        count: Tensor | None,
        lengths: Tensor | None,
    ) -> Tensor:
        """Attends from queries to keys (B, heads, steps, P / heads), counted from given steps."""
        dropout = self.dropout if self.training else 0.0
        lengths = lengths if self.bidirectional else None  # causal: padding is never seen
        # An exported program serves all lengths, so it must not branch on one.
        if (
            not is_exporting()
            and count is None
            and lengths is None
            and q.size(2) == k.size(2) <= self.memory_size + 1
        ):
            return F.scaled_dot_product_attention(
                q, k, v, dropout_p=dropout, is_causal=not self.bidirectional
            )
        query = torch.arange(first_query, first_query + q.size(2), device=q.device).unsqueeze(1)
        key = torch.arange(first_key, first_key + k.size(2), device=q.device)
        sees = (query - key <= self.memory_size) & (key <= query)
        if self.bidirectional:
            sees = (query - key).abs() <= self.memory_size
        if count is not None:
            sees = sees & (key >= -count.view(-1, 1, 1, 1))
        if lengths is not None:  # a padded step sees itself: no row may be empty
            sees = sees & (key < lengths.view(-1, 1, 1, 1)) | (key == query)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=sees, dropout_p=dropout)
