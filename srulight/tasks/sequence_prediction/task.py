"""The model of sequence prediction."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from srulight.encoders import SRU, EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder, directions
from srulight.layers.dropout import Dropout
from srulight.layers.padding import pad
from srulight.layers.pooling import Pooling, pool
from srulight.runtime.errors import InputError, check_range
from srulight.targets import LossSettings
from srulight.targets.build import KNOWS
from srulight.tasks.base import Stage
from srulight.tasks.compiling import compile_function
from srulight.tasks.prediction import by_length
from srulight.tasks.segment_task import SegmentTask
from srulight.tasks.sequence_prediction.batch import StepsBatch
from srulight.tasks.sequence_prediction.corpora.base import Per
from srulight.tasks.sequence_prediction.features import KNOWS as FEATURES
from srulight.tasks.sequence_prediction.features import Carry, Features
from srulight.tasks.sequence_prediction.inputs import InputReader, Steps
from srulight.tasks.sequence_prediction.predict import SequencePredictor
from srulight.tasks.sequence_prediction.streaming import PIECE, Memory, SequenceStream
from srulight.tasks.target_task import TargetTask


class SequencePrediction(SegmentTask, TargetTask):
    """Predicts one class, several labels or numbers for sequences of numbers, or for their steps.

    The model embeds the categorical features, encodes the steps, and predicts the target from each
    encoded step, or from all of them pooled into one vector. A recurrent encoder in one direction
    predicts online, from the steps so far; a bidirectional one and a CNN also read later steps.

    Args:
        embedding_size: Number of features per categorical feature.
        dropout: Probability of zeroing a feature of the encoder's output during training, 0 to 1.
            Encoders have their own dropout.
        pooling: How to pool the encoder's output if each sequence has a target: "last" takes the
            last step of each direction, "mean" and "max" reduce over all steps, and "auto" means
            "last" for recurrent encoders and "max" for all others.
        encoder: Builds the encoder of the steps; an SRU with 2 layers of 128 units if None. To read
            sequences in segments, it must be recurrent and not bidirectional.
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

    predictor = SequencePredictor
    knows = {  # noqa: RUF012
        "features": FEATURES, "target": KNOWS, "per": str, "horizons": [int],
        "sequence_column": (str, type(None)), "time_column": (str, type(None)),
    }  # fmt: skip

    def __init__(
        self,
        embedding_size: int = 8,
        dropout: float = 0.2,
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
        self.embedding_size = embedding_size
        self.pooling: Pooling = pooling
        self.encoder_factory = encoder or (lambda size: SRU(size, dropout=0.2))
        self.loss_settings = loss
        self.chosen_monitor = monitor
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.features = Features(metadata["features"])
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, self.embedding_size) for size in self.features.category_sizes
        )
        size = self.features.size + len(self.embeddings) * self.embedding_size
        self.encoder = build_encoder(self.encoder_factory, size)
        if metadata["per"] not in get_args(Per):
            raise InputError(
                f"per in the metadata must be {' or '.join(get_args(Per))}, got "
                f"{metadata['per']!r:.60}"
            )
        self.per_step = metadata["per"] == "step"
        self.head = nn.Linear(self.encoder.output_size, self.build_target(metadata).output_size)

    def check(self, data: LightningDataModule) -> None:
        if getattr(data, "segment_length", None) is not None and not self.is_online:
            raise InputError(
                "--data.segment_length needs a recurrent encoder that is not bidirectional, got "
                f"{type(self.encoder).__name__}; remove the option to read whole sequences, or "
                "choose another encoder"
            )

    @property
    def is_online(self) -> bool:
        """Whether the encoder predicts from the steps so far, with a state that it carries."""
        return directions(self.encoder) == 1

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]
        self._next = compile_function(self._next)  # type: ignore[method-assign]

    def forward(self, inputs: Tensor, codes: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs from which the target is predicted.

        Args:
            inputs: Numeric features, (B, T, F), as ``Features`` computes them.
            codes: Codes of the categorical features, (B, T, C) int64.
            lengths: Number of steps of each sequence without padding, (B,) int64.

        Returns:
            Outputs, (B, K), or (B, T, K) if each step has a target: the logits of the classes or
            labels, or standardized numbers.
        """
        encoded = self.encoder(self.embed(inputs, codes), lengths)
        if not self.per_step:
            encoded = pool(encoded, lengths, self.pooling, directions(self.encoder))
        return self.head(self.dropout(encoded))

    def embed(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Appends the embeddings of the categorical features to the numeric ones.

        Args:
            inputs: Numeric features, (B, T, F).
            codes: Codes of the categorical features, (B, T, C) int64; ignored if there are none.

        Returns:
            What the encoder reads, (B, T, F').
        """
        if not len(self.embeddings):
            return inputs
        embedded = [table(codes[..., i]) for i, table in enumerate(self.embeddings)]
        return torch.cat((inputs, *embedded), dim=-1)

    def _next(self, inputs: Tensor, codes: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Computes the outputs of the next steps, (B, T, K), and the state after them."""
        assert isinstance(self.encoder, Recurrent)
        encoded, state = self.encoder.forward_with_state(self.embed(inputs, codes), state)
        return self.head(self.dropout(encoded)), state.detach()

    def outputs(self, batch: StepsBatch, stage: Stage | Literal["train"]) -> Tensor:
        if not batch.is_segment:
            return self(batch.inputs, batch.codes, batch.lengths)
        return self.carry(batch, stage, partial(self._next, batch.inputs, batch.codes))

    @torch.no_grad()
    def predict(self, inputs: Any, batch_size: int = 64) -> list[Any]:  # noqa: ANN401
        """Predicts from sequences.

        Args:
            inputs: One sequence, or a list of them. A sequence is an array or tensor of its numeric
                features in the order of the training data, (T, F), NaN where missing; or a mapping
                from the names of the columns to T values each, such as a dictionary or a data
                frame. The mapping contains the categorical features, too, and the times if the
                model reads them.
            batch_size: Number of sequences per batch.

        Returns:
            For each sequence the answer, a named tuple, or a list of answers, one per step. If the
            model predicts h steps ahead, the answer at a step is the target h steps later.

        Raises:
            InputError: If a sequence cannot be used, or ``batch_size`` is below 1.
        """
        columns = InputReader(self.begin_predicting(batch_size))
        return self.predict_steps(columns.sequences(inputs), batch_size)

    @torch.no_grad()
    def predict_steps(self, sequences: Sequence[Steps], batch_size: int) -> list[Any]:
        """Predicts from sequences that ``InputReader`` has read, as ``predict`` does.

        Args:
            sequences: Sequences with at least one step each.
            batch_size: As for ``predict``.
        """
        self.begin_predicting(batch_size)
        answer = self._answer_online if self.is_online else self._answer
        return by_length(sequences, len, batch_size, answer)

    def _answer(self, sequences: list[Steps]) -> list[Any]:
        """Predicts from a batch of whole sequences."""
        inputs, codes, _ = self._features(sequences, None)
        lengths = torch.tensor([len(steps) for steps in sequences], device=self.device)
        outputs = self(inputs, codes, lengths)
        if not self.per_step:
            return self.target.answers(outputs)
        rows = zip(outputs, lengths.tolist(), strict=True)
        return [self.target.answers(row[:length]) for row, length in rows]

    def _answer_online(self, sequences: list[Steps]) -> list[Any]:
        """Predicts from a batch of sequences piece by piece, so that long ones fit into memory."""
        found: list[list[Any]] = [[] for _ in sequences]
        memory = None
        size = max(1, PIECE // len(sequences))
        for start in range(0, max(map(len, sequences)), size):
            pieces = [steps.piece(start, size) for steps in sequences]
            outputs, memory = self.read_on(pieces, memory)
            for answers, row, piece in zip(found, outputs, pieces, strict=True):
                if self.per_step:
                    answers += self.target.answers(row[: len(piece)])
                elif len(piece):
                    answers[:] = self.target.answers(row[len(piece) - 1 : len(piece)])
        return found if self.per_step else [answer for (answer,) in found]

    def read_on(self, pieces: Sequence[Steps], before: Memory | None) -> tuple[Tensor, Memory]:
        """Reads the next steps of sequences; the encoder must be online.

        Args:
            pieces: The next steps of B sequences. After fewer steps than others, a sequence ends.
            before: What the previous call returned; None at the start of the sequences.

        Returns:
            Outputs, (B, T, K), after each step, of the step or of the sequence so far; and what the
            next call needs.
        """
        inputs, codes, carries = self._features(pieces, before)
        state = None if before is None else before.state
        if self.per_step or self.pooling in ("auto", "last"):
            outputs, state = self._next(inputs, codes, state)
            return outputs, Memory(carries, state, None, 0)
        assert isinstance(self.encoder, Recurrent)
        encoded, state = self.encoder.forward_with_state(self.embed(inputs, codes), state)
        pooled, count = (None, 0) if before is None else (before.pooled, before.steps)
        if self.pooling == "max":
            so_far = encoded.cummax(1).values
            so_far = so_far if pooled is None else so_far.maximum(pooled.unsqueeze(1))
            pooled = so_far[:, -1].clone()  # a view would keep all steps in memory
        else:
            sums = encoded.double().cumsum(1)
            sums = sums if pooled is None else sums + pooled.unsqueeze(1)
            counts = torch.arange(count + 1, count + sums.size(1) + 1, device=sums.device)
            pooled, so_far = sums[:, -1].clone(), (sums / counts.unsqueeze(1)).to(encoded)
        return self.head(so_far), Memory(carries, state, pooled, count + encoded.size(1))

    def _features(
        self, pieces: Sequence[Steps], before: Memory | None
    ) -> tuple[Tensor, Tensor, list[Carry]]:
        """Returns numeric features, (B, T, F), codes, (B, T, C), and what the next steps need."""
        carries = [None] * len(pieces) if before is None else before.carries
        encoded = [
            self.features.encode(piece.numbers, piece.categories, piece.times, carry)
            for piece, carry in zip(pieces, carries, strict=True)
        ]
        inputs, _ = pad([torch.from_numpy(one) for one, _, _ in encoded], self.head.bias)
        codes, _ = pad([torch.from_numpy(one) for _, one, _ in encoded], self.head.bias)
        return inputs, codes, [carry for _, _, carry in encoded]

    def stream(self) -> SequenceStream:
        """Returns an object that predicts a sequence while it arrives.

        Raises:
            InputError: If the encoder needs whole sequences.
        """
        return SequenceStream(self)
