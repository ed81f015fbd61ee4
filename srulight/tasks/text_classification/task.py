"""The model of text classification."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from srulight.data.sequences import SequenceBatch
from srulight.encoders import SRU, EncoderFactory
from srulight.encoders.base import build_encoder, directions
from srulight.layers.dropout import Dropout
from srulight.layers.padding import pad
from srulight.layers.pooling import Pooling, pool
from srulight.runtime.errors import check_range
from srulight.targets import LossSettings
from srulight.targets.build import KNOWS
from srulight.tasks.compiling import compile_function
from srulight.tasks.prediction import by_length
from srulight.tasks.target_prediction import TargetPredictor
from srulight.tasks.target_task import TargetTask
from srulight.text.tokenizers import PAD_UNKNOWN, SETTINGS, UNKNOWN_ID, from_settings
from srulight.text.word_vectors import pretrained_vectors


class TextClassification(TargetTask):
    """Classifies sentences, or predicts numbers from them.

    The model embeds the tokens, encodes them, pools the encoder's output into one vector per
    sentence, and predicts from it one class, several labels or numbers: what the corpus provides.

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
        loss: The loss that training minimizes.
        monitor: Validation metric that selects the best checkpoint, such as "val/macro_f1"; if
            None, val/accuracy for classes, val/average_precision for labels and val/mae for
            numbers.
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

    predictor = TargetPredictor
    knows = {  # noqa: RUF012
        "tokenizer": SETTINGS, "target": KNOWS, "max_length": int,
    }  # fmt: skip

    def __init__(
        self,
        embedding_size: int = 300,
        freeze_embedding: bool = False,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        pooling: Pooling = "auto",
        encoder: EncoderFactory | None = None,
        loss: LossSettings = LossSettings(),
        monitor: str | None = None,
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
        self.loss_settings = loss
        self.chosen_monitor = monitor
        self.encoder_factory = encoder or (lambda size: SRU(size, dropout=0.5))
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.tokenizer = from_settings(metadata["tokenizer"], PAD_UNKNOWN)
        words = len(self.tokenizer.tokens)
        self.embedding = nn.Embedding(words, self.embedding_size, padding_idx=0)
        # Embeddings without a pretrained vector start as in Kim (2014).
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.embedding.weight.data[0] = 0
        self.embedding.weight.requires_grad_(not self.freeze_embedding)
        self.encoder = build_encoder(self.encoder_factory, self.embedding_size)
        self.head = nn.Linear(self.encoder.output_size, self.build_target(metadata).output_size)

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        vectors = pretrained_vectors(data, self.embedding_size)
        if vectors is not None:
            self.embedding.weight.data.copy_(vectors)

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs from which the target is predicted.

        Args:
            tokens: Token ids, (B, T) int64.
            lengths: Number of tokens of each sentence without padding, (B,) int64.

        Returns:
            Outputs, (B, K): the logits of the classes or labels, or standardized numbers.
        """
        if self.training and self.word_dropout > 0:
            dropped = torch.rand_like(tokens, dtype=torch.float) < self.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != 0), UNKNOWN_ID)
        encoded = self.encoder(self.dropout(self.embedding(tokens)), lengths)
        pooled = pool(encoded, lengths, self.pooling, directions(self.encoder))
        return self.head(self.dropout(pooled))

    def outputs(self, batch: SequenceBatch, stage: str) -> Tensor:
        return self(batch.inputs, batch.lengths)

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 64) -> list[Any]:
        metadata = self.begin_predicting(batch_size)

        def encode(text: str) -> Tensor:
            ids = self.tokenizer.encode(text)[: metadata["max_length"]]
            return torch.tensor(ids or [UNKNOWN_ID])

        def answer(sentences: list[Tensor]) -> list[Any]:
            return self.target.answers(self(*pad(sentences, self.device)))

        return by_length(list(map(encode, self.as_texts(inputs))), len, batch_size, answer)
