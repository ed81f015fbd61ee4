"""Layers of the Transformer: Vaswani et al. (2017), arXiv 1706.03762, section 3."""

from typing import Literal

from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.layers.dropout import Dropout
from srulight.runtime.errors import InputError
from srulight.tasks.translation.models.base import Memory, State
from srulight.tasks.translation.models.multi_head_attention import CrossAttention, SelfAttention

Norm = Literal["pre", "post"]


class EncoderLayer(nn.Module):
    """An encoder layer: self-attention and a feed-forward network.

    Args:
        network: Feed-forward network.
        input_size: Number of features of a step, E.
        num_heads: Number of attention heads.
        dropout: Dropout probability of the sublayer outputs.
        attention_dropout: Dropout probability of the attention weights.
        norm: Place of the layer normalization, as of ``Transformer``.
    """

    def __init__(
        self,
        network: "FeedForward",
        input_size: int,
        num_heads: int,
        dropout: float,
        attention_dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(input_size, num_heads, attention_dropout)
        self.network = network
        self.around_attention = Residual(input_size, dropout, norm)
        self.around_network = Residual(input_size, dropout, norm)

    def forward(self, x: Tensor, valid: Tensor, lengths: Tensor) -> Tensor:
        """Runs the layer.

        Args:
            x: Steps, (B, S, E).
            valid: Mask of the steps that are not padding, (B, S) bool.
            lengths: Number of steps of each sentence without padding, (B,) int64.

        Returns:
            Output steps, (B, S, E).
        """
        x = self.around_attention.post(x, self.attention(self.around_attention.pre(x), valid))
        return self.around_network.post(x, self.network(self.around_network.pre(x), lengths))


class DecoderLayer(nn.Module):
    """A decoder layer: causal self-attention, cross-attention and a feed-forward network.

    Args:
        network: Feed-forward network.
        input_size: Number of features of a step, E.
        num_heads: Number of attention heads.
        dropout: Dropout probability of the sublayer outputs.
        attention_dropout: Dropout probability of the attention weights.
        norm: Place of the layer normalization, as of ``Transformer``.
    """

    def __init__(
        self,
        network: "FeedForward",
        input_size: int,
        num_heads: int,
        dropout: float,
        attention_dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(input_size, num_heads, attention_dropout)
        self.cross = CrossAttention(input_size, num_heads, attention_dropout)
        self.network = network
        self.around_attention = Residual(input_size, dropout, norm)
        self.around_cross = Residual(input_size, dropout, norm)
        self.around_network = Residual(input_size, dropout, norm)

    def forward(
        self, x: Tensor, memory: Memory, state: State, need_weights: bool
    ) -> tuple[Tensor, Tensor | None, State]:
        """Runs the layer.

        Args:
            x: Next steps, (N, T, E).
            memory: Keys and values of the source for this layer, (B, S, 2 * E).
            state: State of the layer before these steps; empty at the beginning.
            need_weights: Whether to return the attention weights over the source, which is slower.

        Returns:
            Output steps, (N, T, E); their attention weights, (N, T, S), or None; and the state
            after them.
        """
        past = state[0] if state else None
        y, seen = self.attention.forward_with_state(self.around_attention.pre(x), past)
        x = self.around_attention.post(x, y)
        y, attention = self.around_cross.pre(x), None
        if need_weights:
            y, attention = self.cross.forward_with_weights(y, memory.encoded, memory.valid)
        else:
            y = self.cross(y, memory.encoded, memory.valid)
        x = self.around_cross.post(x, y)
        y, after = self.network.forward_with_state(self.around_network.pre(x), state[1:])
        return self.around_network.post(x, y), attention, (seen, *after)


class FeedForward(nn.Module):
    """A network of two layers, the first with ReLU (Vaswani et al., equation 2) or recurrent.

    Args:
        size: Number of features of a step, E.
        hidden_size: Number of units of the ReLU layer.
        recurrent: Recurrent network to use instead of the ReLU layer; None for ReLU.

    Raises:
        InputError: If the recurrent layer is bidirectional.
    """

    def __init__(self, size: int, hidden_size: int, recurrent: Recurrent | None) -> None:
        super().__init__()
        if recurrent is not None and recurrent.bidirectional:
            raise InputError(
                "feed_forward must be unidirectional, because a decoder cannot see future tokens, "
                f"got a bidirectional {type(recurrent).__name__}; set bidirectional=false"
            )
        self.inner = nn.Linear(size, hidden_size) if recurrent is None else recurrent
        self.output = nn.Linear(hidden_size if recurrent is None else recurrent.output_size, size)
        for part in (self.inner, self.output):
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Runs both layers.

        Args:
            x: Steps, (B, T, E).
            lengths: Number of steps of each sequence without padding, (B,) int64.

        Returns:
            Output steps, (B, T, E).
        """
        recurrent = isinstance(self.inner, Recurrent)
        y: Tensor = self.output(self.inner(x, lengths) if recurrent else self.inner(x).relu())
        return y

    def forward_with_state(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Runs both layers on the next steps of sequences.

        Args:
            x: Next steps, (N, T, E).
            state: State of the recurrent layer before these steps; empty at the beginning, and
                always empty with ReLU.

        Returns:
            Output steps, (N, T, E), and the state after them.
        """
        if not isinstance(self.inner, Recurrent):
            return self.output(self.inner(x).relu()), ()
        hidden, after = self.inner.forward_with_state(x, state[0] if state else None)
        return self.output(hidden), (after,)


class Residual(nn.Module):
    """Layer normalization, dropout and a skip connection around a sublayer.

    Vaswani et al., sections 3.1 and 5.4.

    Args:
        input_size: Number of features of a step, E.
        dropout: Dropout probability of the sublayer output.
        norm: Place of the layer normalization, as of ``Transformer``.
    """

    def __init__(self, input_size: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm_first = norm == "pre"
        self.norm = nn.LayerNorm(input_size)
        self.dropout = Dropout(dropout)

    def pre(self, x: Tensor) -> Tensor:
        """Computes the input of the sublayer, (B, T, E)."""
        return self.norm(x) if self.norm_first else x

    def post(self, x: Tensor, y: Tensor) -> Tensor:
        """Adds the output of the sublayer, ``y``, to ``x``, both (B, T, E)."""
        x = x + self.dropout(y)
        return x if self.norm_first else self.norm(x)
