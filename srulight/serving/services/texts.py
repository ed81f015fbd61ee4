"""Tasks that read texts: classification, translation, language models, and those of plug-ins."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any, ClassVar

from srulight.runtime.errors import LARGEST_SEED
from srulight.serving.fields import Field, check_names, read_text
from srulight.serving.limits import Limits
from srulight.serving.services.base import Service, plain
from srulight.tasks.language_modeling import Sampler
from srulight.tasks.target_prediction import answer_cells
from srulight.tasks.translation.generation import PredictedTranslation

PROBABILITIES = Field(
    "probabilities", bool, False, "Whether to add the probability of every class or label."
)


class _Texts(Service):
    """Reads texts."""

    kind: ClassVar = "text"

    @property
    def input_schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.limits.max_characters, "example": "a text"}

    def read_input(self, value: Any, name: str) -> str:  # noqa: ANN401
        return read_text(value, name, self.limits.max_characters)


class TextService(_Texts):
    """Answers with the fields of the prediction."""

    def answer(self, inputs: list[str], options: dict[str, Any]) -> list[Any]:
        return [plain(one) for one in self.task.predict(inputs, max(1, len(inputs)))]


class TextTargetService(_Texts):
    """Answers with the columns that ``predict`` writes: the prediction and its probability."""

    options = (PROBABILITIES,)

    def answer(self, inputs: list[str], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict(inputs, max(1, len(inputs)))
        return [target_answer(self.task.target, one, options) for one in found]


def target_answer(target: Any, answer: Any, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Returns an answer of a target as plain data, rounded as ``predict --format=jsonl`` does.

    Args:
        target: The target.
        answer: The answer.
        options: Options of the request.
    """
    cells: dict[str, Any] = plain(answer_cells(target, answer, options["probabilities"], "jsonl"))
    return cells


class TranslationService(_Texts):
    """Answers with the best translation, and with others on request."""

    def __init__(self, task: Any, limits: Limits) -> None:  # noqa: ANN401
        super().__init__(task, limits)
        most = task.search.beam_size
        self.options = (
            Field("n_best", int, 1, "Number of translations of each text.", 1, most),
            Field("attention", bool, False, "Whether to add the tokens and attention weights."),
        )

    def answer(self, inputs: list[str], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict(inputs, max(1, len(inputs)), options["n_best"])
        return [_translated(best, options) for best in found]


def _translated(best: list[PredictedTranslation], options: dict[str, Any]) -> dict[str, Any]:
    def shown(one: PredictedTranslation) -> dict[str, Any]:
        row = {
            "text": one.text,
            "score": round(one.score, 4),
            "log_probability": round(one.log_probability, 4),
        }
        if options["attention"]:
            row |= {
                "tokens": one.tokens,
                "source_tokens": one.source_tokens,
                "attention": [[round(w, 4) for w in row] for row in one.attention.tolist()],
            }
        return row

    others = {} if options["n_best"] == 1 else {"n_best": [shown(one) for one in best]}
    answer: dict[str, Any] = plain({**shown(best[0]), **others})
    return answer


class LanguageModelService(_Texts):
    """Answers with the perplexity of each text, and continues prompts."""

    def __init__(self, task: Any, limits: Limits) -> None:  # noqa: ANN401
        super().__init__(task, limits)
        sampling = Sampler()
        self.generator_fields = (
            Field(
                "length", int, min(200, limits.max_length), "Number of tokens to generate.", 0,
                limits.max_length,
            ),
            Field(
                "temperature", float, sampling.temperature, "Number that the log-probabilities are "
                "divided by; 0 always takes the most likely token.", 0, 1000,
            ),
            Field("top_k", int, 0, "Number of likely tokens to sample from; 0 for all.", 0),
            Field("top_p", float, 1.0, "Probability of the tokens to sample from.", 1e-9, 1),
            Field("seed", int, None, "Seed of the random numbers.", 0, LARGEST_SEED),
        )  # fmt: skip

    def answer(self, inputs: list[str], options: dict[str, Any]) -> list[Any]:
        found = self.task.predict(inputs, max(1, len(inputs)))
        return [plain({"perplexity": round(s.perplexity, 4), "tokens": s.tokens}) for s in found]

    def generator(self, body: dict[str, Any]) -> Callable[[Callable[[], bool]], dict[str, Any]]:
        check_names(body, ["prompt", *(field.name for field in self.generator_fields)])
        prompt = read_text(body.get("prompt", ""), "prompt", self.limits.max_characters)
        options = {field.name: field.read(body) for field in self.generator_fields}
        length = options.pop("length")
        sampler = Sampler(**options)

        def generate(stopped: Callable[[], bool]) -> dict[str, Any]:
            pieces = self.task.generate(prompt, length, sampler)
            return {"text": "".join(takewhile(lambda _: not stopped(), pieces))}

        return generate
