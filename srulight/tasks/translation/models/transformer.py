"""The Transformer, with a feed-forward or a recurrent layer between its attentions."""

import math
from typing import Literal

from torch import Tensor, nn

from srulight.encoders import Recurrent, RecurrentFactory
from srulight.layers.dropout import Dropout
from srulight.layers.masking import valid_steps
from srulight.runtime.errors import InputError
from srulight.tasks.translation.models.base import Decoded, Memory, State, Translator
from srulight.tasks.translation.models.multi_head_attention import (
    CrossAttention,
    SelfAttention,
    draw_keys_values,
)
from srulight.tasks.translation.models.positions import sinusoidal_positions

Norm = Literal["pre", "post"]


class Transformer(Translator):
    """Attention alone, between all steps, with a small network after it that sees one step.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762). Vectors of tokens are
    multiplied by sqrt(E), and sines of their places added (sections 3.4 and 3.5). With
    ``feed_forward`` the first, ReLU, layer of the small network gives way to a recurrent one (Lei
    et al. 2018, arXiv 1709.02755, the section on machine translation), which sees all steps before.

    Args:
        input_size: Features of a token, E, a multiple of ``num_heads``; those of an output, too.
        hidden_size: Units of the small network; with ``feed_forward``, whose outputs count, unused.
        num_layers: Layers of the encoder, and of the decoder.
        num_heads: Attention heads, which share the E features.
        dropout: Probability of zeroing, while training, a feature of what enters the first layer or
            of what a part of a layer adds to its input, 0 to 1.
        attention_dropout: Probability of zeroing an attention weight while training, at least 0 and
            below 1.
        feed_forward: Builds the recurrent layer that takes the place of the ReLU layer, one for
            each layer of encoder and decoder, left to right; such as SRU with 1 layer of 2048 units
            without skip. ReLU if None.
        norm: Where layers are normalised: "pre", the input of each part and the output of the last
            layer, which trains more easily (Xiong et al. 2020, arXiv 2002.04745), or "post", the
            sum of each part's input and output, as published.

    Attributes:
        memory: Keys and values that the decoder's layers look back at, one layer's behind the
            other's.

    Raises:
        ValueError: If a size or probability is out of range, ``num_heads`` does not divide
            ``input_size``, or the recurrent layer is bidirectional.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 2048,
        num_layers: int = 6,
        num_heads: int = 8,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        feed_forward: RecurrentFactory | None = None,
        norm: Norm = "pre",
    ) -> None:
        super().__init__()
        for name, value in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
            ("num_heads", num_heads),
        ):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if input_size % num_heads:
            raise InputError(
                f"num_heads must divide the features of a token, {input_size}, got {num_heads}: "
                "change one of them"
            )
        if not 0 <= attention_dropout < 1:
            raise InputError(
                f"attention_dropout must be at least 0 and below 1, got {attention_dropout}"
            )
        if norm not in ("pre", "post"):
            raise InputError(f"norm must be pre or post, got {norm}")
        self.input_size = self.output_size = input_size
        self.dropout = Dropout(dropout)

        def network() -> FeedForward:
            recurrent = None if feed_forward is None else feed_forward(input_size)
            return FeedForward(input_size, hidden_size, recurrent)

        rest = (input_size, num_heads, dropout, attention_dropout, norm)
        self.encoder = nn.ModuleList(EncoderLayer(network(), *rest) for _ in range(num_layers))
        self.decoder = nn.ModuleList(DecoderLayer(network(), *rest) for _ in range(num_layers))
        self.memory = nn.Linear(input_size, num_layers * 2 * input_size)
        draw_keys_values(self.memory)
        # Sums that were never normalised are, at last.
        pre = norm == "pre"
        self.encoder_norm = nn.LayerNorm(input_size) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(input_size) if pre else nn.Identity()

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Reads sentences.

        What is encoded is what the decoder makes of it, too: keys and values for all its layers,
        (B, S, num_layers * 2 * E), so that no step of a translation makes them again.
        """
        valid = valid_steps(lengths, source.size(1))
        x = self._place(source)
        for layer in self.encoder:
            x = layer(x, valid, lengths)
        return Memory(self.memory(self.encoder_norm(x)), valid)

    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        """Reads the next tokens of translations.

        The state is, for each layer, keys and values of all tokens so far, (2, N, heads, T so far,
        E / heads), and the state of its recurrent layer, if it has one.
        """
        x = self._place(target, 0 if state is None else state[0].size(3))
        layers = len(self.decoder)
        before, after = state or (), ()
        parts = len(before) // layers
        attention = None
        for i, encoded in enumerate(memory.encoded.chunk(layers, -1)):
            own, looks = Memory(encoded, memory.valid), i == layers - 1
            state = before[i * parts : (i + 1) * parts]
            x, attention, state = self.decoder[i](x, own, state, looks)
            after += state
        assert attention is not None
        return Decoded(self.decoder_norm(x), attention, after)

    def _place(self, x: Tensor, first: int = 0) -> Tensor:
        """Gives what enters the first layer, (B, T, E), for tokens the first of which is there."""
        scaled = x * math.sqrt(self.input_size)
        return self.dropout(scaled + sinusoidal_positions(scaled, first))


