"""The base class of tasks that read long sequences in segments."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.base import Stage, Task


class SegmentBatch(Protocol):
    """A batch of segments.

    Attributes:
        lengths: Number of steps of each sequence in this segment, (B,) int64.
        is_first: Whether the sequences begin with this batch; otherwise they continue the previous
            batch.
    """

    @property
    def lengths(self) -> Tensor: ...
    @property
    def is_first(self) -> bool: ...


class SegmentTask(Task):
    """Carries the state of the encoder from each segment of long sequences to the next one."""

    _eval_state: Tensor | None = None

    def carry(
        self,
        batch: SegmentBatch,
        stage: Stage | Literal["train"],
        run: Callable[[Tensor | None], tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Runs the network on a batch of segments, and keeps the state for the next batch.

        Args:
            batch: The batch.
            stage: "train", "val" or "test".
            run: Computes the outputs of the batch, and the state after it, (L, B, S), from the
                state before it; None at the start of the sequences.

        Returns:
            The outputs.
        """
        before = self.recurrent_state if stage == "train" else self._eval_state
        if before is not None:
            # A run that resumes with another batch size starts with empty states.
            fits = not batch.is_first and before.size(1) == len(batch.lengths)
            before = before.to(self.device) if fits else None
        outputs, state = run(before)
        if stage == "train":
            self.recurrent_state = state.detach()
        else:
            self._eval_state = state
        return outputs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.recurrent_state is not None and self.recurrent_state.dim() != 3:
            raise InputError(
                "recurrent_state in the checkpoint must have the shape (L, B, S), got "
                f"{tuple(self.recurrent_state.shape)}"
            )
