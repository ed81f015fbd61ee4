"""One label for a whole sentence."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from srulight.data.base import IGNORED
from srulight.encoders import SRU, EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout
from srulight.layers.masking import last_step, masked_max, masked_mean
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.base import Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.text_classification.batch import TextBatch
from srulight.text.vocabulary import UNKNOWN_INDEX, Vocabulary, get_tokenizer

Pooling = Literal["auto", "last", "mean", "max"]


class Prediction(NamedTuple):
    """What a classifier makes of a sentence.

    Attributes:
        label: Name of the most probable class.
        probability: Its probability, 0 to 1.
    """

    label: str
    probability: float


class TextClassification(Task):
    """Embeds the words, encodes them, pools them into one vector, and picks a class.

    Args:
        embedding_size: Features per word, F.
        freeze_embedding: Whether word vectors stay as they start: random, or pretrained if the
            data have ``vectors``.
        dropout: Probability of zeroing a feature of a word vector, and of the sentence vector,
            while training, 0 to 1.
        word_dropout: Probability of reading a word as unknown while training, 0 to 1; it also
            teaches the model what to make of unknown words.
        pooling: How steps become one vector: "last" takes the step at which each direction has
            read the whole sentence, "mean" and "max" go over all steps, "auto" is "last" for
            recurrent encoders and "max" for others.
        encoder: Builds the encoder for ``embedding_size`` features; SRU with 2 layers of 128 units
            and dropout 0.5 if None.
        optimizer: Builds the optimiser from the parameters; Adam with a learning rate of 0.001
            if None.
        scheduler: Builds the learning-rate schedule from the optimiser, stepped after every batch
            (lightning.pytorch.cli.ReduceLROnPlateau: every epoch); a constant rate if None.
        compile: Whether to train and measure through ``torch.compile``, which on a CPU needs a C++
            compiler. The first steps take 15 seconds in all, and a few where the same was compiled
            before. An LSTM or GRU is not compiled, what surrounds it is.
    """

    monitor = ("val/accuracy", "max")
    knows = {  # noqa: RUF012
        "words": [str], "labels": [str], "tokenizer": str, "lowercase": bool, "max_length": int,
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

    def build(self, metadata: dict[str, Any]) -> None:
        self.vocabulary = Vocabulary(metadata["words"])
        classes = len(metadata["labels"])
        self.embedding = nn.Embedding(len(self.vocabulary), self.embedding_size, padding_idx=0)
        # Unknown words start as Kim (2014) has it, whether or not others are pretrained.
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.embedding.weight.data[0] = 0
        self.embedding.weight.requires_grad_(not self.freeze_embedding)
        self.encoder = build_encoder(self.encoder_factory, self.embedding_size)
        self.head = nn.Linear(self.encoder.output_size, classes)
        self.train_loss = MeanLoss()
        self.val_metrics = _metrics("val/", classes)
        self.test_metrics = _metrics("test/", classes)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        # Data modules of other packages need not know word vectors.
        vectors: Tensor | None = getattr(data, "word_vectors", None)
        if vectors is None:
            return
        if vectors.size(1) != self.embedding_size:
            raise InputError(
                f"the word vectors have {vectors.size(1)} features and embedding_size is "
                f"{self.embedding_size}: set --model.embedding_size={vectors.size(1)}"
            )
        self.embedding.weight.data.copy_(vectors)

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Scores sentences.

        Args:
            tokens: Word indices, (B, T) int64.
            lengths: Real words per sentence, (B,) int64.

        Returns:
            Unnormalised log-probabilities, (B, classes).
        """
        if self.training and self.word_dropout > 0:
            dropped = torch.rand_like(tokens, dtype=torch.float) < self.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != 0), UNKNOWN_INDEX)
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

    def training_step(self, batch: TextBatch, batch_idx: int) -> Tensor:
        losses, count = _losses(self(batch.tokens, batch.lengths), batch.labels)
        total = losses.sum()
        self.train_loss.update(total, count)
        return self.mean_loss(total, count)

    def on_train_epoch_end(self) -> None:
        self._log({"train/loss": self.train_loss})

    def validation_step(self, batch: TextBatch, batch_idx: int) -> None:
        self._measure(self.val_metrics, batch)

    def on_validation_epoch_end(self) -> None:
        self._log(dict(self.val_metrics.items()))

    def test_step(self, batch: TextBatch, batch_idx: int) -> None:
        self._measure(self.test_metrics, batch)

    def on_test_epoch_end(self) -> None:
        self._log(dict(self.test_metrics.items()))

    def _measure(self, metrics: MetricCollection, batch: TextBatch) -> None:
        logits = self(batch.tokens, batch.lengths)
        losses, count = _losses(logits, batch.labels)
        metrics["loss"].update(losses.double().sum(), count)
        metrics["accuracy"].update(logits, batch.labels)

    def _log(self, metrics: dict[str, Metric]) -> None:
        # Already those of all processes.
        values = {name: metric.compute().float() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        self.log_dict(values, prog_bar=True, sync_dist=True)

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 64) -> list[Prediction]:
        metadata = self.check_trained()
        check_range(1, batch_size=batch_size)
        self.eval()
        tokenize = get_tokenizer(metadata["tokenizer"])
        indices = []
        for sentence in self.as_texts(inputs):
            text = sentence.lower() if metadata["lowercase"] else sentence
            words = tokenize(text)[: metadata["max_length"]]
            indices.append(torch.tensor(self.vocabulary.encode(words)))
        predictions = [Prediction("", 0.0)] * len(indices)
        # Sentences of like length together: less padding.
        order = sorted(range(len(indices)), key=lambda i: len(indices[i]))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            tokens = pad_sequence([indices[i] for i in chosen], batch_first=True)
            lengths = torch.tensor([len(indices[i]) for i in chosen])
            logits = self(tokens.to(self.device), lengths.to(self.device))
            probabilities, classes = logits.float().softmax(-1).max(-1)
            for i, c, p in zip(chosen, classes.tolist(), probabilities.tolist(), strict=True):
                predictions[i] = Prediction(metadata["labels"][c], p)
        return predictions


def _losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gives the loss of each sentence in float32 or wider, 0 for padding, and their number."""
    logits = logits.float() if logits.dtype.itemsize < 4 else logits
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    return losses, (labels != IGNORED).sum()


def _metrics(prefix: str, classes: int) -> MetricCollection:
    # No check of each value: classes come out of the data, which checked them.
    accuracy = MulticlassAccuracy(
        classes, average="micro", ignore_index=IGNORED, validate_args=False
    )
    metrics: dict[str, Metric | MetricCollection] = {"loss": MeanLoss(), "accuracy": accuracy}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
