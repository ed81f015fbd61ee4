"""What is measured: the sizes, the passes and the circumstances."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import torch

from srulight.bench import timing

Pass = Literal["forward", "training", "step"]
PASSES: tuple[Pass, ...] = get_args(Pass)
TITLES = {"forward": "forward", "training": "forward + backward", "step": "one step"}

PAPER = ((32, 256), (128, 512))
"""Length and width of the two settings in figure 2 of the SRU paper; the batch size is 32."""

NUMBERS = {"forward": 5, "training": 14, "step": 5}
"""Numbers that the recurrence reads or writes per element, that is per channel of a step of a
sequence. Forward, it reads three gates and the skip, and writes an output. Backward, it reads five
numbers and writes four."""


@dataclass(frozen=True)
class Case:
    """One setting that all contenders are measured in.

    Attributes:
        passing: What runs: ``forward`` without gradients, ``training`` (forward and backward), or
            ``step`` (the next step of a stream, given the state, without gradients).
        length: Number of steps T; 1 for ``step``.
        width: Number of features of the input and of the output.
        batch: Number of sequences, or of streams, B.
        dtype: Dtype of the inputs. Half types run under autocast, with float32 weights.
        threads: Number of CPU threads.
        device: Name of the device.
        compiled: Whether the layers run through ``torch.compile``.
        clock: Which time counts on a CPU.
    """

    passing: Pass
    length: int
    width: int
    batch: int
    dtype: str = "float32"
    threads: int = 1
    device: str = "cpu"
    compiled: bool = False
    clock: timing.Clock = "wall"

    @property
    def torch_dtype(self) -> torch.dtype:
        """Dtype of the inputs."""
        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def device_type(self) -> str:
        """Type of the device, without its number."""
        return self.device.partition(":")[0]

    @property
    def elements(self) -> int:
        """Number of elements of the input, and of the output."""
        return self.length * self.batch * self.width

    @property
    def moved(self) -> int:
        """Bytes that the recurrence reads and writes at least."""
        return NUMBERS[self.passing] * self.elements * self.torch_dtype.itemsize

    @property
    def copies(self) -> int:
        """Number of inputs that take turns: on a GPU, so many that none is in the cache."""
        on_gpu = self.device_type == "cuda" and self.passing != "step"
        return timing.copies(self.elements, self.torch_dtype) if on_gpu else 1

    def autocast(self) -> torch.autocast:
        """Creates the context in which the layers run."""
        is_half = self.torch_dtype.itemsize == 2
        dtype = self.torch_dtype if is_half else torch.bfloat16
        return torch.autocast(self.device_type, dtype, enabled=is_half)


def sizes(lengths: Sequence[int] | None, widths: Sequence[int] | None) -> list[tuple[int, int]]:
    """Returns all combinations of lengths and widths, or the paper's two if neither is given.

    Args:
        lengths: Numbers of steps; None means 32 if widths are given.
        widths: Numbers of features; None means 256 if lengths are given.
    """
    if lengths is None and widths is None:
        return list(PAPER)
    return list(product(lengths or [PAPER[0][0]], widths or [PAPER[0][1]]))


def grid(
    passes: Sequence[Pass],
    shapes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    streams: Sequence[int],
    dtypes: Sequence[str],
    threads: Sequence[int],
    device: str,
    compiled: Sequence[bool],
    clock: timing.Clock = "wall",
) -> list[list[Case]]:
    """Lists the cases, grouped into those that differ in the pass only.

    Args:
        passes: Passes to measure.
        shapes: Pairs of length and width.
        batches: Numbers of sequences.
        streams: Numbers of streams that advance together, for the pass ``step``.
        dtypes: Dtypes of the inputs.
        threads: Numbers of CPU threads.
        device: Name of the device.
        compiled: Whether to compile the layers. Single steps are never compiled.
        clock: Which time counts on a CPU.
    """
    groups = []
    whole = [name for name in passes if name != "step"]
    for one in product(dtypes, threads, compiled):
        for (length, width), batch in product(shapes, batches):
            first = [(name, length, width, batch) for name in whole]
            groups.append([Case(*size, one[0], one[1], device, one[2], clock) for size in first])
        if "step" in passes and not one[2]:
            for width, count in product(dict.fromkeys(width for _, width in shapes), streams):
                groups.append([Case("step", 1, width, count, *one[:2], device, clock=clock)])
    return [group for group in groups if group]
