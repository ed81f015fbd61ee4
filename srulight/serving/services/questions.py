"""Question answering: pairs of a question and a passage."""

from typing import Any, ClassVar

from srulight.runtime.errors import InputError
from srulight.serving.fields import Field, check_names, read_text, wrong_type
from srulight.serving.limits import RequestError
from srulight.serving.services.base import Service
from srulight.tasks.question_answering.task import PredictedAnswer

_KEYS = ("question", "passage")


class QuestionService(Service):
    """Answers with the part of the passage that answers the question."""

    kind: ClassVar = "question"
    options = (Field("n_best", int, 1, "Largest number of answers to each question.", 1, 100),)

    @property
    def input_schema(self) -> dict[str, Any]:
        text = {"type": "string", "maxLength": self.limits.max_characters}
        return {
            "type": "object",
            "properties": dict.fromkeys(_KEYS, text),
            "required": list(_KEYS),
            "example": {"question": "Who sat?", "passage": "The cat sat."},
        }

    def read_input(self, value: Any, name: str) -> tuple[str, str]:  # noqa: ANN401
        if not isinstance(value, dict):
            wrong_type(name, "object", value)
        check_names(value, _KEYS)
        question, passage = (
            read_text(value.get(key), f"{name}.{key}", self.limits.max_characters) for key in _KEYS
        )
        if not question.strip():
            raise RequestError(422, f"{name}.question must have words, got none")
        return passage, question

    def answer(self, inputs: list[tuple[str, str]], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict(inputs, max(1, len(inputs)), options["n_best"])
        return [_answered(best, options["n_best"] > 1) for best in found]


def _answered(best: list[PredictedAnswer], is_list: bool) -> dict[str, Any]:
    rows = [
        {"text": one.text, "start": one.start, "probability": round(one.probability, 4)}
        for one in best
    ]
    if not rows:
        raise InputError("the passage has no answer of the allowed length; use a longer passage")
    return {**rows[0], "n_best": rows} if is_list else rows[0]
