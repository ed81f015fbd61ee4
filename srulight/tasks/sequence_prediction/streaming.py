"""Predicts a sequence while it arrives."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from srulight.encoders import Recurrent
from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction.features import Carry
from srulight.tasks.sequence_prediction.inputs import InputReader, Steps, floats, has_columns

if TYPE_CHECKING:
    from srulight.tasks.sequence_prediction.task import SequencePrediction

PIECE = 1 << 15
"""Number of steps, of all sequences of a batch together, that a model reads at a time."""


class Memory(NamedTuple):
    """What a model keeps of the steps that it has read.

    Attributes:
        carries: What the features of the next steps depend on, one per sequence.
        state: State of the encoder, (L, B, S).
        pooled: Sums or maxima of the encoded steps, (B, H); None if pooling takes the last step.
        steps: Number of steps.
    """

    carries: list[Carry]
    state: Tensor
    pooled: Tensor | None
    steps: int


class SequenceStream:
    """Predicts one sequence step by step, in constant time and memory per step.

    The answers are those of the whole sequence. If the model gives one answer per sequence, the
    answer after each step is that of the sequence so far.

    Args:
        task: The task. It must not be trained meanwhile.

    Raises:
        InputError: If the encoder needs whole sequences.
    """

    def __init__(self, task: "SequencePrediction") -> None:
        self.columns = InputReader(task.check_trained())
        if not task.is_online:
            kind = "a bidirectional " if isinstance(task.encoder, Recurrent) else ""
            raise InputError(
                "streaming needs a recurrent encoder with bidirectional=False, got "
                f"{kind}{type(task.encoder).__name__}; train such an encoder, or predict whole "
                "sequences"
            )
        self._task = task.eval()
        self.reset()

    def reset(self) -> None:
        """Begins the next sequence."""
        self._memory: Memory | None = None
        self._time: float | None = None

    def accept(self, inputs: Any) -> list[Any]:  # noqa: ANN401
        """Reads the next steps.

        Args:
            inputs: One step, (F,), or several, (T, F), in the order of the columns in training; or
                a mapping from the names of the columns to a value, or to T values.

        Returns:
            The answer after each step.

        Raises:
            InputError: If the steps cannot be used, as for ``SequencePrediction.predict``, or their
                times do not follow those of the steps before. The stream then remains as it was.
        """
        if not has_columns(inputs):
            inputs = np.atleast_2d(floats(inputs, "inputs"))
        return self.advance(self.columns.steps(inputs, "inputs"))

    @torch.no_grad()
    def advance(self, steps: Steps) -> list[Any]:
        """Reads the next steps, as ``accept`` does.

        Args:
            steps: At least one step.
        """
        steps.check_times(self._time)
        answers: list[Any] = []
        for piece in steps.pieces(PIECE):
            outputs, self._memory = self._task.read_on([piece], self._memory)
            answers += self._task.target.answers(outputs[0])
        if steps.times is not None:
            self._time = float(steps.times[-1])
        return answers
