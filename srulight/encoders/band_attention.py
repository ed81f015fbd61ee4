"""Attention restricted to a band of steps."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.product import product
from srulight.ops.sru import is_exporting

# A sequence longer than this, and than the memory, is attended to block by block, so that time and
# memory grow linearly with its length instead of quadratically.
_BLOCK = 128


class BandAttention(nn.Module):
    """Adds attention over nearby steps to each step: ``z + alpha * attention(z)``.

    A step attends to itself, to the ``memory_size`` steps before it and, if ``bidirectional``, to
    as many steps after it.

    Args:
        size: Features per step, P.
        num_heads: Number of attention heads. Each head works on P / ``num_heads`` features.
        memory_size: Number of earlier steps that a step attends to, M.
        bidirectional: Whether a step also attends to M later steps.
        dropout: Probability of zeroing an attention weight during training, from 0 to 1.

    Attributes:
        weight: Matrix that maps a step to its key and its value, (2 * P, P).
        alpha: Factor of the attention term, (1,). It starts at 0.
        matrices: Names of the attributes that may also hold a ``StoredMatrix``.
    """

    matrices: ClassVar = ("weight",)

    def __init__(
        self, size: int, num_heads: int, memory_size: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.memory_size = memory_size
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(2 * size, size))
        # Not a scalar, because sharded training refuses scalar parameters.
        self.alpha = nn.Parameter(torch.zeros(1))
        nn.init.xavier_uniform_(self.weight)

    def extra_repr(self) -> str:
        size, heads = self.weight.size(1), self.num_heads
        return f"size={size}, num_heads={heads}, memory_size={self.memory_size}"

    def forward(
        self, z: Tensor, past: Tensor | None, count: Tensor | None, lengths: Tensor | None
    ) -> Tensor:
        """Computes ``z + alpha * attention(z)``.

        Args:
            z: Steps, (B, T, P).
            past: The ``memory_size`` steps before them, (B, M, P). None means that there are none.
            count: Number of real steps in ``past``, (B,). None if ``past`` is None.
            lengths: Number of real steps in each sequence, (B,). None means T for all.

        Returns:
            Outputs, (B, T, P).
        """
        steps = z.size(1)
        seen = z if past is None else torch.cat((past, z), dim=1)
        before = 0 if past is None else self.memory_size
        after = self.memory_size if self.bidirectional else 0
        q = z.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, T, P / heads)
        k, v = product(seen, self.weight).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        block = max(self.memory_size, _BLOCK)
        # A compiled graph must serve all lengths, so its number of blocks cannot depend on one.
        if torch.compiler.is_compiling() or steps <= block:
            attended = self._attend(q, k, v, 0, -before, count, lengths)
        else:
            blocks = []
            for i in range(0, steps, block):
                start = max(i - self.memory_size, -before)
                sees = slice(start + before, i + block + after + before)
                queries, keys, values = q[:, :, i : i + block], k[:, :, sees], v[:, :, sees]
                # Only the first block reaches back into the memory.
                real = count if i == 0 else None
                blocks.append(self._attend(queries, keys, values, i, start, real, lengths))
            attended = torch.cat(blocks, dim=2)
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
        """Attends from ``q`` to ``k`` and ``v``, all (B, heads, steps, P / heads).

        ``first_query`` and ``first_key`` are the positions of the first query and of the first key.
        """
        dropout = self.dropout if self.training else 0.0
        lengths = lengths if self.bidirectional else None  # a causal step never sees padding
        # An exported program must serve all lengths, so it cannot branch on one.
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
        if lengths is not None:  # a padded step sees itself, since no row may be empty
            sees = sees & (key < lengths.view(-1, 1, 1, 1)) | (key == query)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=sees, dropout_p=dropout)
