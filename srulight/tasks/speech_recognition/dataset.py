"""Batches of utterances."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import BatchDataset
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.frame_store import Frames
from srulight.tasks.speech_recognition.frontend.frontend import Frontend


class SpeechDataset(BatchDataset[SpeechBatch]):
    """Utterances, a batch at a time.

    Args:
        frames: What their frames come from.
        frontend: What standardises them.
        targets: Tokens of each.
        lengths: Frames of each, (N,) int64.
        num_mels: Features of a frame, F.
        fewest: Frames of an utterance that is none.
    """

    def __init__(
        self,
        frames: Frames,
        frontend: Frontend,
        targets: Sequence[Sequence[int]],
        lengths: Tensor,
        num_mels: int,
        fewest: int,
    ) -> None:
        self._frames = frames
        self._frontend = frontend
        self._targets = [torch.tensor(tokens) for tokens in targets]
        self.lengths = lengths
        self._nothing = torch.zeros(fewest, num_mels)

    def __getitems__(self, indices: list[int]) -> list[SpeechBatch]:
        """Makes a whole batch, the only item: a loader asks for one this way if it can.

        Args:
            indices: Utterances of the batch. Without any it is one of silence without a transcript,
                so that a process that has no utterances at a step goes along with the others.
        """
        features = [self._frontend.standardize(self._frames.get(i)) for i in indices]
        targets = [self._targets[i] for i in indices]
        size = sum(map(len, features))
        if not indices:
            features, targets = [self._nothing], [torch.zeros(0, dtype=torch.long)]
        return [
            SpeechBatch(
                pad_sequence(features, batch_first=True),
                torch.tensor([len(f) for f in features]),
                pad_sequence(targets, batch_first=True),
                torch.tensor([len(t) for t in targets]),
                size,
            )
        ]
