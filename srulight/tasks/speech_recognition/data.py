"""Data module of speech recognition."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import BatchDataset, Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import LengthBatchSampler
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.frame_store import (
    CachedFeatures,
    ComputedFeatures,
    Frames,
    statistics,
)
from srulight.tasks.speech_recognition.frontend.frontend import FeatureSettings, Frontend
from srulight.tasks.speech_recognition.recordings import Recording, inspect_recordings
from srulight.tasks.speech_recognition.transcript import SPECIALS, single_spaced
from srulight.tasks.speech_recognition.validation import (
    PreparedUtterance,
    UtteranceValidator,
    steps_needed,
)
from srulight.text.tokenizers import Characters, Tokenizer, from_settings


class SpeechRecognitionData(TaskData):
    """Loads utterances and their transcripts in batches of similar length.

    The metadata holds ``frontend`` and ``tokenizer`` (their settings), ``num_mels`` (number of
    features per frame, F) and ``frame_seconds`` (time from one frame to the next).

    Before training starts, srulight decodes every recording once, so that a missing or truncated
    file is reported right away. It keeps the result in SRULIGHT_CACHE (~/.cache/srulight by
    default).

    Args:
        corpus: Corpus that lists the recordings and their transcripts. None means
            ``SyntheticDTMF``, generated telephone keys, which need no files.
        root: Folder that holds the files of the corpus.
        download: Whether to download missing files, for a corpus that supports it.
        features: How recordings are turned into feature frames.
        tokenizer: How transcripts are split into tokens: ``Characters``, ``Words`` (with
            split=space) or ``SentencePiece``, fitted to the training transcripts. None means
            characters in lower case.
        speeds: Playback speeds of the training utterances, 0.1 to 10. An epoch contains each
            utterance once at each speed. None means [1.0].
        on_error: What to do with an utterance that cannot be used (its file is missing or
            truncated, its transcript is empty, has characters outside the alphabet, or has more
            tokens than its frames allow): "refuse" to start training, or "skip" such utterances
            and report how many there are.
        batch_frames: Approximate number of training frames per batch on each process; at least 1.
        eval_batch_frames: Approximate number of validation or test frames per batch on each
            process; at least 1.
        cache: Whether to compute the frames once and keep them in a file, instead of computing them
            again in every epoch.
        num_workers: Number of processes that prepare batches; 0 prepares them in the main process.
        seed: Seed for the order of the batches.
    """

    sampler = LengthBatchSampler

    def __init__(
        self,
        corpus: SpeechCorpus | None = None,
        root: str = ".",
        download: bool = False,
        features: FeatureSettings = FeatureSettings(),
        tokenizer: Tokenizer | None = None,
        speeds: list[float] | None = None,
        on_error: Literal["refuse", "skip"] = "refuse",
        batch_frames: int = 8000,
        eval_batch_frames: int = 16000,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        check_range(1, batch_frames=batch_frames, eval_batch_frames=eval_batch_frames)
        super().__init__(
            corpus or SyntheticDTMF(), root, download, num_workers, seed, batch_frames,
            eval_batch_frames,
        )  # fmt: skip
        self.speeds = speeds or [1.0]
        for speed in self.speeds:
            check_range(0.1, 10, speeds=speed)
        self.features = features
        self.tokenizer = tokenizer or Characters(lowercase=True)
        self.on_error = on_error
        self.cache = cache
        self._splits: dict[str, list[PreparedUtterance]] = {}
        self._min_frames = 1

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        super().load_metadata(metadata)
        self.features = replace(self.features, channels=metadata["frontend"]["channels"])

    def prepare(self) -> None:
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Reads the corpus on the first call; later calls do nothing.

        Args:
            stage: Not used.
        """
        if self._splits:
            return
        splits = self.corpus.read(self.root)._asdict()
        files = (path for split in splits.values() for u in split for path in u.audio)
        recordings = inspect_recordings(files, self.features.channels)
        first = next((u for u in splits["train"] if not recordings[u.audio[0]].fault), None)
        frontend, num_mels = self._frontend(None if first is None else first.audio[0], recordings)
        tokenizer = self._tokenizer([u.text for u in splits["train"]])
        validate = UtteranceValidator(recordings, frontend, num_mels, tokenizer)
        prepared = {
            name: self._without_faults(
                name, [validate(u, s) for s in self._speeds(name) for u in split]
            )
            for name, split in splits.items()
        }
        if not self._metadata:
            if frontend.normalization == "global" and prepared["train"]:
                sounds = [u.sound for u in prepared["train"]]
                frontend = frontend.with_statistics(*statistics(sounds, frontend))
            self._metadata = {
                "frontend": frontend.settings,
                "tokenizer": tokenizer.settings,
                "num_mels": num_mels,
                "frame_seconds": self.features.frame_shift / 1000,
            }
        self._splits = prepared

    def _speeds(self, name: str) -> list[float]:
        return self.speeds if name == "train" else [1.0]

    def _frontend(
        self, first: Path | None, recordings: dict[Path, Recording]
    ) -> tuple[Frontend, int]:
        """Returns the frontend for the first usable recording, and the features per frame."""
        if self._metadata:
            return Frontend.from_settings(self._metadata["frontend"]), self._metadata["num_mels"]
        rate = 16000 if first is None else recordings[first].sample_rate
        has_frames = first is not None and first.suffix == ".npy"
        features = self.features
        bank = None if has_frames else features.filter_bank(rate)
        frontend = Frontend(bank, features.channels, features.normalization)
        return frontend, rate if bank is None else features.num_mels

    def _tokenizer(self, transcripts: list[str]) -> Tokenizer:
        if self._metadata:
            return from_settings(self._metadata["tokenizer"], SPECIALS)
        return self.tokenizer.fit(map(single_spaced, transcripts), SPECIALS)

    def require_steps(self, steps: Callable[[int], int]) -> None:
        """Rejects utterances that have more tokens than the network has steps for.

        The task calls this method, because the number of steps depends on its subsampling.

        Args:
            steps: Maps a number of frames to the number of encoder steps.

        Raises:
            InputError: If there is such an utterance and ``on_error`` is "refuse".
        """
        self._min_frames = next(frames for frames in count(1) if steps(frames) > 0)
        for name, split in self._splits.items():
            checked = []
            for u in split:
                has, needs = steps(u.frames), steps_needed(u.targets)
                fault = f"expected at least {needs} steps (one per token, and one per blank "
                fault += f"between equal tokens), got {has} from its {u.frames} frames; use a "
                fault += "shorter frame_shift, less subsampling or longer tokens"
                checked.append(u._replace(fault=fault) if has < needs else u)
            left = self._splits[name] = self._without_faults(name, checked)
            if left:
                frames = sum(u.frames for u in left)
                rank_zero_info(f"{name}: {len(left):,} utterances, {frames:,} frames")

    def _without_faults(self, name: str, split: list[PreparedUtterance]) -> list[PreparedUtterance]:
        """Drops unusable utterances and reports how many, or raises InputError."""
        faults = [f"{u.where}: {u.fault}" for u in split if u.fault]
        if not faults:
            return split
        if self.on_error == "refuse":
            more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
            raise InputError(
                f"{faults[0]}{more}; fix it, or skip such utterances with --data.on_error=skip"
            )
        rank_zero_info(
            f"{name}: skipping {len(faults):,} of {len(split):,} utterances; the first is "
            f"{faults[0]}"
        )
        return [u for u in split if not u.fault]

    def loader(self, split: Split) -> ResumableLoader[SpeechBatch]:
        utterances = self._splits[split]
        if not utterances:
            raise InputError(
                f"expected at least one usable {split} utterance, got none; add utterances to the "
                "corpus, or fix those that were skipped"
            )
        frontend = Frontend.from_settings(self.metadata["frontend"])
        num_mels: int = self.metadata["num_mels"]
        sounds = [u.sound for u in utterances]
        frames: Frames = ComputedFeatures(sounds, frontend)
        if self.cache and frontend.filter_bank is not None:
            lengths = torch.tensor([u.frames for u in utterances])
            frames = CachedFeatures(sounds, frontend, lengths, num_mels, split)
        silence = torch.zeros(self._min_frames, num_mels)
        dataset = SpeechDataset(utterances, frames, frontend, silence)
        return self.sharded(dataset, split)


