"""Exports translation: an encoder, and one step of the decoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srulight.export.networks.base import (
    Model,
    Network,
    Run,
    Shape,
    Sizes,
    Tensors,
    lengths_between,
)
from srulight.export.networks.texts import HEAD, encoder_code, facts_of
from srulight.layers.padding import pad
from srulight.runtime.files import lines
from srulight.tasks.translation.batch import BEGIN_ID, END_ID, PAD_ID
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import Memory
from srulight.tasks.translation.task import Translation
from srulight.text.tokenizers import Bytes

_MOST, _STEPS = 32, 12
"""Number of sentences, and of steps of the decoder, that are compared."""


class _Encoder(nn.Module):
    def __init__(self, task: Translation) -> None:
        super().__init__()
        self.task = task

    def forward(self, source: Tensor, lengths: Tensor) -> Tensors:
        memory = self.task.encode(source, lengths)
        translator = self.task.translator
        if not isinstance(translator, AttentionRNN):
            return tuple(memory)
        return (*memory, translator.summary(memory, source.size(0)))


class _Decoder(nn.Module):
    def __init__(self, task: Translation) -> None:
        super().__init__()
        self.task = task

    def forward(self, tokens: Tensor, encoded: Tensor, valid: Tensor, *rest: Tensor) -> Tensors:
        x = self.task.target_embedding(tokens)
        if isinstance(self.task.translator, AttentionRNN):
            start, *rest = rest  # type: ignore[assignment]
            x = x + start
        decoded = self.task.translator.decode(x, Memory(encoded, valid), tuple(rest))
        scores = self.task.head(decoded.features[:, 0]).log_softmax(-1)
        return scores, decoded.attention[:, 0], *decoded.state


class TranslationNetwork(Network[Translation]):
    """A model of the encoder, and a model of one step of the decoder with a state."""

    reads = "text files with one sentence per line"
    example_reads = "a sentence as arguments"

    @property
    def _has_start(self) -> bool:
        return isinstance(self.task.translator, AttentionRNN)

    def _encoded(self, batch: int, steps: int) -> Tensors:
        source = torch.randint(4, len(self.task.source.tokens), (batch, steps))
        lengths = lengths_between({"batch": batch, "steps": steps})
        return Model("", "", _Encoder(self.task), {}, {}, lambda _: (), {}).run((source, lengths))

    def _state(self, encoded: Tensors, batch: int, past: int) -> Tensors:
        """Returns the state of the decoder after some random tokens."""
        tokens = torch.randint(4, len(self.task.target.tokens), (batch, past))
        with torch.no_grad():
            return self.task.decode(tokens, Memory(*encoded[:2]), None).state

    def _state_shapes(self) -> list[Shape]:
        """Returns the shapes of the parts of the state; some grow with each step."""
        few, more = (self._state(self._encoded(2, 3), 2, past) for past in (3, 5))
        shapes: list[Shape] = []
        for one, other in zip(few, more, strict=True):
            shape: list[str | int] = list(one.shape)
            shape[1] = "batch"
            for axis, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)):
                if a != b:
                    shape[axis] = "past"
            shapes.append(tuple(shape))
        return shapes

    def models(self) -> list[Model]:
        task, shapes = self.task, self._state_shapes()
        target = len(task.target.tokens)
        width = self._encoded(1, 2)[0].size(-1)
        start: dict[str, Shape] = {}
        if self._has_start:
            start = {"start": ("batch", 1, task.embedding_size)}

        def sources(sizes: Sizes) -> Tensors:
            shape = (sizes["batch"], sizes["source_steps"])
            source = torch.randint(4, len(task.source.tokens), shape)
            return source, lengths_between(sizes, "source_steps")

        def step(sizes: Sizes) -> Tensors:
            batch = sizes["batch"]
            encoded = self._encoded(batch, sizes["source_steps"])
            state = self._state(encoded, batch, sizes.get("past", 3))
            return torch.randint(4, target, (batch, 1)), *encoded, *state

        memory: dict[str, Shape] = {
            "encoded": ("batch", "source_steps", width), "valid": ("batch", "source_steps"),
        }  # fmt: skip
        grown = [tuple("past_and_one" if s == "past" else s for s in shape) for shape in shapes]
        return [
            Model(
                "encoder", "from the tokens of sentences to what the decoder attends to",
                _Encoder(task), {"source": ("batch", "source_steps"), "lengths": ("batch",)},
                {**memory, **start}, sources, {},
            ),
            Model(
                "decoder", "from one token and a state, zeros at first"
                + (", and start, zeros after the first step," if start else "")
                + " to the log-probabilities of the next token, the attention and the new state",
                _Decoder(task),
                {
                    "tokens": ("batch", 1), **memory, **start,
                    **{f"state_{i}": shape for i, shape in enumerate(shapes)},
                },
                {
                    "log_probabilities": ("batch", target), "attention": ("batch", "source_steps"),
                    **{f"new_state_{i}": shape for i, shape in enumerate(grown)},
                },
                step, {},
            ),
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        if paths:
            texts = [line for path in paths for _, line in lines(path)]
        else:
            texts = [pair.source for pair in SyntheticNumbers(_MOST, 1, 0).read(Path()).train]
        ids = [torch.tensor([*self.task.source.encode(text), END_ID]) for text in texts[:_MOST]]
        return {"encoder": [pad(ids, torch.device("cpu"))]}

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        source, lengths = real["encoder"][0]
        memory = run["encoder"]((source, lengths))
        batch = len(source)
        sizes = {"batch": batch, "past": 0}
        state: Tensors = tuple(
            torch.zeros([s if isinstance(s, int) else sizes[s] for s in shape])
            for shape in self._state_shapes()
        )
        tokens = torch.full((batch, 1), BEGIN_ID)
        made, scores = [], []
        for _ in range(_STEPS):
            found, _attention, *state = run["decoder"]((tokens, *memory, *state))  # type: ignore[assignment]
            made.append(tokens)
            scores.append(found)
            tokens = found.argmax(1, keepdim=True)
            if self._has_start:
                memory = (*memory[:2], torch.zeros_like(memory[2]))
        with torch.no_grad():
            whole = self.task(source, lengths, torch.cat(made, 1)).log_softmax(-1)
        yield whole, torch.stack(scores, 1)

    def facts(self) -> dict[str, Any]:
        shapes = [[0 if s == "past" else 1 if s == "batch" else s for s in shape]
                  for shape in self._state_shapes()]  # fmt: skip
        return {
            "source": facts_of(self.task.source), "target": facts_of(self.task.target),
            "begin": BEGIN_ID, "end": END_ID, "forbidden": [PAD_ID, BEGIN_ID], "states": shapes,
        }  # fmt: skip

    def example(self) -> str:
        text = 'facts["target"]["space"].join(metadata["target"]["vocabulary"][i] for i in made)'
        if isinstance(self.task.target, Bytes):
            text = 'bytes([i - 4 for i in made if i > 3]).decode("utf-8", "replace")'
        elif not isinstance(self.task.target.vocabulary, list):
            text = "made"
        start = memory = ""
        if self._has_start:
            start = '\n    given["start"][:] = 0  # it belongs to the first step'
            memory = "\n# The state is zeros at first."
        default = "four hundred thirty seven"
        return f"""{HEAD}{encoder_code(self.task.source, "source", "source")}

encoder = onnxruntime.InferenceSession(FOLDER / "encoder.onnx")
decoder = onnxruntime.InferenceSession(FOLDER / "decoder.onnx")
source = np.array([[*encode(" ".join(sys.argv[1:]) or "{default}"), facts["end"]]])
names = [output.name for output in encoder.get_outputs()]
lengths = np.array([source.shape[1]])
given = dict(zip(names, encoder.run(names, {{"source": source, "lengths": lengths}}))){memory}
for i, shape in enumerate(facts["states"]):
    given[f"state_{{i}}"] = np.zeros(shape, np.float32)
made, token = [], facts["begin"]
while len(made) < 2 * source.shape[1] + 16:
    given["tokens"] = np.array([[token]])
    scores, _, *states = decoder.run(None, given)
    given.update({{f"state_{{i}}": state for i, state in enumerate(states)}}){start}
    scores[0, facts["forbidden"]] = -np.inf
    token = int(scores[0].argmax())
    if token == facts["end"]:
        break
    made.append(token)
print({text})
"""
