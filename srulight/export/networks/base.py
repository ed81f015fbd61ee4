"""The interface of exported networks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.tasks.base import Task

Tensors = tuple[Tensor, ...]
Shape = tuple[str | int, ...]
"""Sizes of the dimensions of a tensor; a name where the size differs between calls."""
Sizes = dict[str, int]
"""Sizes of the named dimensions."""
Run = Callable[[Tensors], Tensors]
"""Computes the outputs of a model from its inputs."""


@dataclass(frozen=True)
class Model:
    """A part of a network that an export writes as one file.

    Attributes:
        name: Name of the file, without its ending.
        about: What the model computes, as a phrase.
        module: The module, whose ``forward`` takes the inputs and returns the outputs.
        inputs: Shape of each input, by name.
        outputs: Shape of each output, by name.
        draw: Draws random inputs with given sizes of their named dimensions.
        least: Smallest sizes of the named dimensions, where they exceed 1.
    """

    name: str
    about: str
    module: nn.Module
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    draw: Callable[[Sizes], Tensors]
    least: Sizes

    def run(self, inputs: Tensors) -> Tensors:
        """Computes the outputs with PyTorch."""
        with torch.no_grad():
            found = self.module(*inputs)
        return found if isinstance(found, tuple) else (found,)


T = TypeVar("T", bound=Task)


class Network(ABC, Generic[T]):
    """The network of a task as one model or several.

    Args:
        task: The task, in evaluation mode on a CPU.

    Attributes:
        reads: What ``--input`` names, as a phrase.
        example_reads: What the example reads, as a phrase.
        speed_steps: Number of steps for which the speed is measured.
    """

    reads: ClassVar[str]
    example_reads: ClassVar[str]
    speed_steps: ClassVar[int] = 32

    def __init__(self, task: T) -> None:
        self.task = task

    @abstractmethod
    def models(self) -> list[Model]:
        """Returns the models, whose modules share the weights of the task."""

    @abstractmethod
    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        """Reads real inputs.

        Args:
            paths: Files to read; the embedded data if empty.

        Returns:
            Inputs of the models, by name; a model may be left out.

        Raises:
            InputError: If a file cannot be used.
        """

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        """Runs models on the results of one another, where there are several.

        Args:
            run: Function that runs each model, by name.
            real: What ``real`` returned.

        Yields:
            Pairs of tensors that should be equal: of the whole network in PyTorch, and of models.
        """
        yield from ()

    def facts(self) -> dict[str, Any]:
        """Returns what the example needs to know, as plain data for the file of settings."""
        return {}

    @abstractmethod
    def example(self) -> str:
        """Returns a program that uses the ONNX models with onnxruntime and numpy only."""


def lengths_between(sizes: Sizes, name: str = "steps") -> Tensor:
    """Draws lengths from 1 to the number of steps, (B,), of which one is the largest."""
    batch, steps = sizes["batch"], sizes[name]
    lengths = torch.randint(1, steps + 1, (batch,))
    lengths[int(torch.randint(batch, ()))] = steps
    return lengths


def initial_state(encoder: Recurrent, batch: int = 1) -> Tensor:
    """Returns the state before the first step, zeros of shape (L, B, S)."""
    with torch.no_grad():
        weight = next(encoder.parameters())
        _, state = encoder.forward_with_state(weight.new_zeros(1, 1, encoder.input_size))
    return state.new_zeros(state.size(0), batch, state.size(2))


def some_state(encoder: Recurrent, batch: int) -> Tensor:
    """Returns the state after three random steps, (L, B, S)."""
    weight = next(encoder.parameters())
    steps = weight.new_empty(batch, 3, encoder.input_size).normal_()
    with torch.no_grad():
        state: Tensor = encoder.forward_with_state(steps)[1]
    return state