class EncoderLayer(nn.Module):
    """Attention to the whole sentence, and the small network.

    Args:
        network: The small network; the rest as of :class:`Transformer`.
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
            valid: Which of them are real, (B, S) bool.
            lengths: How many are, (B,) int64.

        Returns:
            As many, (B, S, E).
        """
        x = self.around_attention.post(x, self.attention(self.around_attention.pre(x), valid))
        return self.around_network.post(x, self.network(self.around_network.pre(x), lengths))


class DecoderLayer(nn.Module):
    """Attention to what is written, attention to the source, and the small network.

    Args:
        network: The small network; the rest as of :class:`Transformer`.
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
        self, x: Tensor, memory: Memory, state: State, looks: bool
    ) -> tuple[Tensor, Tensor | None, State]:
        """Runs the layer.

        Args:
            x: Next steps, (N, T, E).
            memory: Keys and values of the source for this layer, (B, S, 2 * E).
            state: That of the layer before the steps; empty at the start.
            looks: Whether to tell where the layer looks, which is slower.

        Returns:
            As many steps, (N, T, E); where they look, (N, T, S), or None; and the state after them.
        """
        past = state[0] if state else None
        y, seen = self.attention.forward_with_state(self.around_attention.pre(x), past)
        x = self.around_attention.post(x, y)
        y, attention = self.around_cross.pre(x), None
        if looks:
            y, attention = self.cross.look(y, memory.encoded, memory.valid)
        else:
            y = self.cross(y, memory.encoded, memory.valid)
        x = self.around_cross.post(x, y)
        y, after = self.network.forward_with_state(self.around_network.pre(x), state[1:])
        return self.around_network.post(x, y), attention, (seen, *after)


class FeedForward(nn.Module):
    """Two layers, the first of them ReLU (Vaswani et al., equation 2) or recurrent.

    Args:
        size: Features of a step, E.
        hidden_size: Outputs of the ReLU layer.
        recurrent: The recurrent layer; ReLU if None.

    Raises:
        InputError: If the recurrent layer is bidirectional.
    """

    def __init__(self, size: int, hidden_size: int, recurrent: Recurrent | None) -> None:
        super().__init__()
        if recurrent is not None and recurrent.bidirectional:
            raise InputError(
                "feed_forward must read left to right, for a decoder has not written what follows: "
                f"got a bidirectional {type(recurrent).__name__}, use bidirectional=false"
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
            lengths: Real steps of each sequence, (B,) int64.

        Returns:
            As many, (B, T, E).
        """
        recurrent = isinstance(self.inner, Recurrent)
        y: Tensor = self.output(self.inner(x, lengths) if recurrent else self.inner(x).relu())
        return y

    def forward_with_state(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Runs both layers on the next steps of sequences.

        Args:
            x: Next steps, (N, T, E).
            state: That of the recurrent layer before them; empty at the start, and of ReLU.

        Returns:
            As many, (N, T, E), and the state after them.
        """
        if not isinstance(self.inner, Recurrent):
            return self.output(self.inner(x).relu()), ()
        hidden, after = self.inner.forward_with_state(x, state[0] if state else None)
        return self.output(hidden), (after,)


class Residual(nn.Module):
    """What is around a part of a layer: a norm, dropout, and the sum with its input.

    Vaswani et al., sections 3.1 and 5.4. Arguments as of :class:`Transformer`.
    """

    def __init__(self, input_size: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm_first = norm == "pre"
        self.norm = nn.LayerNorm(input_size)
        self.dropout = Dropout(dropout)

    def pre(self, x: Tensor) -> Tensor:
        """Gives what enters the part, (B, T, E), of the same."""
        return self.norm(x) if self.norm_first else x

    def post(self, x: Tensor, y: Tensor) -> Tensor:
        """Adds what left the part, ``y``, to what entered, ``x``, both (B, T, E)."""
        x = x + self.dropout(y)
        return x if self.norm_first else self.norm(x)