class SpeechDataset(BatchDataset[SpeechBatch]):
    """A dataset that returns whole batches of utterances.

    Args:
        utterances: The usable utterances.
        frames: Their frames, not standardized.
        frontend: Frontend that standardizes the frames.
        silence: Placeholder frames for a batch without utterances, (T, F) float32.
    """

    def __init__(
        self,
        utterances: Sequence[PreparedUtterance],
        frames: Frames,
        frontend: Frontend,
        silence: torch.Tensor,
    ) -> None:
        self._frames = frames
        self._frontend = frontend
        self._targets = [torch.tensor(u.targets) for u in utterances]
        self.lengths = torch.tensor([u.frames for u in utterances])
        self._silence = silence

    def __getitems__(self, indices: list[int]) -> list[SpeechBatch]:
        features = [self._frontend.standardize(self._frames.get(i)) for i in indices]
        targets = [self._targets[i] for i in indices]
        size = sum(map(len, features))
        if not indices:  # A placeholder without tokens, which loss and metrics ignore.
            features, targets = [self._silence], [torch.zeros(0, dtype=torch.long)]
        return [
            SpeechBatch(
                pad_sequence(features, batch_first=True),
                torch.tensor([len(f) for f in features]),
                pad_sequence(targets, batch_first=True),
                torch.tensor([len(t) for t in targets]),
                size,
            )
        ]
