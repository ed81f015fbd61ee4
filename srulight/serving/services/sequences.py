"""Sequence prediction: sequences of numbers, whole or step by step."""

from typing import Any, ClassVar

from srulight.serving.fields import check_names, parse, wrong_type
from srulight.serving.limits import Limits, RequestError
from srulight.serving.services.base import Service, Stream
from srulight.serving.services.texts import PROBABILITIES, target_answer
from srulight.tasks.sequence_prediction import SequencePrediction
from srulight.tasks.sequence_prediction.inputs import InputReader


class SequenceService(Service):
    """Answers with the columns that ``predict`` writes, for each sequence or for each step."""

    kind: ClassVar = "sequence"
    has_streams: ClassVar = True
    options = (PROBABILITIES,)

    def __init__(self, task: SequencePrediction, limits: Limits) -> None:
        super().__init__(task, limits)
        self._columns = InputReader(task.check_trained())

    @property
    def input_schema(self) -> dict[str, Any]:
        number = {"type": ["number", "null"]}
        rows = {"type": "array", "items": {"type": "array", "items": number}}
        columns = {"type": "object", "additionalProperties": {"type": "array"}}
        return {
            "description": f"Steps of {len(self._columns.numbers)} numbers each, or columns by "
            "their names. null stands for a missing number.",
            "oneOf": [rows, columns],
            "maxItems": self.limits.max_steps,
            "example": self._example(),
        }

    def _example(self) -> dict[str, Any]:
        """Columns of a few steps whose numbers alternate around the mean of the training data."""
        features = self.task.check_trained()["features"]
        signs = (0, 1, 0, -1, 0, 1, 0, -1)
        spread = zip(features["numbers"], features["mean"], features["std"], strict=True)
        columns: dict[str, list[Any]] = {
            name: [float(f"{mean + sign * std:.4g}") for sign in signs]
            for name, mean, std in spread
        }
        for name, known in features["categories"].items():
            columns[name] = [known[i % len(known)] for i in range(len(signs))] if known else []
        if self._columns.needs_times:
            columns[self._columns.time] = list(range(len(signs)))
        return columns

    @property
    def facts(self) -> dict[str, Any]:
        columns = [*self._columns.numbers, *self._columns.categories]
        timed = [self._columns.time] if self._columns.needs_times else []
        return {
            **super().facts, "columns": [*columns, *timed], "answers_per_step": self.task.per_step,
            "streams": self.task.is_online,
        }  # fmt: skip

    def read_input(self, value: Any, name: str) -> Any:  # noqa: ANN401
        check_steps(value, name, self.limits.max_steps)
        return self._columns.steps(value, name)

    def answer(self, inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict_steps(inputs, max(1, len(inputs)))
        if not self.task.per_step:
            return [target_answer(self.task.target, one, options) for one in found]
        return [[target_answer(self.task.target, one, options) for one in steps] for steps in found]

    def stream(self) -> Stream:
        return _SequenceStream(self.task, self.limits)


class _SequenceStream(Stream):
    """Answers each step as soon as it arrives.

    A message is ``{"steps": ...}`` with one step or several, ``{"reset": true}``, which begins the
    next sequence, or ``{"end": true}``.
    """

    def __init__(self, task: SequencePrediction, limits: Limits) -> None:
        self._task = task
        self._limits = limits
        self._stream = task.stream()

    @property
    def greeting(self) -> dict[str, Any]:
        return {"columns": [*self._stream.columns.numbers, *self._stream.columns.categories]}

    def accept(self, message: bytes | str) -> dict[str, Any]:
        if isinstance(message, bytes):
            raise RequestError(422, "expected a text message with JSON, got a binary message")
        body = parse(message.encode("utf-8", "replace"))
        check_names(body, ["steps", "probabilities", "reset", "end"])
        options = {"probabilities": PROBABILITIES.read(body)}
        if body.get("end"):
            return {"final": True}
        if body.get("reset"):
            self._stream.reset()
        if "steps" not in body:
            return {"answers": []}
        check_steps(body["steps"], "steps", self._limits.max_steps)
        found = self._stream.accept(body["steps"])
        return {"answers": [target_answer(self._task.target, one, options) for one in found]}


def check_steps(value: object, name: str, most: int) -> None:
    """Checks the form and the length of steps, but not their contents.

    Args:
        value: Rows of numbers, or columns by their names.
        name: Name of the sequence, for errors.
        most: Largest number of steps.

    Raises:
        RequestError: With status 422, if it is neither; 413, if there are too many steps.
    """
    if isinstance(value, dict):
        lengths = [len(column) for column in value.values() if isinstance(column, list)]
    elif isinstance(value, list):
        lengths = [len(value)]
    else:
        wrong_type(name, "array", value)
    if max(lengths, default=0) > most:
        raise RequestError(
            413, f"{name} must have at most {most} steps, got {max(lengths)}; send a stream"
        )
