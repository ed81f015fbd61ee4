"""Features of frames that a frozen frame encoder computes once, kept in the cache."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from srulight.runtime.cache import cache_key, cached
from srulight.runtime.progress import progress
from srulight.video.dataset import ClipDataset, Origin

_VERSION = 1  # Version of the cached files; raise it when their content changes.
_PIECE = 256  # Frames that are encoded together.
_FEW = 50  # Up to this many clips need no progress bar.
_SHAPE = "shape.json"


class FrozenEncoder(NamedTuple):
    """A frame encoder whose weights do not change.

    Attributes:
        key: Everything that determines its features, besides the frames; see ``weights_key``.
        encode: Computes the features of frames, (N, F, ...), from (N, C, H, W) uint8.
    """

    key: Any
    encode: Callable[[Tensor], Tensor]


@contextmanager
def evaluating(module: nn.Module, applies: bool = True) -> Iterator[None]:
    """Puts a module into evaluation mode for a while.

    Lightning warns of a module that is in this mode when training starts.

    Args:
        module: The module.
        applies: Whether to do so.
    """
    before = module.training
    module.train(before and not applies)
    try:
        yield
    finally:
        module.train(before)


def weights_key(module: nn.Module) -> str:
    """Returns a hash of the structure and the weights of a module."""
    digest = hashlib.sha256(str(module).encode())
    for name, weight in module.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def with_features(
    dataset: ClipDataset, frozen: FrozenEncoder, doing: str, rank: int = 0, world_size: int = 1
) -> ClipDataset:
    """Returns a dataset with the features of the frames in place of the frames.

    Computes those features that the cache lacks.

    Args:
        dataset: Clips whose ``origin`` is known.
        frozen: The frame encoder.
        doing: Label of the progress bar.
        rank: Rank of this process.
        world_size: Number of processes, each of which begins with other clips.
    """
    keys: list[str] = []
    origins: dict[str, Origin] = {}
    for clip in dataset.clips:
        assert clip.origin is not None
        keys.append(cache_key(_VERSION, frozen.key, clip.origin.key))
        origins[keys[-1]] = clip.origin
    order = list(origins)
    begin = rank * len(order) // world_size
    features = {
        key: _features(key, origins[key].frames, frozen)
        for key in progress(order[begin:] + order[:begin], doing, len(order), _FEW)
    }
    clips = []
    for key, clip in zip(keys, dataset.clips, strict=True):
        assert clip.origin is not None
        first = clip.origin.first
        clips.append(clip._replace(frames=features[key][first : first + len(clip.frames)]))
    return ClipDataset(clips, dataset.per_frame)


def _features(key: str, frames: Tensor, frozen: FrozenEncoder) -> Tensor:
    """Returns the features of a clip, (T, F, ...) float32, mapped from a file."""
    folder = cached("frame_features", key, partial(_write, frames, frozen))
    shape = torch.Size(json.loads((folder / _SHAPE).read_text(encoding="utf-8")))
    path = str(folder / "features.bin")
    return torch.from_file(path, shared=False, size=shape.numel(), dtype=torch.float32).view(shape)


def _write(frames: Tensor, frozen: FrozenEncoder, folder: Path) -> None:
    with (folder / "features.bin").open("wb") as file:
        for piece in frames.split(_PIECE):
            features = frozen.encode(piece).float().cpu()
            file.write(features.contiguous().numpy().data)
    shape = [len(frames), *features.shape[1:]]
    (folder / _SHAPE).write_text(json.dumps(shape), encoding="utf-8")
