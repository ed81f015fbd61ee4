"""An encoder and a recurrent decoder with attention between them."""

import torch
from torch import Tensor, nn

from srulight.encoders import SRU, EncoderFactory, RecurrentFactory
from srulight.encoders.base import build_encoder, refuse_bidirectional
from srulight.layers.dropout import Dropout
from srulight.layers.masking import masked_mean, valid_steps
from srulight.tasks.translation.models.attention import Scoring, attention_weights, get_attention
from srulight.tasks.translation.models.base import Decoded, Memory, State, Translator


class AttentionRNN(Translator):
    """An encoder and a recurrent decoder with attention over the encoded source.

    Bahdanau et al. (2015), arXiv 1409.0473; Luong et al. (2015), arXiv 1508.04025, figure 2 and
    equation 5. Each decoder output is a query over the encoded source. The context vector and the
    decoder output together give the features of the step. Without input feeding, the decoder and
    its attention compute all target steps in parallel. The encoder and decoder need not have the
    same kind of state: a linear map of the mean encoded source is added to the embedding of the
    first target token instead of initializing the decoder state.

    Args:
        input_size: Number of features of a token embedding, E, and of the output.
        encoder: Encoder. The default is a bidirectional SRU with 2 layers of 256 units per
            direction and a highway_bias of -2.
        decoder: Decoder, a unidirectional recurrent network. The default is an SRU with 2 layers of
            512 units and a highway_bias of -2.
        attention: Scoring function: "dot" (dot product; needs an encoder and a decoder of equal
            output size), "general" (dot product after a linear map) or "additive" (a one-layer
            network).
        input_feeding: Whether each decoder step also gets the output of the previous step (Luong et
            al., section 3.3). The steps are then computed one after the other, so training takes
            longer.
        dropout: Probability of zeroing a feature of the embeddings, the encoded source and the
            output during training, from 0 to 1.

    Raises:
        ValueError: If the decoder is bidirectional, or "dot" is given two different sizes.
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
        """Encodes sentences, and appends the attention keys to the encoded source."""
        encoded = self.dropout(self.encoder(self.dropout(source), lengths))
        both = torch.cat((encoded, self.attention.keys(encoded)), -1)
        return Memory(both, valid_steps(lengths, source.size(1)))

    def decode(self, target: Tensor, memory: Memory, state: State | None = None) -> Decoded:
        x = self.dropout(target)
        if state is None:
            x = torch.cat((x[:, :1] + self.summary(memory, x.size(0)), x[:, 1:]), 1)
        before = None if state is None else state[0]
        if not self.input_feeding:
            hidden, after = self.decoder.forward_with_state(x, before)
            features, weights = self._attend(hidden, memory)
            return Decoded(features, weights, (after,))
        # Each step needs the output of the previous one, so steps cannot run in parallel.
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
        """Computes outputs, (N, T, H), and attention, (N, T, S), of decoder steps, (N, T, D)."""
        sentences = memory.encoded.size(0)
        encoded, keys = memory.encoded.split(
            (self.memory_size, memory.encoded.size(-1) - self.memory_size), -1
        )
        # All translations of a sentence query the same memory.
        queries = hidden.reshape(sentences, -1, hidden.size(-1))
        weights = attention_weights(self.attention(queries, keys), memory.valid)
        seen = torch.cat((weights @ encoded, queries), -1)
        outputs = self.dropout(self.output(seen).tanh())
        shape = hidden.shape[:2]
        return outputs.reshape(*shape, -1), weights.reshape(*shape, -1)

    def summary(self, memory: Memory, rows: int) -> Tensor:
        """Maps the mean encoded source of each translation to an embedding.

        Args:
            memory: Result of ``encode`` for B sentences.
            rows: Number of translations, N.

        Returns:
            What ``decode`` adds to the embedding of each first target token, (N, 1, E).
        """
        encoded = memory.encoded[..., : self.memory_size]
        mean = masked_mean(encoded * memory.valid.unsqueeze(-1), memory.valid.sum(1))
        summary: Tensor = self.bridge(mean).repeat_interleave(rows // mean.size(0), 0).unsqueeze(1)
        return summary
