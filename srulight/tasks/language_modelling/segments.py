"""A stream of tokens cut into tracks, and tracks into segments."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Dataset

from srulight.data.base import IGNORED
from srulight.tasks.language_modelling.batch import StreamBatch


def even_tracks(size: int, count: int) -> list[range]:
    """Cuts a stream into tracks of the same number of places; what is left over is not used.

    Place i is where token i + 1 is to be predicted: a stream of N tokens has N - 1 places.

    Args:
        size: Tokens of the stream, N, at least 1.
        count: Tracks to make.
    """
    steps = (size - 1) // count
    return [range(i * steps, (i + 1) * steps) for i in range(count)]


def all_tracks(size: int, count: int) -> list[range]:
    """Cuts a stream into tracks that use every place; some have one place more than others.

    Args:
        size: Tokens of the stream, N, more than ``count``.
        count: Tracks to make.
    """
    bounds = [i * (size - 1) // count for i in range(count + 1)]
    return [range(*pair) for pair in pairwise(bounds)]


class Segments(Dataset[StreamBatch]):
    """Tracks of a stream, some at a time, from their beginning to their end, segment by segment.

    Args:
        ids: Tokens of the stream, (N,), any type of integer.
        tracks: Places that each track reads, all of about the same number; place i predicts token
            i + 1.
        batch_size: Tracks at a time.
        segment_length: Steps of a segment; the last one of a track may be shorter.
        steps: Steps of the longest track, of these or of another process.
    """

    def __init__(
        self,
        ids: Tensor,
        tracks: Sequence[range],
        batch_size: int,
        segment_length: int,
        steps: int,
    ) -> None:
        self.ids = ids
        self.tracks = tracks
        self.batch_size = batch_size
        self.segment_length = segment_length
        self.steps = steps
        self._segments = math.ceil(steps / segment_length)

    def __len__(self) -> int:
        """Counts the batches of a pass."""
        return self._segments * math.ceil(len(self.tracks) / self.batch_size)

    def __getitems__(self, indices: list[int]) -> list[StreamBatch]:
        """Makes whole batches: segment after segment of some tracks, then of the next."""
        return [self._batch(i) for i in indices]

    def _batch(self, index: int) -> StreamBatch:
        group, segment = divmod(index, self._segments)
        first = segment * self.segment_length
        length = min(self.segment_length, self.steps - first)
        tracks = self.tracks[group * self.batch_size : (group + 1) * self.batch_size]
        tokens = torch.zeros(len(tracks), length, dtype=torch.int64)
        targets = torch.full_like(tokens, IGNORED)
        for row, track in enumerate(tracks):
            places = track[first : first + length]
            if places:
                tokens[row, : len(places)] = self.ids[places.start : places.stop]
                targets[row, : len(places)] = self.ids[places.start + 1 : places.stop + 1]
        return StreamBatch(tokens, targets, segment == 0)
