"""Exports language models."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from srulight.export.networks.base import (
    Model,
    Network,
    Run,
    Sizes,
    Tensors,
    initial_state,
    some_state,
)  # fmt: skip
from srulight.export.networks.texts import HEAD, encoder_code, facts_of, lines_or_grammar
from srulight.tasks.language_modeling.softmax import AdaptiveSoftmax
from srulight.tasks.language_modeling.task import LanguageModeling

_STEPS = 128
"""Number of tokens of a real text that are compared."""


class _Whole(nn.Module):
    def __init__(self, task: LanguageModeling) -> None:
        super().__init__()
        self.layers, self.encoder = task.token_layers, task.encoder

    def forward(self, tokens: Tensor) -> Tensor:
        return _scores(self.layers, self.encoder(self.layers.embed(tokens)))


class _Step(nn.Module):
    def __init__(self, task: LanguageModeling) -> None:
        super().__init__()
        self.layers, self.encoder = task.token_layers, task.encoder

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        features, state = self.encoder.forward_with_state(self.layers.embed(tokens), state)
        return _scores(self.layers, features)[:, 0], state


def _scores(layers: nn.Module, features: Tensor) -> Tensor:
    """Computes the log-probabilities of all tokens, (B, T, V)."""
    if not isinstance(layers, AdaptiveSoftmax):
        found: Tensor = layers(features)
        return found
    # torch's module writes in place, which has no counterpart in ONNX.
    softmax = layers.softmax
    x = layers.mapping(features)
    head = softmax.head(x).log_softmax(-1)
    first = softmax.shortlist_size
    tails = [
        tail(x).log_softmax(-1) + head[..., first + i : first + i + 1]
        for i, tail in enumerate(softmax.tail)
    ]
    return torch.cat((head[..., :first], *tails), -1)


class LanguageModelNetwork(Network[LanguageModeling]):
    """A model of whole texts, and a model of one step with a state."""

    reads = "text files"
    example_reads = "the beginning of a text as arguments, and continues it"

    def models(self) -> list[Model]:
        words = len(self.task.tokenizer.tokens)
        encoder = self.task.encoder
        layers, _, width = initial_state(encoder).shape

        def tokens(sizes: Sizes) -> Tensors:
            return (torch.randint(words, (sizes["batch"], sizes["steps"])),)

        def step(sizes: Sizes) -> Tensors:
            batch = sizes["batch"]
            return torch.randint(words, (batch, 1)), some_state(encoder, batch)

        state = (layers, "batch", width)
        return [
            Model(
                "model", "from whole texts to the log-probabilities of each next token",
                _Whole(self.task), {"tokens": ("batch", "steps")},
                {"log_probabilities": ("batch", "steps", words)}, tokens, {},
            ),
            Model(
                "step", "from one token and a state, zeros at first, to the log-probabilities of "
                "the next token and the new state",
                _Step(self.task), {"tokens": ("batch", 1), "state": state},
                {"log_probabilities": ("batch", words), "new_state": state}, step, {},
            ),
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        tokenizer = self.task.tokenizer
        end = tokenizer.line_end
        ids = [torch.tensor([end, *tokenizer.encode(t)])[:_STEPS] for t in lines_or_grammar(paths)]
        return {
            "model": [
                (pad_sequence(ids[i : i + 32], batch_first=True),) for i in range(0, len(ids), 32)
            ]
        }

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        (tokens,) = real["model"][0]
        whole = self.models()[0].run((tokens,))[0]
        state = initial_state(self.task.encoder, len(tokens))
        for i in range(tokens.size(1)):
            scores, state = run["step"]((tokens[:, i : i + 1], state))
            yield whole[:, i], scores

    def facts(self) -> dict[str, Any]:
        return {
            "tokenizer": facts_of(self.task.tokenizer), "line_end": self.task.tokenizer.line_end,
            "state": list(initial_state(self.task.encoder).shape),
        }  # fmt: skip

    def example(self) -> str:
        name = 'metadata["tokenizer"]["vocabulary"]'
        text = "bytes([i - rules['specials'] for i in made[1:]]).decode('utf-8', 'replace')"
        if self.task.tokenizer.vocabulary is not None:
            text = f'rules["space"].join({name}[i] for i in made[1:]).replace("<eos>", "\\n")'
        return f"""{HEAD}{encoder_code(self.task.tokenizer)}

# Continues a text: one step of the model per token, in constant time.
session = onnxruntime.InferenceSession(FOLDER / "step.onnx")
random = np.random.default_rng(0)
made = [facts["line_end"], *encode(" ".join(sys.argv[1:]) or "the plot was")]
state = np.zeros(facts["state"], np.float32)
for place in range(len(made) + 40):
    token = np.array([[made[place]]])
    scores, state = session.run(None, {{"tokens": token, "state": state}})
    if place + 1 == len(made):
        chances = np.exp(scores[0].astype(np.float64))
        chances[: facts["tokenizer"]["specials"]] = 0
        made.append(int(random.choice(len(chances), p=chances / chances.sum())))
print({text})
"""
