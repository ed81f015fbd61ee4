"""Division of a token stream into tracks, and of tracks into segments."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.data import Dataset

from srulight.data.base import IGNORED
from srulight.tasks.language_modeling.batch import StreamBatch


def even_tracks(size: int, count: int) -> list[range]:
    """Divides a stream into tracks of equal length; the remainder is not used.

    A track is a range of positions. At position i, the model predicts token i + 1, so a stream of N
    tokens has N - 1 positions.

    Args:
        size: Number of tokens in the stream, N, at least 1.
        count: Number of tracks.
    """
    steps = (size - 1) // count
    return [range(i * steps, (i + 1) * steps) for i in range(count)]


def all_tracks(size: int, count: int) -> list[range]:
    """Divides a stream into tracks that use every position; their lengths differ by at most one.

    Args:
        size: Number of tokens in the stream, N, more than ``count``.
        count: Number of tracks.
    """
    bounds = [i * (size - 1) // count for i in range(count + 1)]
    return [range(*pair) for pair in pairwise(bounds)]


class Segments(Dataset[StreamBatch]):
    """Reads tracks of a stream segment by segment, ``batch_size`` tracks in parallel.

    Args:
        ids: Token ids of the stream, (N,), any type of integer.
        tracks: Positions of each track, all of about the same number. At position i, the model
            predicts token i + 1.
        batch_size: Number of tracks per batch.
        segment_length: Number of steps per segment; the last segment of a track may be shorter.
        steps: Number of steps of the longest track on any process.
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
        """Returns the number of batches in an epoch."""
        return self._segments * math.ceil(len(self.tracks) / self.batch_size)

    def __getitems__(self, indices: list[int]) -> list[StreamBatch]:
        """Makes batches: all segments of the first tracks, then those of the next tracks."""
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
