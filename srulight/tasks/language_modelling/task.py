"""The next token of a running text."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import MetricCollection

from srulight.data.base import IGNORED
from srulight.encoders import SRU, RecurrentFactory
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import well_formed
from srulight.tasks.base import Stage, Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.language_modelling.batch import StreamBatch
from srulight.tasks.language_modelling.generate import TextGenerator
from srulight.tasks.language_modelling.sampling import Sampler
from srulight.tasks.language_modelling.softmax import AdaptiveSoftmax, Softmax, TokenLayers
from srulight.tasks.language_modelling.token_ids import stored_tokenizer
from srulight.tasks.prediction import by_length
from srulight.text.tokenizers import PAD, SETTINGS

# What a loss is reported as in the field, by what a token is; perplexity for any other.
_IN_BITS = {"character": "bits_per_char", "byte": "bits_per_byte"}


class Score(NamedTuple):
    """How well a language model knows a line.

    Attributes:
        perplexity: Of its tokens, the end of the line among them; at least 1.
        tokens: How many these are.
    """

    perplexity: float
    tokens: int


class LanguageModelling(Task):
    """Reads running text token by token, and predicts the next.

    The text comes in segments. The encoder's state goes on from each segment to the next, and
    gradients do not (truncated back-propagation through time).

    Args:
        embedding_size: Features of a token, E.
        tied: Whether the embedding and the softmax have the same weights.
        cutoffs: Token ids at which clusters of rarer tokens begin, going up, for an adaptive
            softmax over a large vocabulary; each cluster has a quarter of the features of the one
            before. One full softmax if None.
        dropout: Probability of zeroing a feature of a token, and of the encoder's output, while
            training, 0 to 1. Encoders have dropouts of their own.
        encoder: Builds the encoder for ``embedding_size`` features; SRU with 2 layers of 256 units
            if None.
        optimizer: Builds the optimiser from the parameters; Adam with a learning rate of 0.001
            if None.
        scheduler: Builds the learning-rate schedule from the optimiser, stepped after every batch:
            Noam, Cosine, Warmup, Decay or torch's (lightning.pytorch.cli.ReduceLROnPlateau: every
            epoch); a constant rate if None.
        compile: Whether to train and measure through ``torch.compile``, which on a CPU needs a C++
            compiler. The first steps take 30 seconds in all, and a few where the same was compiled
            before. An LSTM or GRU, or an adaptive softmax, is not compiled, what surrounds it is.
    """

    monitor = ("val/loss", "min")
    generator = TextGenerator
    knows = {"tokenizer": SETTINGS}  # noqa: RUF012

    def __init__(
        self,
        embedding_size: int = 256,
        tied: bool = True,
        cutoffs: list[int] | None = None,
        dropout: float = 0.1,
        encoder: RecurrentFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(1, embedding_size=embedding_size)
        self.embedding_size = embedding_size
        self.tied = tied
        self.cutoffs = cutoffs
        self.encoder_factory = encoder or (lambda size: SRU(size, hidden_size=256))
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)
        self._eval_state: Tensor | None = None

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.tokenizer = stored_tokenizer(metadata["tokenizer"])
        self.encoder = build_encoder(self.encoder_factory, self.embedding_size)
        if self.encoder.bidirectional:
            raise InputError(
                "a language model must not read what it predicts: set "
                "--model.encoder.bidirectional=false"
            )
        vocabulary_size = len(self.tokenizer.tokens)
        sizes = (vocabulary_size, self.embedding_size, self.encoder.output_size, self.tied)
        self.token_layers: TokenLayers = (
            AdaptiveSoftmax(*sizes, self.cutoffs) if self.cutoffs else Softmax(*sizes)
        )

    def compile_network(self) -> None:
        self._losses = compile_function(self._losses)  # type: ignore[method-assign]

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores what may come after each token.

        Args:
            tokens: Token ids, (B, T) int64.
            state: What the previous call returned; None at the start of a text.

        Returns:
            Log-probabilities of the next token, (B, T, V), and the state after the last one.
        """
        features, state = self._encode(tokens, state)
        return self.token_layers(features.flatten(0, 1)).unflatten(0, tokens.shape), state

    def _encode(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        features, state = self.encoder.forward_with_state(
            self.dropout(self.token_layers.embed(tokens)), state
        )
        return self.dropout(features), state

    def _losses(
        self, tokens: Tensor, targets: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gives the loss of each token in float32 or wider, their number, and the state."""
        features, state = self._encode(tokens, state)
        losses = self.token_layers.losses(features.flatten(0, 1), targets.flatten())
        # The number stays where it is: to look at it would be to wait for a GPU.
        return losses, (targets != IGNORED).sum(), state.detach()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.recurrent_state is not None and self.recurrent_state.dim() != 3:
            raise InputError(
                f"the state of the text must be (L, B, S), got {tuple(self.recurrent_state.shape)}"
            )

    def loss(self, batch: StreamBatch) -> tuple[Tensor, Tensor]:
        before = None if batch.is_first else self.recurrent_state
        if before is not None:
            # Resumed with another number of tracks: no track goes on where one was.
            before = before.to(self.device) if before.size(1) == len(batch.tokens) else None
        losses, count, self.recurrent_state = self._losses(batch.tokens, batch.targets, before)
        return losses.sum(), count

    def measure(self, batch: StreamBatch, metrics: MetricCollection, stage: Stage) -> None:
        before = None if batch.is_first else self._eval_state
        losses, count, self._eval_state = self._losses(batch.tokens, batch.targets, before)
        metrics["loss"].update(losses.double().sum(), count)

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = values["loss"]
        name = _IN_BITS.get(self.tokenizer.unit)
        return {**values, name or "perplexity": loss / math.log(2) if name else loss.exp()}

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 64) -> list[Score]:
        self.begin_predicting(batch_size)
        end, encode = self.tokenizer.line_end, self.tokenizer.encode
        lines = [torch.tensor([end, *encode(text), end]) for text in self.as_texts(inputs)]
        return by_length(lines, len, batch_size, self._scores)

    def _scores(self, lines: list[Tensor]) -> list[Score]:
        ids = pad_sequence(lines, batch_first=True, padding_value=IGNORED).to(self.device)
        targets = ids[:, 1:]
        real = targets != IGNORED
        features, _ = self._encode(ids[:, :-1].clamp_min(0), None)
        losses = self.token_layers.losses(features.flatten(0, 1), targets.flatten())
        means = losses.view_as(targets).double().sum(1) / real.sum(1)
        return [Score(*one) for one in zip(means.exp().tolist(), real.sum(1).tolist(), strict=True)]

    def generate(
        self, prompt: str = "", length: int = 200, sampler: Sampler | None = None
    ) -> Iterator[str]:
        """Writes on, one token at a time; every token takes the same time.

        Args:
            prompt: Text to go on from; the start of a line if empty.
            length: Tokens to write.
            sampler: Draws them; each as often as the model says if None.

        Yields:
            Text, as it comes.

        Raises:
            InputError: If a number is out of range.
        """
        self.check_trained()
        check_range(0, length=length)
        tokenizer = self.tokenizer
        assert tokenizer.line_end is not None
        ids = [tokenizer.line_end, *tokenizer.encode(well_formed(prompt))]
        return tokenizer.decode_stream(self._write(ids, length, sampler or Sampler()), ids[-1])

    @torch.no_grad()
    def _write(self, prompt: list[int], length: int, sampler: Sampler) -> Iterator[int]:
        self.eval()
        state = None
        ids = torch.tensor([prompt], device=self.device)
        for _ in range(length):
            features, state = self._encode(ids, state)
            scores = self.token_layers(features[0, -1:])[0]
            if PAD in self.tokenizer.specials:
                scores[0] = -math.inf
            drawn = sampler(scores)
            yield drawn
            ids = torch.tensor([[drawn]], device=self.device)
