"""Exports question answering."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srulight.export.networks.base import Model, Network, Sizes, Tensors, lengths_between
from srulight.export.networks.texts import HEAD, encoder_code, facts_of
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.squad_format import read_squad
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.task import QuestionAnswering

_MOST = 32
"""Number of questions that are compared."""


class _Scores(nn.Module):
    def __init__(self, task: QuestionAnswering) -> None:
        super().__init__()
        self.task = task

    def forward(self, *inputs: Tensor) -> Tensors:
        scores = self.task(*inputs)
        return tuple(one for one in scores if one is not None)


class ReaderNetwork(Network[QuestionAnswering]):
    """One model, from the words of a text and a question to the scores of each word."""

    reads = "JSON files of questions in the format of SQuAD"
    example_reads = "a text and a question as arguments"

    def models(self) -> list[Model]:
        settings = self.task.settings
        words, size = len(settings.tokenizer.tokens), settings.feature_size

        def draw(sizes: Sizes) -> Tensors:
            batch, steps, asked = sizes["batch"], sizes["words"], sizes["question_words"]
            return (
                torch.randint(1, words, (batch, steps)), lengths_between(sizes, "words"),
                torch.rand(batch, steps, size), torch.randint(1, words, (batch, asked)),
                lengths_between(sizes, "question_words"),
            )  # fmt: skip

        per_word = ("batch", "words")
        outputs: dict[str, tuple[str | int, ...]] = {"start": per_word, "end": per_word}
        if settings.no_answer:
            outputs["none"] = ("batch",)
        return [
            Model(
                "model", "from the words of texts and questions to the logits of the first and the "
                "last word of the answer",
                _Scores(self.task),
                {
                    "document": per_word, "lengths": ("batch",),
                    "features": ("batch", "words", size), "question": ("batch", "question_words"),
                    "question_lengths": ("batch",),
                },
                outputs, draw, {},
            )
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        if paths:
            paragraphs = [p for one in paths for p in read_squad(Path(one), "refuse", False)[0]]
        else:
            paragraphs = SyntheticStories(_MOST, 1, 0).read(Path()).train
        pairs = [(p.context, question.text) for p in paragraphs for question in p.questions]
        if not pairs:
            raise InputError(f"--input: expected questions in {', '.join(paths)}, got none")
        batch = self.task.batch_of(pairs[:_MOST])
        return {"model": [tuple(batch[:5])]}

    def facts(self) -> dict[str, Any]:
        settings = self.task.settings
        return {
            "tokenizer": facts_of(settings.tokenizer), "max_answer": self.task.max_answer,
            "feature_size": settings.feature_size,
        }  # fmt: skip

    def example(self) -> str:
        split = encoder_code(self.task.settings.tokenizer)
        more = ""
        if self.task.settings.feature_size > 3:
            more = "# The features after the third need spaCy: lemmas and tags. They stay 0 here.\n"
        none = ""
        if self.task.settings.no_answer:
            none = '\nif scores["none"][0] * 2 > best:\n    print("(no answer)")\n    sys.exit()'
        return f"""{HEAD}{split}

def words(text):
    return list(re.finditer(rules["pattern"], text, re.VERBOSE | re.IGNORECASE))


text, question = sys.argv[1:] or ["Anna moved to Rome. Ben sold apples.", "Where is Anna now?"]
places, asked = words(text), words(question)
forms, sought = [m[0] for m in places], [m[0] for m in asked]
lower, lower_sought = [w.lower() for w in forms], [w.lower() for w in sought]
features = np.zeros((1, len(forms), facts["feature_size"]), np.float32)
features[0, :, 0] = [w in sought for w in forms]
features[0, :, 1] = [w in lower_sought for w in lower]
features[0, :, 2] = [lower.count(w) / len(lower) for w in lower]
{more}given = {{
    "document": np.array([encode(text)]), "lengths": np.array([len(forms)]),
    "features": features, "question": np.array([encode(question)]),
    "question_lengths": np.array([len(sought)]),
}}
session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
names = [output.name for output in session.get_outputs()]
scores = dict(zip(names, session.run(names, given)))
count, most = len(forms), facts["max_answer"]
spans = [(i, j) for i in range(count) for j in range(i, min(i + most, count))]
total = [scores["start"][0, i] + scores["end"][0, j] for i, j in spans]
best = max(total){none}
first, last = spans[total.index(best)]
print(text[places[first].start() : places[last].end()])
"""
