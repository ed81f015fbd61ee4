"""The Transformer, with ReLU or recurrent layers in its feed-forward networks."""

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
    """An encoder-decoder Transformer.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762). Embeddings are multiplied
    by sqrt(E), and sinusoidal positions are added (sections 3.4 and 3.5). With ``feed_forward``, a
    recurrent layer replaces the first layer, with ReLU, of each feed-forward network (Lei et al.
    2018, arXiv 1709.02755, the section on machine translation).

    Args:
        input_size: Number of features of a token embedding, E, a multiple of ``num_heads``, and of
            the output.
        hidden_size: Number of units of the ReLU layers; ignored with ``feed_forward``.
        num_layers: Number of encoder layers, and of decoder layers.
        num_heads: Number of attention heads, which divide the E features among them.
        dropout: Probability of zeroing a feature of the embeddings and of the output of each
            sublayer during training, from 0 to 1.
        attention_dropout: Probability of zeroing an attention weight during training, at least 0
            and below 1.
        feed_forward: Unidirectional recurrent network that replaces the ReLU layer, built once for
            each layer of encoder and decoder, such as an SRU with 1 layer of 2048 units and no
            skip. The default is the ReLU layer.
        norm: Place of the layer normalization: "pre" normalizes the input of each sublayer and the
            output of the last layer, which trains more easily (Xiong et al. 2020, arXiv
            2002.04745); "post" normalizes the sum of the input and output of each sublayer, as in
            the original paper.

    Attributes:
        memory: Linear map from the encoded source to the keys and values of all decoder layers.

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
                f"num_heads must divide embedding_size ({input_size}), got {num_heads}; change one "
                "of them"
            )
        if not 0 <= attention_dropout < 1:
            raise InputError(
                f"attention_dropout must be at least 0 and below 1, got {attention_dropout}"
            )
        if norm not in ("pre", "post"):
            raise InputError(f"norm must be pre or post, got {norm!r}")
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
        # With "pre", the output of the last layer is a sum that has not been normalized.
        pre = norm == "pre"
        self.encoder_norm = nn.LayerNorm(input_size) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(input_size) if pre else nn.Identity()

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encodes source sentences as the keys and values of all decoder layers.

        These have the shape (B, S, num_layers * 2 * E). Computing them here avoids recomputing them
        at every decoding step.
        """
        valid = valid_steps(lengths, source.size(1))
        x = self._embed(source)
        for layer in self.encoder:
            x = layer(x, valid, lengths)
        return Memory(self.memory(self.encoder_norm(x)), valid)

    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        """Feeds the next target tokens to the decoder.

        The state has, for each layer, the keys and values of all tokens so far, (2, N, heads, T so
        far, E / heads), and the state of its recurrent layer, if there is one.
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
        """Scales embeddings and adds positions, counted from ``first``, (B, T, E)."""
        scaled = x * math.sqrt(self.input_size)
        return self.dropout(scaled + sinusoidal_positions(scaled, first))


def sinusoidal_positions(x: Tensor, first: int = 0) -> Tensor:
    """Computes sinusoidal position encodings.

    Vaswani et al. (2017), Attention Is All You Need (arXiv 1706.03762), section 3.5: features 2i
    and 2i + 1 are the sine and cosine of position / 10000^(2i / E).

    Args:
        x: Steps to which the encodings will be added, (B, T, E).
        first: Position of the first step, 0 or more.

    Returns:
        Encodings, (T, E), in the dtype of ``x``.
    """
    size = x.size(-1)
    wide = torch.promote_types(x.dtype, torch.float32)
    places = torch.arange(first, first + x.size(1), dtype=wide, device=x.device)
    even = torch.arange(0, size, 2, dtype=wide, device=x.device)
    angles = places.unsqueeze(-1) * torch.exp(even * (-math.log(10_000) / size))
    # If E is odd, there is one more sine than cosines.
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[:, :size].to(x.dtype)
