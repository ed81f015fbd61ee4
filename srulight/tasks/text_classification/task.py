"""The model of text classification."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from srulight.data.base import IGNORED
from srulight.data.sequences import SequenceBatch
from srulight.encoders import SRU, EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout
from srulight.layers.masking import last_step, masked_max, masked_mean
from srulight.layers.padding import pad
from srulight.runtime.errors import check_range
from srulight.tasks.base import Stage, Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.losses import cross_entropy
from srulight.tasks.prediction import by_length
from srulight.text.tokenizers import PAD_UNKNOWN, SETTINGS, UNKNOWN_ID, from_settings
from srulight.text.word_vectors import pretrained_vectors

Pooling = Literal["auto", "last", "mean", "max"]


class Prediction(NamedTuple):
    """The prediction for a sentence.

    Attributes:
        label: Name of the most probable class.
        probability: Probability of this class, 0 to 1.
    """

    label: str
    probability: float


class TextClassification(Task):
    """Classifies sentences.

    The model embeds the tokens, encodes them, pools the encoder's output into one vector per
    sentence, and predicts a class from it.

    Args:
        embedding_size: Number of features per token, F.
        freeze_embedding: Whether to keep the embeddings at their initial values, which are
            pretrained if the data module has ``vectors``, and random otherwise.
        dropout: Probability of zeroing a feature of the embeddings and of the sentence vector
            during training, 0 to 1.
        word_dropout: Probability of replacing a token by the unknown token during training, 0 to 1.
            This also trains the embedding of out-of-vocabulary tokens.
        pooling: How to pool the encoder's output: "last" takes the last step of each direction,
            "mean" and "max" reduce over all steps, and "auto" means "last" for recurrent encoders
            and "max" for all others.
        encoder: Builds the encoder for ``embedding_size`` input features; an SRU with 2 layers of
            128 units and a dropout of 0.5 if None.
        optimizer: Builds the optimizer from the parameters; Adam with a learning rate of 0.001 if
            None.
        scheduler: Builds the learning-rate schedule from the optimizer. It is stepped after every
            batch (lightning.pytorch.cli.ReduceLROnPlateau: after every epoch). The learning rate is
            constant if None.
        compile: Whether to run training and evaluation through ``torch.compile``, which needs a C++
            compiler on a CPU. Compilation takes about 15 seconds during the first steps, or a few
            seconds if torch has cached the result. LSTM and GRU encoders are not compiled, only
            the layers around them.
    """

    monitor = ("val/accuracy", "max")
    knows = {  # noqa: RUF012
        "tokenizer": SETTINGS, "labels": [str], "max_length": int,
    }  # fmt: skip

    def __init__(
        self,
        embedding_size: int = 300,
        freeze_embedding: bool = False,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        pooling: Pooling = "auto",
        encoder: EncoderFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(1, embedding_size=embedding_size)
        check_range(0, 1, word_dropout=word_dropout)
        self.embedding_size = embedding_size
        self.freeze_embedding = freeze_embedding
        self.word_dropout = word_dropout
        self.pooling = pooling
        self.encoder_factory = encoder or (lambda size: SRU(size, dropout=0.5))
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.tokenizer = from_settings(metadata["tokenizer"], PAD_UNKNOWN)
        classes = len(metadata["labels"])
        words = len(self.tokenizer.tokens)
        self.embedding = nn.Embedding(words, self.embedding_size, padding_idx=0)
        # Embeddings without a pretrained vector start as in Kim (2014).
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.embedding.weight.data[0] = 0
        self.embedding.weight.requires_grad_(not self.freeze_embedding)
        self.encoder = build_encoder(self.encoder_factory, self.embedding_size)
        self.head = nn.Linear(self.encoder.output_size, classes)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        vectors = pretrained_vectors(data, self.embedding_size)
        if vectors is not None:
            self.embedding.weight.data.copy_(vectors)

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Computes the logits of the classes.

        Args:
            tokens: Token ids, (B, T) int64.
            lengths: Number of tokens of each sentence without padding, (B,) int64.

        Returns:
            Unnormalized log-probabilities, (B, classes).
        """
        if self.training and self.word_dropout > 0:
            dropped = torch.rand_like(tokens, dtype=torch.float) < self.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != 0), UNKNOWN_ID)
        encoded = self.encoder(self.dropout(self.embedding(tokens)), lengths)
        return self.head(self.dropout(self._pool(encoded, lengths)))

    def _pool(self, encoded: Tensor, lengths: Tensor) -> Tensor:
        recurrent = isinstance(self.encoder, Recurrent)
        pooling = self.pooling
        if pooling == "auto":
            pooling = "last" if recurrent else "max"
        if pooling == "mean":
            return masked_mean(encoded, lengths)
        if pooling == "max":
            return masked_max(encoded, lengths)
        return last_step(encoded, lengths, recurrent and bool(self.encoder.bidirectional))

    def loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        return cross_entropy(self(batch.inputs, batch.lengths), batch.targets)

    def new_metrics(self) -> dict[str, Metric]:
        # The data module has checked the classes; torchmetrics would check every batch.
        accuracy = MulticlassAccuracy(
            self.head.out_features, average="micro", ignore_index=IGNORED, validate_args=False
        )
        return {"accuracy": accuracy}

    def measure(self, batch: SequenceBatch, metrics: MetricCollection, stage: Stage) -> None:
        logits = self(batch.inputs, batch.lengths)
        metrics["loss"].update(*cross_entropy(logits, batch.targets))
        metrics["accuracy"].update(logits, batch.targets)

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 64) -> list[Prediction]:
        metadata = self.begin_predicting(batch_size)

        def encode(text: str) -> Tensor:
            ids = self.tokenizer.encode(text)[: metadata["max_length"]]
            return torch.tensor(ids or [UNKNOWN_ID])

        def answer(sentences: list[Tensor]) -> list[Prediction]:
            logits = self(*pad(sentences, self.device))
            probabilities, classes = logits.float().softmax(-1).max(-1)
            found = zip(classes.tolist(), probabilities.tolist(), strict=True)
            return [Prediction(metadata["labels"][c], p) for c, p in found]

        return by_length(list(map(encode, self.as_texts(inputs))), len, batch_size, answer)
