"""Describes the videos of a corpus before training."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from srulight.data.summary import describe_lengths
from srulight.targets import Kind
from srulight.targets.summary import describe_targets, suspicions
from srulight.video.corpus import Clip, Per, Videos

_SHOWN = 6


def describe_videos(
    videos: Videos, kind: Kind | Literal["points"], per: Per, step: int
) -> Iterator[str]:
    """Describes each part in one line, and points out what looks like a mistake.

    Args:
        videos: The corpus.
        kind: Kind of the targets; "points" for key points.
        per: Whether each clip has a target, or each of its frames.
        step: Distance of the frames that the model reads, in frames of the video.

    Yields:
        Lines to log.
    """
    yield from videos.notes
    for name, part in videos.parts.items():
        if not part:
            continue
        count = sum(len(range(0, clip.length, step)) for clip in part)
        line = f"{name}: {len(part):,} clips, {count:,} frames"
        targets = _targets(part, per, step)
        if kind == "points":
            yield f"{line}; {_describe_points(targets)}"
        else:
            yield f"{line}; {describe_targets(kind, videos.names, targets)}"
    train = videos.train
    lengths = [len(range(0, clip.length, step)) for clip in train]
    yield f"length of training clips: {describe_lengths(lengths, 'frame')}"
    if kind != "points":
        examples = "clips" if per == "clip" else "frames"
        yield from suspicions(kind, videos.names, _targets(train, per, step), examples)
    if shared := shared_frames(videos):
        yield shared


def _targets(clips: Sequence[Clip], per: Per, step: int) -> Tensor:
    """Returns the targets of a part as ``describe_target`` takes them."""
    if per == "clip":
        return torch.from_numpy(np.stack([clip.targets for clip in clips]))
    return torch.from_numpy(np.concatenate([clip.targets[::step] for clip in clips]))


def _describe_points(targets: Tensor) -> str:
    missing = targets.isnan().any(-1).double().mean()
    return f"{targets.size(1):,} key points per frame, {float(missing):.1%} of them missing"


def shared_frames(videos: Videos) -> str | None:
    """Counts the clips that share frames with training clips.

    Args:
        videos: The corpus.

    Returns:
        A line to log, or None if there are none.
    """
    spans: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for clip in videos.train:
        spans[_identity(clip)].append((clip.first, clip.first + clip.length))
    found = []
    for name, part in videos.parts.items():
        if name == "train":
            continue
        count = sum(
            any(clip.first < stop and start < clip.first + clip.length for start, stop in own)
            for clip in part
            if (own := spans.get(_identity(clip)))
        )
        if count:
            found.append(f"{count:,} of {len(part):,} {name} clips")
    if not found:
        return None
    return (
        f"{' and '.join(found)} share frames with the training data, so the scores will be too "
        "good; remove them from one of the two"
    )


def _identity(clip: Clip) -> Any:  # noqa: ANN401
    key = clip.video.key()
    return id(clip.video) if key is None else json.dumps(key)
