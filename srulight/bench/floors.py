"""What a layer must do at least: its matrix products, and the traffic of its recurrence."""

from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.bench.cases import Case
from srulight.bench.contenders import Contender
from srulight.bench.timing import Run, turns
from srulight.ops import sru  # noqa: F401  registers the operators
from srulight.ops.product import linear


class Products(torch.autograd.Function):
    """The matrix products of an SRU layer, forward and backward, and nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        return linear(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        rows = grad.view(-1, weight.size(0))
        return linear(rows, weight.t()).view_as(x), rows.t() @ x.reshape(-1, x.size(2))


class Floor(nn.Module):
    """A layer that computes only the matrix product of an SRU layer.

    Args:
        size: Number of features of the input; the output has three times as many.
        own: Whether to compute the product as the SRU layer does, not by ``F.linear``.
    """

    def __init__(self, size: int, own: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * size, size) / size**0.5)
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        if self.own and not torch.compiler.is_compiling():
            return Products.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return F.linear(x, self.weight)


@dataclass(frozen=True)
class Copy(Contender):
    """A copy in memory of as many bytes as the recurrence reads and writes.

    Its time is the least that the recurrence can take at the bandwidth of the memory, or of the
    cache if the tensors fit in there.
    """

    name: str = "copy"
    about: str = "a copy of as many bytes as the recurrence moves"
    needs: tuple[str, ...] = ()
    floor: tuple[str, ...] = ()
    ours: bool = True

    def prepare(self, case: Case) -> Run:
        count = case.moved // 2  # each byte is read and written
        pairs = [
            torch.ones(2, count, dtype=torch.uint8, device=case.device).unbind()
            for _ in range(case.copies)
        ]
        endless = cycle(pairs)

        def run() -> None:
            target, source = next(endless)
            target.copy_(source)

        return run


@dataclass(frozen=True)
class Recurrence(Contender):
    """The recurrence of a layer of SRU (2018) alone, after its matrix product."""

    name: str = "recurrence"
    about: str = "the recurrence of SRU without its matrix product"
    needs: tuple[str, ...] = ()
    floor: tuple[str, ...] = ("copy",)
    ours: bool = True

    def prepare(self, case: Case) -> Run:
        return turns([self._one(case) for _ in range(case.copies)])

    def _one(self, case: Case) -> Run:
        sizes = (case.length, case.batch, case.width)
        passes = recurrence(sizes, case.torch_dtype, case.device)
        return passes["forward + backward" if case.passing == "training" else "forward"]


def recurrence(sizes: tuple[int, int, int], dtype: torch.dtype, device: str) -> dict[str, Run]:
    """Creates the passes of the recurrence of SRU (2018) with skip.

    Args:
        sizes: Steps T, sequences B and features.
        dtype: Dtype of the gates, the inputs and the outputs.
        device: Name of the device.

    Returns:
        Functions by the names ``forward`` and ``forward + backward``.
    """
    steps, batch, size = sizes
    options = (1.0, 0, False)
    u = torch.randn(batch, steps, 3, size, dtype=dtype, device=device)
    x, grad = torch.randn(2, batch, steps, size, dtype=dtype, device=device)
    v, b = torch.randn(2, 2, size, device=device)

    def forward(save: bool) -> Tensor:
        return torch.ops.srulight.sru(u, x, v, b, None, None, None, *options, save)[2]

    def both() -> None:
        c = forward(True)
        torch.ops.srulight.sru_backward(u, x, v, b, None, None, c, grad, None, *options)

    return {"forward": lambda: forward(False), "forward + backward": both}
