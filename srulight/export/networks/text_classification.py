"""Exports text classification."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srulight.export.networks.base import Model, Network, Sizes, Tensors, lengths_between
from srulight.export.networks.texts import HEAD, encoder_code, facts_of, lines_or_grammar
from srulight.layers.padding import pad
from srulight.tasks.text_classification.task import TextClassification
from srulight.text.tokenizers import UNKNOWN_ID

EXAMPLE_TEXT = "the plot was dull but the acting was charming"
ANSWERS = {
    "class": """print(target["names"][row.argmax()], text, sep="\\t")""",
    "labels": """print(dict(zip(target["names"], 1 / (1 + np.exp(-row)))), text, sep="\\t")""",
    "numbers": """print(row * target["std"] + target["mean"], text, sep="\\t")""",
}
"""How the example prints the outputs of each kind of target."""


class _Outputs(nn.Module):
    def __init__(self, task: TextClassification) -> None:
        super().__init__()
        self.task = task

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        outputs: Tensor = self.task(tokens, lengths)
        return outputs


class ClassifierNetwork(Network[TextClassification]):
    """One model, from the tokens of sentences to the outputs of the target."""

    reads = "text files with one sentence per line"
    example_reads = "sentences as arguments"

    def models(self) -> list[Model]:
        words = len(self.task.tokenizer.tokens)

        def draw(sizes: Sizes) -> Tensors:
            lengths = lengths_between(sizes)
            return torch.randint(1, words, (sizes["batch"], sizes["steps"])), lengths

        outputs = self.task.head.out_features
        return [
            Model(
                "model", "from the tokens of sentences to the outputs of the target",
                _Outputs(self.task), {"tokens": ("batch", "steps"), "lengths": ("batch",)},
                {"outputs": ("batch", outputs)}, draw, {},
            )
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        most = self.task.check_trained()["max_length"]
        texts = lines_or_grammar(paths)
        ids = [torch.tensor(self.task.tokenizer.encode(t)[:most] or [UNKNOWN_ID]) for t in texts]
        return {
            "model": [pad(ids[i : i + 32], torch.device("cpu")) for i in range(0, len(ids), 32)]
        }

    def facts(self) -> dict[str, Any]:
        return {
            "max_length": self.task.check_trained()["max_length"],
            "tokenizer": facts_of(self.task.tokenizer),
        }

    def example(self) -> str:
        return f"""{HEAD}{encoder_code(self.task.tokenizer)}

target = metadata["target"]
session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
texts = sys.argv[1:] or ["{EXAMPLE_TEXT}"]
rows = [encode(text)[: facts["max_length"]] or [1] for text in texts]
lengths = np.array([len(row) for row in rows])
batch = np.zeros((len(rows), lengths.max()), np.int64)
for i, row in enumerate(rows):
    batch[i, : len(row)] = row
(outputs,) = session.run(["outputs"], {{"tokens": batch, "lengths": lengths}})
for text, row in zip(texts, outputs):
    {ANSWERS[self.task.target.kind]}
"""
