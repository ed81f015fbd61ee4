"""Utterances and their transcripts."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from srulight.data.base import TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import LengthBatchSampler
from srulight.runtime.errors import LARGEST_SEED, InputError, check_range
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.dataset import SpeechDataset
from srulight.tasks.speech_recognition.frame_store import (
    CachedFeatures,
    ComputedFeatures,
    Frames,
    statistics,
)
from srulight.tasks.speech_recognition.frontend.audio import Channels
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import Frontend, Normalization
from srulight.tasks.speech_recognition.recordings import Recording, listen
from srulight.tasks.speech_recognition.validation import (
    PreparedUtterance,
    UtteranceValidator,
    steps_needed,
)
from srulight.text.spelling import Characters, Pieces, Speller, Unit, Words, get_speller, normalize


class SpeechRecognitionData(TaskData):
    """Utterances and their transcripts, in batches of similar length.

    All recordings are listened to before training, once (what is found is kept in SRULIGHT_CACHE,
    or ~/.cache/srulight): a file that is missing or truncated is found then, and not at night.

    Args:
        corpus: Where the recordings lie; ``SyntheticDTMF``, telephone keys, which needs no
            files, if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        sample_rate: Samples per second (Hz) that all recordings are brought to; that of the first
            training recording if None.
        num_mels: Bands of the filter bank, features of a frame.
        frame_length: Milliseconds that a frame sees.
        frame_shift: Milliseconds from one frame to the next, of frames in files (.npy) too.
        normalization: How bands are brought to mean 0 and variance 1: "global", over the training
            data; "utterance", over each utterance, which cannot be streamed; or "none".
        channels: Of a recording with several channels: "refuse" it, or take their mean ("mix").
        speeds: How many times as fast training utterances are played: an epoch has each of them
            once at each speed; [1.0] if None.
        unit: What a token of a transcript is: char, word or subword.
        alphabet: Characters that transcripts may have; those of the training transcripts if None.
        subwords: Subwords to make.
        subword_model: How they are found: "unigram" or "bpe".
        lowercase: Turn transcripts into lower case.
        on_error: What to do with utterances that cannot be used (a file that is missing or
            truncated, an empty transcript, a character outside the alphabet, too many tokens for
            the frames): "refuse" to begin, or "skip" them and say how many they are.
        batch_frames: Training frames per step and process, about.
        eval_batch_frames: Validation and test frames per step and process, about.
        cache: Whether frames are made once and kept in a file, in place of anew in every epoch.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches.
    """

    def __init__(
        self,
        corpus: SpeechCorpus | None = None,
        root: str = ".",
        download: bool = False,
        sample_rate: int | None = None,
        num_mels: int = 40,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        normalization: Normalization = "global",
        channels: Channels = "refuse",
        speeds: list[float] | None = None,
        unit: Unit = "char",
        alphabet: str | None = None,
        subwords: int = 500,
        subword_model: Literal["unigram", "bpe"] = "unigram",
        lowercase: bool = True,
        on_error: Literal["refuse", "skip"] = "refuse",
        batch_frames: int = 8000,
        eval_batch_frames: int = 16000,
        cache: bool = False,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__()
        check_range(
            1, batch_frames=batch_frames, eval_batch_frames=eval_batch_frames, subwords=subwords,
            sample_rate=sample_rate, num_mels=num_mels,
        )  # fmt: skip
        check_range(0, frame_length=frame_length, frame_shift=frame_shift, num_workers=num_workers)
        check_range(0, LARGEST_SEED, seed=seed)
        self.speeds = speeds or [1.0]
        if not all(0.1 <= speed <= 10 for speed in self.speeds):
            raise InputError(f"speeds must be from 0.1 to 10, got {self.speeds}")
        self.corpus = SyntheticDTMF() if corpus is None else corpus
        self.root = Path(root).expanduser()
        self.download = download
        self.sample_rate = sample_rate
        self.num_mels = num_mels
        self.frame_length = frame_length
        self.frame_shift = frame_shift
        self.normalization: Normalization = normalization
        self.channels: Channels = channels
        self.unit: Unit = unit
        self.alphabet = alphabet
        self.subwords = subwords
        self.subword_model: Literal["unigram", "bpe"] = subword_model
        self.lowercase = lowercase
        self.on_error = on_error
        self.batch_frames = batch_frames
        self.eval_batch_frames = eval_batch_frames
        self.cache = cache
        self.num_workers = num_workers
        self.seed = seed
        self._metadata: dict[str, Any] = {}
        self._splits: dict[str, list[PreparedUtterance]] = {}
        self._fewest = 1

    @property
    def metadata(self) -> dict[str, Any]:
        """What a task must know to hear and to spell as this module does.

        ``frontend`` and ``speller`` (their settings), ``num_mels`` (features of a frame, F),
        ``frame_seconds`` (from one frame to the next) and ``lowercase``.
        """
        if not self._metadata:
            raise RuntimeError("call setup before asking for metadata")
        return self._metadata

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        self._metadata = metadata
        self.lowercase = metadata["lowercase"]
        self.channels = metadata["frontend"]["channels"]

    def prepare_data(self) -> None:
        if self.download:
            self.corpus.fetch(self.root)
        self.setup()  # by one process of a machine; the others then find the files

    def setup(self, stage: str | None = None) -> None:
        """Listens to the corpus, once whatever the stages.

        Args:
            stage: Not used.
        """
        if self._splits:
            return
        splits = self.corpus.read(self.root)._asdict()
        files = (path for split in splits.values() for u in split for path in u.audio)
        recordings = listen(files, self.channels)
        first = next((u for u in splits["train"] if not recordings[u.audio[0]].fault), None)
        frontend, num_mels = self._frontend(None if first is None else first.audio[0], recordings)
        speller = self._speller([u.text for u in splits["train"]])
        check = UtteranceValidator(recordings, frontend, num_mels, speller, self.lowercase)
        ready = {
            name: self._without_faults(
                name, [check(u, s) for s in self._speeds(name) for u in split]
            )
            for name, split in splits.items()
        }
        if not self._metadata:
            if frontend.normalization == "global" and ready["train"]:
                sounds = [r.sound for r in ready["train"]]
                frontend = frontend.with_statistics(*statistics(sounds, frontend))
            self._metadata = {
                "frontend": frontend.settings,
                "speller": speller.settings,
                "num_mels": num_mels,
                "frame_seconds": self.frame_shift / 1000,
                "lowercase": self.lowercase,
            }
        self._splits = ready

    def _speeds(self, name: str) -> list[float]:
        return self.speeds if name == "train" else [1.0]

    def _frontend(
        self, first: Path | None, recordings: dict[Path, Recording]
    ) -> tuple[Frontend, int]:
        """Makes what frames come from, as the first recording asks for, and tells their size."""
        if self._metadata:
            return Frontend.from_settings(self._metadata["frontend"]), self._metadata["num_mels"]
        rate = 16000 if first is None else recordings[first].sample_rate
        if first is not None and first.suffix == ".npy":
            return Frontend(None, self.channels, self.normalization), rate
        bank = FilterBank(
            self.sample_rate or rate, self.num_mels, self.frame_length, self.frame_shift
        )
        return Frontend(bank, self.channels, self.normalization), self.num_mels

    def _speller(self, transcripts: list[str]) -> Speller:
        if self._metadata:
            return get_speller(self._metadata["speller"])
        texts = [normalize(text, self.lowercase) for text in transcripts]
        if self.unit == "subword":
            return Pieces.train(texts, self.subwords, self.subword_model)
        if self.unit == "word":
            return Words(word for text in texts for word in text.split())
        return Characters("".join(texts) if self.alphabet is None else self.alphabet)

    def require_steps(self, steps: Callable[[int], int]) -> None:
        """Finds utterances with more tokens than a network has steps; its task asks for it.

        Args:
            steps: Tells how many steps so many frames give.

        Raises:
            InputError: If there is one, and ``on_error`` is "refuse".
        """
        self._fewest = next(frames for frames in count(1) if steps(frames) > 0)
        for name, split in self._splits.items():
            checked = []
            for r in split:
                has, needs = steps(r.frames), steps_needed(r.targets)
                fault = f"its {needs} tokens, blanks between equal ones counted, need as many "
                fault += f"steps, and its {r.frames} frames give {has}: use shorter frame shifts, "
                fault += "less subsampling or longer tokens"
                checked.append(r._replace(fault=fault) if has < needs else r)
            left = self._splits[name] = self._without_faults(name, checked)
            if left:
                frames = sum(r.frames for r in left)
                rank_zero_info(f"{name}: {len(left):,} utterances, {frames:,} frames")

    def _without_faults(self, name: str, split: list[PreparedUtterance]) -> list[PreparedUtterance]:
        """Leaves out what cannot be used, and says how many; or refuses it."""
        faults = [f"{r.where}: {r.fault}" for r in split if r.fault]
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
        return [r for r in split if not r.fault]

    def train_dataloader(self) -> DataLoader[SpeechBatch]:
        return self._loader("train", self.batch_frames)

    def val_dataloader(self) -> DataLoader[SpeechBatch]:
        return self._loader("val", self.eval_batch_frames)

    def test_dataloader(self) -> DataLoader[SpeechBatch]:
        return self._loader("test", self.eval_batch_frames)

    def _loader(self, name: str, batch_frames: int) -> ResumableLoader[SpeechBatch]:
        ready = self._splits[name]
        if not ready:
            raise InputError(f"the corpus has no {name} utterances that can be used")
        # Before a trainer takes this module there is one process.
        trainer = self.trainer
        lengths = torch.tensor([r.frames for r in ready])
        sampler = LengthBatchSampler(
            lengths,
            batch_frames,
            shuffle=name == "train",
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        frontend = Frontend.from_settings(self.metadata["frontend"])
        num_mels: int = self.metadata["num_mels"]
        sounds = [r.sound for r in ready]
        frames: Frames = ComputedFeatures(sounds, frontend)
        if self.cache and frontend.filter_bank is not None:
            frames = CachedFeatures(sounds, frontend, lengths, num_mels, name)
        targets = [r.targets for r in ready]
        dataset = SpeechDataset(frames, frontend, targets, num_mels, self._fewest)
        return ResumableLoader(dataset, sampler, self.num_workers, self.seed)
