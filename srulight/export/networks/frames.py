"""What the exported networks of video tasks share: frames in, answers for frames or clips out."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

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
)  # fmt: skip
from srulight.layers.masking import valid_steps
from srulight.layers.padding import pad
from srulight.tasks.base import Task
from srulight.video.corpus import VideoCorpus
from srulight.video.frame_store import resized_frames
from srulight.video.open_video import open_video
from srulight.video.sources import VideoSource

_MOST, _FRAMES, _PIXELS = 4, 40, 1 << 22
"""Number of clips that are compared, and of the frames and pixels of each."""

T = TypeVar("T", bound=Task)


def encode_padded(encode: Callable[[Tensor], Tensor], frames: Tensor, lengths: Tensor) -> Tensor:
    """Encodes all frames of a batch, and sets what belongs to padding to zero.

    In training, padded frames are left out instead, but their number depends on the lengths, which
    an exported program does not know.

    Args:
        encode: Computes features, (N, F, ...), of frames, (N, C, H, W) uint8.
        frames: Frames, (B, T, C, H, W) uint8.
        lengths: Number of frames of each clip without padding, (B,) int64.

    Returns:
        Features, (B, T, F, ...).
    """
    found = encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    valid = valid_steps(lengths, frames.size(1))
    return torch.where(valid.reshape(*valid.shape, *[1] * (found.dim() - 2)), found, 0.0)


class FramesNetwork(Network[T], Generic[T]):
    """A model of whole clips, and, if the network reads left to right, one of a frame."""

    reads = "video files, folders of images, or arrays of frames (.npy)"
    example_reads = "an array of frames (.npy), (T, H, W) or (T, H, W, C) uint8"
    speed_steps: ClassVar[int] = 4

    per_frame: bool = True

    @abstractmethod
    def whole(self) -> nn.Module:
        """Returns a module from frames, (B, T, C, H, W) uint8, and lengths to the outputs."""

    @abstractmethod
    def step(self) -> nn.Module | None:
        """Returns a module from one frame, (B, 1, C, H, W) uint8, and a state, (L, B, S).

        It computes the outputs after this frame, (B, ...), and the new state. None means that the
        network has no state, or needs whole clips.
        """

    @abstractmethod
    def state_size(self) -> tuple[int, int]:
        """Returns the sizes L and S of the state, which is zeros at first."""

    @abstractmethod
    def output(self) -> tuple[str, str, Shape]:
        """Returns the name of the output, what it is as a phrase, and its shape for a frame."""

    @abstractmethod
    def corpus(self) -> VideoCorpus:
        """Returns a corpus of few short videos that needs no files."""

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of channels, height and width of a frame."""
        about = self.task.check_trained()["frames"]
        return 3 if about["color"] else 1, about["height"], about["width"]

    def draw_frames(self, batch: int, steps: int) -> Tensor:
        """Draws random frames, (B, T, C, H, W) uint8."""
        return torch.randint(0, 256, (batch, steps, *self.shape), dtype=torch.uint8)

    def models(self) -> list[Model]:
        name, about, shape = self.output()

        def whole(sizes: Sizes) -> Tensors:
            frames = self.draw_frames(sizes["batch"], sizes["frames"])
            return frames, lengths_between(sizes, "frames")

        found = [
            Model(
                "model", f"from the frames of clips to {about}", self.whole(),
                {"frames": ("batch", "frames", *self.shape), "lengths": ("batch",)},
                {name: ("batch", *(("frames",) if self.per_frame else ()), *shape)}, whole, {},
            )
        ]  # fmt: skip
        module = self.step()
        if module is None:
            return found
        layers, width = self.state_size()

        def step(sizes: Sizes) -> Tensors:
            batch = sizes["batch"]
            state = torch.zeros(layers, batch, width)
            with torch.no_grad():
                for _ in range(2):  # a state that occurs
                    state = module(self.draw_frames(batch, 1), state)[1]
            return self.draw_frames(batch, 1), state

        state: Shape = (layers, "batch", width)
        return [
            *found,
            Model(
                "step", f"from one frame and a state, zeros at first, to {about} after this frame "
                "and the new state",
                module, {"frames": ("batch", 1, *self.shape), "state": state},
                {name: ("batch", *shape), "new_state": state}, step, {},
            ),
        ]  # fmt: skip

    def real(self, paths: Sequence[str]) -> dict[str, list[Tensors]]:
        step = self.task.check_trained()["frames"]["step"]
        most = max(3, min(_FRAMES, _PIXELS // (self.shape[0] * self.shape[1] * self.shape[2])))
        parts: list[tuple[VideoSource, int, int | None]] = [
            (open_video(Path(path)), 0, None) for path in paths[:_MOST]
        ]
        if not parts:
            found = self.corpus().read(Path()).train
            parts = [(clip.video, clip.first, clip.length) for clip in found]
        clips = []
        for video, first, length in parts:
            pieces = resized_frames(video, self.shape, first, length, step)
            frames = list(islice((frame for piece in pieces for frame in piece), most))
            clips.append(torch.stack(frames))
        return {"model": [pad(clips, torch.device("cpu"))]}

    def chained(self, run: dict[str, Run], real: dict[str, list[Tensors]]) -> Iterator[Tensors]:
        if "step" not in run:
            return
        frames, lengths = real["model"][0]
        whole = self.models()[0].run((frames, lengths))[0]
        layers, width = self.state_size()
        state = torch.zeros(layers, len(frames), width)
        for i in range(frames.size(1)):
            outputs, state = run["step"]((frames[:, i : i + 1].contiguous(), state))
            here = lengths > i if self.per_frame else lengths == i + 1
            yield (whole[here, i] if self.per_frame else whole[here]), outputs[here]

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {"per_frame": self.per_frame}
        if self.step() is not None:
            layers, width = self.state_size()
            found["state"] = [layers, 1, width]
        return found

    @abstractmethod
    def answer(self) -> str:
        """Returns the lines of the example that print ``outputs``, those of one clip."""

    def example(self) -> str:
        name = self.output()[0]
        return EXAMPLE.replace("OUTPUT", name).replace("ANSWER\n", self.answer())


EXAMPLE = '''import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
names = ("settings.json", "metadata.json")
settings, metadata = (json.loads((FOLDER / name).read_text("utf-8")) for name in names)
rules = metadata["frames"]


def bilinear(old, new):
    """Returns the matrix (new, old) of bilinear interpolation with antialiasing."""
    center = (np.arange(new)[:, None] + 0.5) * old / new
    weights = np.maximum(0, 1 - abs(np.arange(old) + 0.5 - center) / max(old / new, 1))
    return weights / weights.sum(1, keepdims=True)


noise = np.random.randint(0, 256, (5, rules["height"], rules["width"]), np.uint8)
video = np.load(sys.argv[1]) if sys.argv[1:] else noise
video = video[..., None] if video.ndim == 3 else video
down, across = (bilinear(o, rules[k]) for o, k in zip(video.shape[1:], ("height", "width")))
# Each direction rounds to whole numbers, as in training.
frames = np.floor(np.einsum("bw,thwc->thbc", across, video[:: rules["step"]]) + 0.5)
frames = np.floor(np.einsum("ah,thbc->tcab", down, frames) + 0.5)
if not rules["color"] and frames.shape[1] == 3:
    frames = np.rint(np.einsum("tcab,c->tab", frames, [0.299, 0.587, 0.114]))[:, None]
channels = 3 if rules["color"] else 1
frames = np.broadcast_to(frames, (len(frames), channels, *frames.shape[2:])).astype(np.uint8)
session = onnxruntime.InferenceSession(FOLDER / "model.onnx")
given = {"frames": frames[None], "lengths": np.array([len(frames)])}
outputs = session.run(["OUTPUT"], given)[0][0]
ANSWER
'''
