"""Utterances and their transcripts."""

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
    """Utterances and their transcripts, in batches of similar length.

    Its metadata: ``frontend`` and ``tokenizer`` (their settings), ``num_mels`` (features of a
    frame, F) and ``frame_seconds`` (from one frame to the next).

    All recordings are decoded once before training (what is found is kept in SRULIGHT_CACHE, or
    ~/.cache/srulight): a file that is missing or truncated is found then, and not at night.

    Args:
        corpus: Where the recordings are; ``SyntheticDTMF``, telephone keys, which needs no files,
            if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        features: What frames are made of recordings.
        tokenizer: What a token of a transcript is: ``Characters``, ``Words`` (with split=space) or
            ``SentencePiece``, made from the training transcripts; characters in lower case if None.
        speeds: How many times as fast training utterances are played, 0.1 to 10: an epoch has each
            utterance once at each speed; [1.0] if None.
        on_error: What to do with utterances that cannot be used (a file that is missing or
            truncated, an empty transcript, a character outside the alphabet, too many tokens for
            the frames): "refuse" to begin, or "skip" them and say how many they are.
        batch_frames: Training frames per step and process, about; at least 1.
        eval_batch_frames: Validation and test frames per step and process, about; at least 1.
        cache: Compute frames once and keep them in a file, instead of anew in every epoch.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches.
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
        """Reads the corpus, once whatever the stages.

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
        """Makes the frontend that fits the first recording, and counts the features of a frame."""
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
        """Finds utterances with more tokens than a network has steps; its task asks for it.

        Args:
            steps: Tells how many steps so many frames give.

        Raises:
            InputError: If there is one, and ``on_error`` is "refuse".
        """
        self._min_frames = next(frames for frames in count(1) if steps(frames) > 0)
        for name, split in self._splits.items():
            checked = []
            for u in split:
                has, needs = steps(u.frames), steps_needed(u.targets)
                fault = f"its {needs} tokens, blanks between equal ones counted, need as many "
                fault += f"steps, and its {u.frames} frames give {has}: use shorter frame shifts, "
                fault += "less subsampling or longer tokens"
                checked.append(u._replace(fault=fault) if has < needs else u)
            left = self._splits[name] = self._without_faults(name, checked)
            if left:
                frames = sum(u.frames for u in left)
                rank_zero_info(f"{name}: {len(left):,} utterances, {frames:,} frames")

    def _without_faults(self, name: str, split: list[PreparedUtterance]) -> list[PreparedUtterance]:
        """Leaves out what cannot be used, and says how many; or refuses it."""
        faults = [f"{u.where}: {u.fault}" for u in split if u.fault]
        if not faults:
            return split
        if self.on_error == "refuse":
            more = f" (and {len(faults) - 1} more with faults)" if len(faults) > 1 else ""
            raise InputError(
                f"{faults[0]}{more}; mend it, or leave such utterances out: --data.on_error=skip"
            )
        rank_zero_info(
            f"{name}: {len(faults)} of {len(split)} utterances are skipped, such as {faults[0]}"
        )
        return [u for u in split if not u.fault]

    def loader(self, split: Split) -> ResumableLoader[SpeechBatch]:
        utterances = self._splits[split]
        if not utterances:
            raise InputError(f"the corpus has no {split} utterances that can be used")
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
    """Utterances, a batch at a time.

    Args:
        utterances: The utterances, without faults.
        frames: Their frames, not standardized.
        frontend: Standardizes the frames.
        silence: Frames that stand in for an utterance where a batch has none, (T, F) float32.
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
        if not indices:  # what has no transcript counts neither in losses nor in metrics
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
