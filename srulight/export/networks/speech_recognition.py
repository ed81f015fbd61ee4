"""Exports speech recognition."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.encoders.base import directions
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
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.predict import recordings_in
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.text.tokenizers import Bytes, Words

_MOST = 8
"""Number of recordings that are compared."""


class _Frames(nn.Module):
    """Computes standardized frames with matrix products only, in float64.

    Subtracting the mean, pre-emphasis, window and Fourier transform are linear, so that one matrix
    stands for them all.
    """

    transform: Tensor
    filters: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, frontend: Frontend) -> None:
        super().__init__()
        bank = frontend.filter_bank
        assert bank is not None
        self.window, self.shift, self.floor = (
            bank.window,
            bank.shift,
            torch.finfo(torch.float32).eps,
        )
        frames = torch.eye(bank.window, dtype=torch.float64)
        frames = frames - frames.mean(1, keepdim=True)
        before = torch.cat((frames[:, :1], frames[:, :-1]), 1)
        frames = (frames - bank.preemphasis * before) * bank.povey.double()
        spectrum = torch.fft.rfft(frames, bank.fft_size)
        self.register_buffer("transform", torch.cat((spectrum.real, spectrum.imag), 1))
        self.register_buffer("filters", bank.filters.double())
        self.normalization = frontend.normalization
        settings = frontend.settings
        self.register_buffer("mean", torch.tensor(settings["mean"], dtype=torch.float64))
        self.register_buffer("std", torch.tensor(settings["std"], dtype=torch.float64))

    def forward(self, samples: Tensor) -> Tensor:
        windows = samples.double().unfold(0, self.window, self.shift)
        real, imaginary = (windows @ self.transform).chunk(2, -1)
        power = (real * real + imaginary * imaginary) @ self.filters
        frames = power.clamp_min(self.floor).log()
        if self.normalization == "global":
            frames = (frames - self.mean) / self.std
        elif self.normalization == "utterance":
            frames = frames - frames.mean(0, keepdim=True)
            deviation = (frames * frames).mean(0, keepdim=True).sqrt()
            frames = frames / deviation.clamp_min(1e-5)
        return frames.float()


class _Whole(nn.Module):
    def __init__(self, task: SpeechRecognition) -> None:
        super().__init__()
        self.subsampling, self.encoder, self.head = task.subsampling, task.encoder, task.head

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensors:
        x, steps = self.subsampling(frames, lengths)
        return self.head(self.encoder(x, steps)).log_softmax(-1), steps


class _Step(nn.Module):
    def __init__(self, task: SpeechRecognition) -> None:
        super().__init__()
        self.subsampling, self.encoder, self.head = task.subsampling, task.encoder, task.head

    def forward(self, frames: Tensor, state: Tensor) -> Tensors:
        x, _ = self.subsampling(frames)
        assert isinstance(self.encoder, Recurrent)
        encoded, state = self.encoder.forward_with_state(x, state)
        return self.head(encoded)[:, 0].log_softmax(-1), state


class SpeechNetwork(Network[SpeechRecognition]):
    """A model of the features, one of whole recordings, and one of a step with a state."""

    reads = "audio files or folders of them, or files of frames (.npy)"
    example_reads = "a WAV file of 16 bits"

    def __init__(self, task: SpeechRecognition) -> None:
        super().__init__(task)
        if task.frontend.filter_bank is None:
            type(self).example_reads = "a file of frames (.npy)"

    def models(self) -> list[Model]:
        task = self.task
        frames, tokens = task.subsampling.input_size, len(task.tokenizer.tokens)
        # A program of torch.export needs at least two steps.
        least = task.subsampling.window + task.subsampling.shift

        def whole(sizes: Sizes) -> Tensors:
            shape = (sizes["batch"], sizes["frames"], frames)
            return torch.randn(shape), lengths_between(sizes, "frames")

        found = [
            Model(
                "model", "from frames to the log-probabilities of the tokens at each step, of "
                "which the blank is 0, and the number of steps",
                _Whole(task), {"frames": ("batch", "frames", frames), "lengths": ("batch",)},
                {"log_probabilities": ("batch", "steps", tokens), "steps": ("batch",)}, whole,
                {"frames": least},
            )
        ]  # fmt: skip
        bank = task.frontend.filter_bank
        if bank is not None:
            found.append(
                Model(
                    "features", f"from samples of {bank.sample_rate} Hz, from -1 to 1, to frames",
                    _Frames(task.frontend), {"samples": ("samples",)},
                    {"frames": ("frames", frames)},
                    lambda sizes: (torch.rand(sizes["samples"]) - 0.5,),
                    {"samples": bank.window + bank.shift},
                )
            )  # fmt: skip
        if directions(task.encoder) == 1:
            encoder = task.encoder
            assert isinstance(encoder, Recurrent)
            layers, _, width = initial_state(encoder).shape
            window, state = task.subsampling.window, (layers, "batch", width)

            def step(sizes: Sizes) -> Tensors:
                batch = sizes["batch"]
                return torch.randn(batch, window, frames), some_state(encoder, batch)

            found.append(
                Model(
                    "step", f"from {window} frames, of which the next step skips "
                    f"{task.subsampling.shift}, and a state, zeros at first, to the "
                    "log-probabilities of one step and the new state",
                    _Step(task), {"frames": ("batch", window, frames), "state": state},
                    {"log_probabilities": ("batch", tokens), "new_state": state}, step, {},
                )
            )  # fmt: skip
        return found

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        frontend = self.task.frontend
        bank = frontend.filter_bank
        if bank is None:
            files = [Path(path) for path in paths]
            frames = [frontend.standardize(frontend.frames([path])) for path in files]
            frames = frames or [torch.randn(100, self.task.subsampling.input_size)]
            return {"model": [pad(frames[:_MOST], torch.device("cpu"))]}
        if paths:
            files = [Path(file) for path in paths for file in recordings_in(Path(path))]
        else:
            corpus = SyntheticDTMF(_MOST, 1, 0)
            files = [path for one in corpus.read(Path()).train for path in one.audio]
        samples = [frontend.samples([path]) for path in files[:_MOST]]
        least = bank.window + bank.shift * self.task.subsampling.window
        samples = [one for one in samples if len(one) >= least]
        if not samples:
            raise InputError(
                f"--input: expected recordings of at least {least / bank.sample_rate:.2f} s, got "
                "shorter ones only"
            )
        frames = [frontend.standardize(bank(one)) for one in samples]
        batch = pad(frames, torch.device("cpu"))
        return {"model": [batch], "features": [(one,) for one in samples]}

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        if "features" in run:
            frontend = self.task.frontend
            assert frontend.filter_bank is not None
            for (samples,) in real["features"]:
                expected = frontend.standardize(frontend.filter_bank(samples))
                yield expected, run["features"]((samples,))[0]
        if "step" not in run:
            return
        frames, lengths = real["model"][0]
        whole, _ = self.models()[0].run((frames, lengths))
        encoder, subsampling = self.task.encoder, self.task.subsampling
        assert isinstance(encoder, Recurrent)
        state = initial_state(encoder, len(frames))
        # Padded frames differ, so that only the steps of the shortest recording are compared.
        for i in range(int(subsampling.steps(lengths).min())):
            start = i * subsampling.shift
            part = frames[:, start : start + subsampling.window].contiguous()
            scores, state = run["step"]((part, state))
            yield whole[:, i], scores

    def facts(self) -> dict[str, Any]:
        bank = self.task.frontend.filter_bank
        found: dict[str, Any] = {
            "sample_rate": None if bank is None else bank.sample_rate,
            "window": self.task.subsampling.window, "shift": self.task.subsampling.shift,
            "step_seconds": self.task.step_seconds,
            "space": " " if isinstance(self.task.tokenizer, Words) else "",
        }  # fmt: skip
        if directions(self.task.encoder) == 1:
            assert isinstance(self.task.encoder, Recurrent)
            found["state"] = list(initial_state(self.task.encoder).shape)
        assert math.isfinite(found["step_seconds"])
        return found

    def example(self) -> str:
        head = """import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
