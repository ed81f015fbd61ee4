"""The Transformer, with a feed-forward or a recurrent layer between its attentions."""

import math

import torch
from torch import Tensor, nn

from srulight.encoders import RecurrentFactory
from srulight.layers.dropout import Dropout
from srulight.layers.masking import valid_steps
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.translation.models.base import Decoded, Memory, State, Translator
from srulight.tasks.translation.models.multi_head_attention import draw_keys_values
from srulight.tasks.translation.models.transformer_layers import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Norm,
)


class Transformer(Translator):
    """Encoder and decoder of self-attention and feed-forward layers.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762). Embeddings are multiplied
    by sqrt(E), and sinusoidal positions added (sections 3.4 and 3.5). With ``feed_forward`` a
    recurrent layer replaces the first, ReLU, layer of each feed-forward network (Lei et al. 2018,
    arXiv 1709.02755, the section on machine translation), and sees all steps before.

    Args:
        input_size: Features of a token, E, a multiple of ``num_heads``; those of an output, too.
        hidden_size: Units of the ReLU layer; not used with ``feed_forward``.
        num_layers: Layers of the encoder, and of the decoder.
        num_heads: Attention heads, which share the E features.
        dropout: Probability of zeroing, while training, a feature of the embeddings, or of what an
            attention or feed-forward network adds to its input, 0 to 1.
        attention_dropout: Probability of zeroing an attention weight while training, at least 0 and
            below 1.
        feed_forward: Builds the recurrent layer that replaces the ReLU layer, one for each layer of
            encoder and decoder, left to right; such as SRU with 1 layer of 2048 units without skip.
            ReLU if None.
        norm: Where layer normalisation is: "pre", on the input of each attention and feed-forward
            network and on the output of the last layer, which trains more easily (Xiong et al.
            2020, arXiv 2002.04745), or "post", on the sum of input and output, as published.

    Attributes:
        memory: Maps the encoded source to keys and values of all layers of the decoder.

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
        check_range(
            1, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers,
            num_heads=num_heads,
        )  # fmt: skip
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
        """Encodes sentences as keys and values for all layers of the decoder.

        They are (B, S, num_layers * 2 * E), so that no step of a translation computes them again.
        """
        valid = valid_steps(lengths, source.size(1))
        x = self._embed(source)
        for layer in self.encoder:
            x = layer(x, valid, lengths)
        return Memory(self.memory(self.encoder_norm(x)), valid)

    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        """Reads the next tokens of translations.

        The state is, for each layer, keys and values of all tokens so far, (2, N, heads, T so far,
        E / heads), and the state of its recurrent layer, if it has one.
        """
        x = self._embed(target, 0 if state is None else state[0].size(3))
        layers = len(self.decoder)
        before, after = state or (), ()
        parts = len(before) // layers
        attention = None
        for i, encoded in enumerate(memory.encoded.chunk(layers, -1)):
            own, is_last = Memory(encoded, memory.valid), i == layers - 1
            state = before[i * parts : (i + 1) * parts]
            x, attention, state = self.decoder[i](x, own, state, need_weights=is_last)
            after += state
        assert attention is not None
        return Decoded(self.decoder_norm(x), attention, after)

    def _embed(self, x: Tensor, first: int = 0) -> Tensor:
        """Gives what enters the first layer, (B, T, E), for tokens from position ``first`` on."""
        scaled = x * math.sqrt(self.input_size)
        return self.dropout(scaled + sinusoidal_positions(scaled, first))


def sinusoidal_positions(x: Tensor, first: int = 0) -> Tensor:
    """Encodes the position of each step by sines and cosines of many wavelengths.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762), section 3.5: features 2i
    and 2i + 1 are sine and cosine of position / 10000^(2i / E).

    Args:
        x: Steps that the vectors will be added to, (B, T, E).
        first: Position of the first of them, 0 or more.

    Returns:
        Vectors, (T, E), in the dtype of ``x``.
    """
    size = x.size(-1)
    wide = torch.promote_types(x.dtype, torch.float32)
    places = torch.arange(first, first + x.size(1), dtype=wide, device=x.device)
    even = torch.arange(0, size, 2, dtype=wide, device=x.device)
    angles = places.unsqueeze(-1) * torch.exp(even * (-math.log(10_000) / size))
    # An odd E has one sine more than cosines.
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[:, :size].to(x.dtype)
