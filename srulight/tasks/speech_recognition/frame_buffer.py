"""Windows that overlap, of a sequence that comes in pieces."""

import torch
from torch import Tensor


class FrameBuffer:
    """Collects pieces of a sequence and hands on what forms whole windows.

    Cut into windows, what it hands on gives each window of the whole sequence once, in order,
    however the sequence came in pieces. A piece costs time in proportion to its length, and less
    than one window is kept, as a copy.

    Args:
        window: Steps that a window sees, at least 1.
        shift: Steps from the start of a window to the start of the next, at least 1; more than
            ``window`` leaves out steps that no window sees.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, window: int, shift: int) -> None:
        if window < 1 or shift < 1:
            raise ValueError(f"window and shift must be at least 1, got {window} and {shift}")
        self.window = window
        self.shift = shift
        # Joined only when they fill a window, so that many short pieces cost no more than a long.
        self._kept: list[Tensor] = []
        self._length = 0
        self._skip = 0

    def __call__(self, piece: Tensor) -> Tensor | None:
        """Adds a piece.

        Args:
            piece: The next steps of the sequence, (T, ...), T from 0.

        Returns:
            From the start of the first window that was not handed on to the end of the last whole
            one, (T', ...); None if no window became whole.
        """
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        piece = piece[skipped:]
        length = self._length + len(piece)
        if length < self.window:
            self._keep(piece)
            return None
        steps = torch.cat([*self._kept, piece]) if self._kept else piece
        count = (length - self.window) // self.shift + 1
        following = count * self.shift
        self._skip = max(following - length, 0)
        self._kept = []
        self._length = 0
        self._keep(steps[following:])
        return steps[: following - self.shift + self.window]

    def _keep(self, steps: Tensor) -> None:
        # A view would hold all of a long piece, and change with it.
        if len(steps):
            self._kept.append(steps.clone())
            self._length += len(steps)
