"""A recurrent encoder, a recurrent decoder, and attention between them."""

import torch
from torch import Tensor, nn

from srulight.encoders import SRU, EncoderFactory, RecurrentFactory
from srulight.encoders.base import build_encoder, refuse_bidirectional
from srulight.layers.dropout import Dropout
from srulight.layers.masking import masked_mean, valid_steps
from srulight.tasks.translation.models.attention import Scoring, attention_weights, get_attention
from srulight.tasks.translation.models.base import Decoded, Memory, State, Translator


class AttentionRNN(Translator):
    """Recurrent encoder and decoder, and attention of the decoder's steps to the encoder's.

    Bahdanau et al. (2015), arXiv 1409.0473; Luong et al. (2015), arXiv 1508.04025, figure 2 and
    equation 5. Outputs of the decoder are queries to the encoded source; what they attend to and
    themselves make an output. Without input feeding all steps of the decoder and their attention
    are computed at once. The mean of the encoded source is added, through a matrix, to the first
    token's embedding, so that any two recurrent layers fit together.

    Args:
        input_size: Features of a token, E; those of an output, too.
        encoder: Builds the encoder; SRU with 2 layers of 256 units in both directions and
            a highway_bias of -2 if None.
        decoder: Builds the decoder, left to right; SRU with 2 layers of 512 units and a
            highway_bias of -2 if None.
        attention: How a source step is scored: by the "dot" product, which needs encoder and
            decoder of one size, the "general" product, with a matrix between, or "additive", a
            small network.
        input_feeding: Whether each step also sees the output of the last one (Luong et al., section
            3.3): then steps are computed one after the other, and training takes longer.
        dropout: Probability of zeroing a feature of the embeddings, of the encoded source and of an
            output while training, 0 to 1.

    Raises:
        ValueError: If the decoder is bidirectional, or the dot product is of two sizes.
    """

    def __init__(
        self,
        input_size: int,
        encoder: EncoderFactory | None = None,
        decoder: RecurrentFactory | None = None,
        attention: Scoring = "general",
        input_feeding: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.input_size = self.output_size = input_size
        self.input_feeding = input_feeding
        self.dropout = Dropout(dropout)
        build = encoder or (
            lambda size: SRU(size, 256, bidirectional=True, dropout=0.1, highway_bias=-2.0)
        )
        self.encoder = build_encoder(build, input_size)
        self.memory_size = memory_size = self.encoder.output_size
        build_decoder = decoder or (lambda size: SRU(size, 512, dropout=0.1, highway_bias=-2.0))
        self.decoder = build_encoder(build_decoder, input_size * (2 if input_feeding else 1))
        refuse_bidirectional(self.decoder)
        size = self.decoder.output_size
        self.attention = get_attention(attention, size, memory_size)
        self.bridge = nn.Linear(memory_size, input_size)
        self.output = nn.Linear(memory_size + size, input_size)

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encodes sentences; the attention's keys are beside the encoded source."""
        encoded = self.dropout(self.encoder(self.dropout(source), lengths))
        both = torch.cat((encoded, self.attention.keys(encoded)), -1)
        return Memory(both, valid_steps(lengths, source.size(1)))

    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        x = self.dropout(target)
        if state is None:
            x = torch.cat((x[:, :1] + self._summary(memory, len(x)), x[:, 1:]), 1)
        before = None if state is None else state[0]
        if not self.input_feeding:
            hidden, after = self.decoder.forward_with_state(x, before)
            features, weights = self._attend(hidden, memory)
            return Decoded(features, weights, (after,))
        # What an output is fed into comes after it: one step at a time.
        output = x.new_zeros(len(x), 1, self.output_size) if state is None else state[1][0]
        outputs, attention = [], []
        for step in x.split(1, 1):
            hidden, before = self.decoder.forward_with_state(torch.cat((step, output), -1), before)
            output, weights = self._attend(hidden, memory)
            outputs.append(output)
            attention.append(weights)
        assert before is not None
        return Decoded(
            torch.cat(outputs, 1), torch.cat(attention, 1), (before, output.unsqueeze(0))
        )

    def _attend(self, hidden: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Gives outputs, (N, T, H), and weights, (N, T, S), for the decoder's steps, (N, T, D)."""
        sentences = len(memory.encoded)
        encoded, keys = memory.encoded.split(
            (self.memory_size, memory.encoded.size(-1) - self.memory_size), -1
        )
        # The steps of all translations of a sentence are queries to the same memory.
        queries = hidden.reshape(sentences, -1, hidden.size(-1))
        weights = attention_weights(self.attention(queries, keys), memory.valid)
        seen = torch.cat((weights @ encoded, queries), -1)
        outputs = self.dropout(self.output(seen).tanh())
        shape = hidden.shape[:2]
        return outputs.reshape(*shape, -1), weights.reshape(*shape, -1)

    def _summary(self, memory: Memory, rows: int) -> Tensor:
        """Summarizes the sentence of each translation for its first step, (N, 1, E)."""
        encoded = memory.encoded[..., : self.memory_size]
        mean = masked_mean(encoded * memory.valid.unsqueeze(-1), memory.valid.sum(1))
        summary: Tensor = self.bridge(mean).repeat_interleave(rows // len(mean), 0).unsqueeze(1)
        return summary
