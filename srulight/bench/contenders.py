"""The interface of what is compared, and layers that are modules of PyTorch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from typing import Literal

import torch
from torch import Tensor, nn

from srulight.bench.cases import Case
from srulight.bench.timing import Run

Layout = Literal["BTF", "TBF", "BFT"]
"""Order of the dimensions of an input: sequences B, steps T and features F."""


class SkippedError(Exception):
    """A contender cannot run in a case; the message says why."""


class Contender(ABC):
    """Something that is timed: a layer with as many output as input features.

    Attributes:
        name: Name in options and tables.
        about: What it is, for the help.
        needs: Modules that must be installed.
        floor: Contenders whose times add up to the least time that this one can take.
        ours: Whether srulight implements it, so that an error is a mistake of srulight's.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    floor: tuple[str, ...]
    ours: bool

    @abstractmethod
    def prepare(self, case: Case) -> Run:
        """Creates a function that runs the contender once.

        Args:
            case: What to run.

        Raises:
            SkippedError: If the contender cannot run in this case.
        """

    def missing(self) -> list[str]:
        """Returns the modules that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


Step = Callable[[int, Tensor], Run]
"""Creates a function that runs one step of streams, from a width and an input, (B, 1, F)."""


@dataclass(frozen=True)
class Layer(Contender):
    """A layer that is a module of PyTorch.

    Attributes:
        make: Creates the module from its number of features.
        layout: Order of the dimensions of the input.
        step: Creates the run of a single step; None if the layer has none.
        dtypes: Dtypes that it supports; empty for all.
        devices: Device types that it is measured on.
        compiles: Whether ``torch.compile`` supports it.
        longest: Largest length to train with on a CPU; 0 means no limit.
    """

    name: str
    about: str
    make: Callable[[int], nn.Module]
    layout: Layout = "BTF"
    step: Step | None = None
    needs: tuple[str, ...] = ()
    floor: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    compiles: bool = True
    longest: int = 0
    ours: bool = False

    def draw(self, case: Case) -> Tensor:
        """Draws an input in the layout that the layer expects."""
        sizes = {"B": case.batch, "T": case.length, "F": case.width}
        shape = [sizes[letter] for letter in self.layout]
        return torch.randn(shape, dtype=case.torch_dtype, device=case.device)

    def prepare(self, case: Case) -> Run:
        self._check(case)
        if case.passing == "step":
            assert self.step is not None
            x = torch.randn(case.batch, 1, case.width, dtype=case.torch_dtype, device=case.device)
            with torch.no_grad(), case.autocast():
                return without_gradients(self.step(case.width, x), case)
        layer = self.make(case.width).to(case.device)
        if case.compiled:
            layer.compile(dynamic=False)
        backward = case.passing == "training"
        layer.train(backward)
        xs = [self.draw(case).requires_grad_(backward) for _ in range(case.copies)]
        if not backward:
            inputs = cycle(xs)
            return without_gradients(lambda: layer(next(inputs)), case)
        with torch.no_grad(), case.autocast():
            grads = [torch.randn_like(output(layer(x))) for x in xs]
        return training(layer, list(zip(xs, grads, strict=True)), case)

    def _check(self, case: Case) -> None:
        """Raises SkippedError if the layer cannot run in this case."""
        if case.device_type not in self.devices:
            raise SkippedError(f"is not measured on {case.device_type}")
        if self.dtypes and case.dtype not in self.dtypes:
            raise SkippedError(f"supports {' and '.join(self.dtypes)} only")
        if case.passing == "step" and self.step is None:
            raise SkippedError("has no single step")
        if case.compiled and not self.compiles:
            raise SkippedError("is not compiled")
        on_cpu = case.device_type == "cpu" and case.passing == "training"
        if on_cpu and 0 < self.longest < case.length:
            raise SkippedError(
                f"takes minutes to train with more than {self.longest} steps on a CPU"
            )


def output(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Returns the outputs of a layer, which may return a state as well."""
    return result if isinstance(result, Tensor) else result[0]


def without_gradients(run: Run, case: Case) -> Run:
    """Creates a function that runs another one without gradients, under the case's autocast."""

    def alone() -> None:
        with torch.no_grad(), case.autocast():
            run()

    return alone


def training(layer: nn.Module, pairs: list[tuple[Tensor, Tensor]], case: Case) -> Run:
    """Creates a function that runs a layer forward and backward.

    Args:
        layer: The layer.
        pairs: Inputs that require gradients, and gradients of their outputs, which take turns.
        case: What is measured.
    """
    endless = cycle(pairs)

    def both() -> None:
        x, grad = next(endless)
        with case.autocast():
            out = output(layer(x))
        out.backward(grad)
        layer.zero_grad()
        x.grad = None

    return both