names = ("settings.json", "metadata.json")
settings, metadata = (json.loads((FOLDER / name).read_text("utf-8")) for name in names)
facts = settings["facts"]
"""
        read = """
with wave.open(sys.argv[1]) as file:
    assert file.getsampwidth() == 2 and file.getnchannels() == 1
    assert file.getframerate() == facts["sample_rate"]
    samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
session = onnxruntime.InferenceSession(FOLDER / "features.onnx")
(frames,) = session.run(None, {"samples": samples})
"""
        if self.task.frontend.filter_bank is None:
            head = head.replace("import wave\n", "")
            read = "\nframes = np.load(sys.argv[1]).astype(np.float32)  # (T, F), standardized\n"
        text = 'print(facts["space"].join(tokens[i] for i in found))'
        if isinstance(self.task.tokenizer, Bytes):
            text = 'print(bytes([i - 1 for i in found]).decode("utf-8", "replace"))'
        elif not isinstance(self.task.tokenizer.vocabulary, list):
            text = "print(found)  # ids of tokens, whose texts need sentencepiece"
        tokens = 'tokens = metadata["tokenizer"]["vocabulary"]\n' if "tokens[i]" in text else ""
        return f"""{head}{tokens}{read}
session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
given = {{"frames": frames[None], "lengths": np.array([len(frames)])}}
scores, steps = session.run(None, given)
best = scores[0, : steps[0]].argmax(1)
# Greedy decoding: equal neighbors are one token, and 0 is the blank.
found = [int(i) for i, before in zip(best, [0, *best[:-1]]) if i not in (0, before)]
{text}
"""
