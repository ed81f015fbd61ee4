"""Exports sequence prediction."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.export.networks.base import (
    Model,
    Network,
    Run,
    Sizes,
    Tensors,
    initial_state,
    lengths_between,
    some_state,
)  # fmt: skip
from srulight.layers.padding import pad
from srulight.tasks.sequence_prediction.inputs import Steps
from srulight.tasks.sequence_prediction.predict import read_steps
from srulight.tasks.sequence_prediction.task import SequencePrediction

_MOST, _STEPS = 32, 256
"""Number of sequences, and of steps of each, that are compared."""


class _Whole(nn.Module):
    def __init__(self, task: SequencePrediction) -> None:
        super().__init__()
        self.task = task

    def forward(self, inputs: Tensor, lengths: Tensor, *codes: Tensor) -> Tensor:
        outputs: Tensor = self.task(inputs, codes[0] if codes else inputs, lengths)
        return outputs


class _Step(nn.Module):
    def __init__(self, task: SequencePrediction) -> None:
        super().__init__()
        self.task = task

    def forward(self, inputs: Tensor, state: Tensor, *codes: Tensor) -> Tensors:
        encoder = self.task.encoder
        assert isinstance(encoder, Recurrent)
        x = self.task.embed(inputs, codes[0] if codes else inputs)
        encoded, state = encoder.forward_with_state(x, state)
        return self.task.head(encoded)[:, 0], state


class SequenceNetwork(Network[SequencePrediction]):
    """A model of whole sequences, and, if the encoder reads left to right, one of a step."""

    reads = "tables or NumPy files"
    example_reads = "a NumPy file (.npy) with the numeric features of a sequence, (T, F)"

    @property
    def _has_step(self) -> bool:
        takes_last = self.task.per_step or self.task.pooling in ("auto", "last")
        return self.task.is_online and takes_last

    def _codes(self, batch: int, steps: int) -> Tensors:
        sizes = self.task.features.category_sizes
        if not sizes:
            return ()
        return (torch.stack([torch.randint(n, (batch, steps)) for n in sizes], -1),)

    def models(self) -> list[Model]:
        task = self.task
        size, categories = task.features.size, len(task.features.category_sizes)
        codes: dict[str, tuple[str | int, ...]] = (
            {"codes": ("batch", "steps", categories)} if categories else {}
        )

        def whole(sizes: Sizes) -> Tensors:
            batch, steps = sizes["batch"], sizes["steps"]
            return (
                torch.randn(batch, steps, size),
                lengths_between(sizes),
                *self._codes(batch, steps),
            )

        outputs = task.head.out_features
        per = ("batch", "steps", outputs) if task.per_step else ("batch", outputs)
        found = [
            Model(
                "model", "from standardized features to the outputs of the target",
                _Whole(task),
                {"inputs": ("batch", "steps", size), "lengths": ("batch",), **codes},
                {"outputs": per}, whole, {},
            )
        ]  # fmt: skip
        if not self._has_step:
            return found
        encoder = task.encoder
        assert isinstance(encoder, Recurrent)
        layers, _, width = initial_state(encoder).shape
        state = (layers, "batch", width)

        def step(sizes: Sizes) -> Tensors:
            batch = sizes["batch"]
            return torch.randn(batch, 1, size), some_state(encoder, batch), *self._codes(batch, 1)

        one = {"codes": ("batch", 1, categories)} if categories else {}
        return [
            *found,
            Model(
                "step", "from one step and a state, zeros at first, to the outputs of the target "
                "after this step and the new state",
                _Step(task), {"inputs": ("batch", 1, size), "state": state, **one},
                {"outputs": ("batch", outputs), "new_state": state}, step, {},
            ),
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        features = self.task.features
        sequences = read_steps(paths, self.task.check_trained()) if paths else self._walks()
        found = []
        for _, one in zip(range(_MOST), sequences, strict=False):
            part = one.piece(0, _STEPS)
            numbers, codes, _ = features.encode(part.numbers, part.categories, part.times)
            found.append((torch.from_numpy(numbers), torch.from_numpy(codes)))
        device = torch.device("cpu")
        inputs, lengths = pad([numbers for numbers, _ in found], device)
        if not features.category_sizes:
            return {"model": [(inputs, lengths)]}
        return {"model": [(inputs, lengths, pad([one for _, one in found], device)[0])]}

    def _walks(self) -> Iterator[Steps]:
        """Generates random walks with gaps, in the units of the training data."""
        random = np.random.default_rng(1)
        metadata = self.task.features.metadata
        mean, std = np.array(metadata["mean"]), np.array(metadata["std"])
        for length in (40, 7, 1, 100):
            walk = random.normal(size=(length, len(mean))).cumsum(0) / np.sqrt(length)
            numbers = mean + std * walk
            numbers[random.random(numbers.shape) < 0.1] = np.nan
            values = [["", *known] for known in metadata["categories"].values()]
            categories = np.empty((length, len(values)), dtype=object)
            for i, known in enumerate(values):
                categories[:, i] = random.choice(known, length)
            times = random.exponential(size=length).cumsum()
            yield Steps(numbers, categories, times, lambda _: "random walk")

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        if "step" not in run:
            return
        inputs, lengths, *codes = real["model"][0]
        whole = self.models()[0].run((inputs, lengths, *codes))[0]
        encoder = self.task.encoder
        assert isinstance(encoder, Recurrent)
        state = initial_state(encoder, len(inputs))
        for i in range(inputs.size(1)):
            now = [one[:, i : i + 1].contiguous() for one in (inputs, *codes)]
            outputs, state = run["step"]((now[0], state, *now[1:]))
            here = lengths > i if self.task.per_step else lengths == i + 1
            yield (whole[here, i] if self.task.per_step else whole[here]), outputs[here]

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"per_step": self.task.per_step}
        if self._has_step:
            assert isinstance(self.task.encoder, Recurrent)
            found["state"] = list(initial_state(self.task.encoder).shape)
        return found

    def example(self) -> str:
        features = self.task.features
        codes = ""
        if features.category_sizes:
            codes = f"""# Codes of the categories: 0 is unknown, and the known ones count from 1.
given["codes"] = np.zeros((1, len(values), {len(features.category_sizes)}), np.int64)
"""
        interval = ""
        if features.metadata["intervals"] is not None:
            interval = "parts.append(np.zeros((len(values), 1)))  # the mean time between steps\n"
        answer = {
            "class": 'print(target["names"][row.argmax()])',
            "labels": 'print(dict(zip(target["names"], 1 / (1 + np.exp(-row)))))',
            "numbers": 'print(row * target["std"] + target["mean"])',
        }[self.task.target.kind]
        return f"""import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
metadata = json.loads((FOLDER / "metadata.json").read_text("utf-8"))
rules, target = metadata["features"], metadata["target"]
mean, std = np.array(rules["mean"]), np.array(rules["std"])
values = np.load(sys.argv[1]) if sys.argv[1:] else np.random.randn(20, len(mean)) * std + mean

# A missing number is replaced by the last known one, or by the mean.
known = ~np.isnan(values)
last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1))
filled = np.where(last < 0, mean, np.take_along_axis(values, np.maximum(last, 0), 0))
parts = [np.clip((filled - mean) / std, -1e4, 1e4)]
{interval}parts.append(known[:, rules["masked"]])
given = {{"inputs": np.concatenate(parts, 1)[None].astype(np.float32)}}
given["lengths"] = np.array([len(values)])
{codes}session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
(outputs,) = session.run(None, given)
for row in outputs.reshape(-1, outputs.shape[-1]):
    {answer}
"""
