"""The interface between the server and a task."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from srulight.quantization import QuantizedMatrix
from srulight.serving.fields import Field, check_names, read_list
from srulight.serving.limits import Limits
from srulight.tasks.base import Task
from srulight.tasks.target_task import TargetTask

Options = tuple[tuple[str, Hashable], ...]
"""Names and values of the options of a request, for ``dict``. Equal options may share a batch."""


class Stream(ABC):
    """Answers the messages of one client while they arrive. The methods run in one thread."""

    @property
    @abstractmethod
    def greeting(self) -> dict[str, Any]:
        """What the server sends first."""

    @abstractmethod
    def accept(self, message: bytes | str) -> dict[str, Any]:
        """Reads a message.

        Args:
            message: A binary message, or a text.

        Returns:
            The answer. If it has ``"final": True``, the stream is over.

        Raises:
            RequestError: If the message cannot be used. The stream remains as it was.
            InputError: If the model cannot use it. The stream remains as it was.
        """


class Service(ABC):
    """Reads the requests of a task, and answers them through ``Task.predict``.

    Args:
        task: A task that was loaded from a checkpoint.
        limits: Limits on requests.

    Attributes:
        kind: What an input is, in a word.
        options: Fields of a request besides ``inputs``.
        files: Media types of the files that the task reads, and the endings of their names. If
            there are any, the body of a request is a file, and otherwise it is JSON.
        generator_fields: Fields of a request to generate text besides ``prompt``; none if the task
            does not generate text.
        has_streams: Whether the task has streams.
    """

    kind: ClassVar[str]
    options: tuple[Field, ...] = ()
    files: ClassVar[dict[str, str]] = {}
    generator_fields: tuple[Field, ...] = ()
    has_streams: ClassVar[bool] = False

    def __init__(self, task: Any, limits: Limits) -> None:  # noqa: ANN401
        self.task = task
        self.limits = limits

    @property
    @abstractmethod
    def input_schema(self) -> dict[str, Any]:
        """JSON schema of an input, with an example."""

    @abstractmethod
    def read_input(self, value: Any, name: str) -> Any:  # noqa: ANN401
        """Checks an input of a request.

        Args:
            value: The input, as JSON contains it.
            name: Name of the input for errors, such as "inputs[0]".

        Returns:
            The input, as ``answer`` takes it.

        Raises:
            RequestError: With status 422 or 413, if the input cannot be used.
        """

    @abstractmethod
    def answer(self, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        """Answers a batch of inputs.

        Args:
            inputs: Inputs from ``read_input``, or paths of files.
            options: Values of the options by their names.

        Returns:
            For each input an object of plain data, or for each input a list of such objects.

        Raises:
            InputError: If the task cannot use an input.
        """

    def read(self, body: dict[str, Any]) -> tuple[list[Any], Options]:
        """Reads a request.

        Args:
            body: The request.

        Raises:
            RequestError: With status 422 or 413, if the request cannot be used.
        """
        check_names(body, ["inputs", *(field.name for field in self.options)])
        options = tuple((field.name, field.read(body)) for field in self.options)
        values = read_list(body, "inputs", self.limits.max_inputs)
        return [self.read_input(one, f"inputs[{i}]") for i, one in enumerate(values)], options

    def check_file(self, path: Path) -> None:
        """Checks a file before it enters the queue; runs beside the model.

        Args:
            path: The file.

        Raises:
            RequestError: With status 413, if it is too long.
            InputError: If it cannot be read.
        """
        raise NotImplementedError

    def generator(
        self, body: dict[str, Any]
    ) -> Callable[[Callable[[], bool]], dict[str, Any]] | None:
        """Reads a request to generate text; None if the task does not generate text.

        Args:
            body: The request.

        Returns:
            A function that generates the text. It takes a function that tells whether to stop.

        Raises:
            RequestError: With status 422 or 413, if the request cannot be used.
            InputError: If a number is out of range.
        """
        return None

    def stream(self) -> Stream | None:
        """Returns a new stream; None if the task has none.

        Raises:
            InputError: If the model needs whole inputs.
        """
        return None

    @property
    def facts(self) -> dict[str, Any]:
        """What ``GET /v1/model`` says about the model, as plain data."""
        return describe(self.task)


def describe(task: Task) -> dict[str, Any]:
    """Describes the model of a task as plain data.

    Args:
        task: The task.
    """
    parts = {
        name: type(part).__name__
        for name in ("encoder", "translator", "reader")
        if (part := getattr(task, name, None)) is not None
    }
    labels: dict[str, Any] = {}
    if isinstance(task, TargetTask):
        labels = {"kind": task.target.kind, "labels": task.target.names}
    matrices = (m.shape for m in task.modules() if isinstance(m, QuantizedMatrix))
    count = sum(p.numel() for p in task.parameters()) + sum(n * f for n, f in matrices)
    return {"task": type(task).__name__, **parts, "parameters": count, **labels}


def plain(value: Any) -> Any:  # noqa: ANN401
    """Converts named tuples, tensors and arrays to plain data; what is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Tensor | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value
