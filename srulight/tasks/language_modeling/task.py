"""The language model."""

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
from srulight.tasks.language_modeling.batch import StreamBatch
from srulight.tasks.language_modeling.generate import TextGenerator
from srulight.tasks.language_modeling.sampling import Sampler
from srulight.tasks.language_modeling.softmax import AdaptiveSoftmax, Softmax, TokenLayers
from srulight.tasks.language_modeling.token_ids import stored_tokenizer
from srulight.tasks.prediction import by_length
from srulight.text.tokenizers import PAD, SETTINGS

# Names of losses in bits, by unit of the tokenizer; the loss of other units becomes a perplexity.
_IN_BITS = {"character": "bits_per_char", "byte": "bits_per_byte"}


class Score(NamedTuple):
    """The score of a line.

    Attributes:
        perplexity: Perplexity of the tokens, including the end of the line; at least 1.
        tokens: Number of tokens, including the end of the line.
    """

    perplexity: float
    tokens: int


class LanguageModeling(Task):
    """Predicts the next token of running text.

    Training reads the text in segments and uses truncated backpropagation through time: the state
    of the encoder carries over from one segment to the next, but gradients do not.

    Args:
        embedding_size: Number of features per token, E.
        tied: Whether the embedding and the softmax share their weights.
        cutoffs: Ids of the first token of each cluster of rarer tokens, in increasing order, for an
            adaptive softmax over a large vocabulary. Each cluster has a quarter of the features of
            the previous one. If None, the model has one full softmax.
        dropout: Probability of zeroing a feature of the embeddings and of the encoder's output
            during training, 0 to 1. Encoders have their own dropout.
        encoder: Builds the encoder for ``embedding_size`` input features; an SRU with 2 layers of
            256 units if None. It must not be bidirectional.
        optimizer: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if
            None.
        scheduler: Builds the learning-rate schedule from the optimizer: Noam, Cosine, Warmup, Decay
            or one of torch's. It is stepped after every batch
            (lightning.pytorch.cli.ReduceLROnPlateau: after every epoch). The learning rate is
            constant if None.
        compile: Whether to run training and evaluation through ``torch.compile``, which needs a C++
            compiler on a CPU. Compilation takes about 30 seconds during the first steps, or a few
            seconds if torch has cached the result. LSTM and GRU encoders and the adaptive softmax
            are not compiled, only the layers around them.
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
                "the encoder of a language model must not be bidirectional; set "
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
        """Computes the log-probabilities of the next token at each step.

        Args:
            tokens: Token ids, (B, T) int64.
            state: State that the previous call returned; None at the start of a text.

        Returns:
            Log-probabilities of the next token in nats, (B, T, V), and the state after the last
            step.
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
        """Returns the loss of each target (float32 or wider), their number, and the state."""
        features, state = self._encode(tokens, state)
        losses = self.token_layers.losses(features.flatten(0, 1), targets.flatten())
        # The number stays on the device, because reading it would make the CPU wait for the GPU.
        return losses, (targets != IGNORED).sum(), state.detach()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.recurrent_state is not None and self.recurrent_state.dim() != 3:
            raise InputError(
                "recurrent_state in the checkpoint must have the shape (L, B, S), got "
                f"{tuple(self.recurrent_state.shape)}"
            )

    def loss(self, batch: StreamBatch) -> tuple[Tensor, Tensor]:
        before = None if batch.is_first else self.recurrent_state
        if before is not None:
            # A run that resumes with another number of tracks starts with empty states.
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
        """Continues a text token by token; the time per token is constant.

        Args:
            prompt: Text to continue; if it is empty, the model starts a new line.
            length: Number of tokens to generate.
            sampler: Samples the tokens; from the unchanged distribution of the model if None.

        Yields:
            Pieces of the generated text, without the prompt.

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
