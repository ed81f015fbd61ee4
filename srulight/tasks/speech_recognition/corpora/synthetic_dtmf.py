"""A generated corpus: the dual tones of telephone keys."""

import math
import random
import wave
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from srulight.runtime.cache import cache_key, cached
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance
from srulight.tasks.speech_recognition.corpora.fsdd import DIGITS

_VERSION = 1  # Increase it when the same settings produce different audio.
_RATE = 8000
_WORDS = (*DIGITS, "star", "hash")
# Tones of ITU-T Recommendation Q.23 in Hz, in the order of _WORDS. Each row of keys (123, 456, 789,
# *0#) has a low tone, and each column has a high tone.
_TONES = (
    *[(941.0, 1336.0)],
    *[(697.0, 1209.0), (697.0, 1336.0), (697.0, 1477.0)],
    *[(770.0, 1209.0), (770.0, 1336.0), (770.0, 1477.0)],
    *[(852.0, 1209.0), (852.0, 1336.0), (852.0, 1477.0)],
    *[(941.0, 1209.0), (941.0, 1477.0)],
)
_KEY = (480, 1120)  # samples: 0.06 to 0.14 s
_PAUSE = (320, 800)  # samples: 0.04 to 0.1 s


class _Call(NamedTuple):
    name: str  # name of the file
    keys: tuple[int, ...]  # indices into _WORDS
    lengths: list[int]  # samples of pause, key, pause, key, ..., pause
    loudness: float  # fraction of full scale, 0.1 to 1
    seed: int  # seed of the noise


class SyntheticDTMF(SpeechCorpus):
    """Generated recordings of numbers dialed on a noisy telephone line, at 8 kHz.

    Each key sounds for 0.06 to 0.14 s with the two tones of ITU-T Recommendation Q.23. Pauses of
    0.04 to 0.1 s come before, between and after the keys. The transcripts are words, such as
    ``four two hash``. No number is dialed twice, so the test set shares none with the training set.
    srulight generates the recordings once and keeps them in its cache folder.

    Args:
        train_size: Number of training utterances, at least 1.
        val_size: Number of validation utterances, at least 1.
        test_size: Number of test utterances, 0 or more.
        min_length: Number of keys in the shortest utterance, at least 1.
        max_length: Number of keys in the longest utterance, at least ``min_length``. All lengths
            are equally frequent.
        noise: Standard deviation of the white noise, relative to tones of amplitude 1; 0 or more.
            With 1, noise and tones have the same power.
        seed: Seed for the numbers and for their sound.

    Raises:
        InputError: If an argument is out of range, or too few numbers have the given lengths.
    """

    def __init__(
        self,
        train_size: int = 600,
        val_size: int = 60,
        test_size: int = 60,
        min_length: int = 3,
        max_length: int = 8,
        noise: float = 0.3,
        seed: int = 1,
    ) -> None:
        if train_size < 1 or val_size < 1 or test_size < 0:
            raise InputError(
                "train_size and val_size must be at least 1 and test_size 0 or more, got "
                f"train_size={train_size} val_size={val_size} test_size={test_size}"
            )
        if not 1 <= min_length <= max_length:
            raise InputError(
                "min_length must be at least 1 and at most max_length, got "
                f"min_length={min_length} max_length={max_length}"
            )
        if not 0 <= noise < float("inf"):
            raise InputError(f"noise must be a finite number, 0 or more, got {noise}")
        # Numbers are drawn until all are distinct, which is slow if almost all are needed.
        total = train_size + val_size + test_size
        if sum(len(_WORDS) ** n for n in range(min_length, max_length + 1)) < 2 * total:
            raise InputError(
                f"max_length must allow {total:,} distinct numbers with room to choose from, got "
                f"min_length={min_length} max_length={max_length}; raise max_length"
            )
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
        self.min_length = min_length
        self.max_length = max_length
        self.noise = noise
        self.seed = seed

    def read(self, root: Path) -> SpeechSplits:
        key = cache_key(_VERSION, *vars(self).values())
        splits = self._plan()
        calls = [call for calls in splits for call in calls]
        folder = cached("dial", key, partial(_build, calls, self.noise))
        return SpeechSplits(*([_utterance(call, folder) for call in calls] for calls in splits))

    def _plan(self) -> list[list[_Call]]:
        """Plans the contents of every file of train, val and test."""
        generator = random.Random(self.seed)
        # Test and validation first, so that they do not depend on the size of the training set.
        sizes = {"test": self.test_size, "val": self.val_size, "train": self.train_size}
        dialed: set[tuple[int, ...]] = set()
        splits = {}
        for name, size in sizes.items():
            calls: list[_Call] = []
            while len(calls) < size:
                count = generator.randint(self.min_length, self.max_length)
                keys = tuple(generator.choices(range(len(_WORDS)), k=count))
                if keys not in dialed:
                    dialed.add(keys)
                    calls.append(_call(f"{name}-{len(calls) + 1:05}.wav", keys, generator))
            splits[name] = calls
        return [splits["train"], splits["val"], splits["test"]]


def _call(name: str, keys: tuple[int, ...], generator: random.Random) -> _Call:
    lengths = [generator.randint(*_PAUSE)]
    for _ in keys:
        lengths += [generator.randint(*_KEY), generator.randint(*_PAUSE)]
    return _Call(name, keys, lengths, 10 ** generator.uniform(-1, 0), generator.getrandbits(63))


def _utterance(call: _Call, folder: Path) -> Utterance:
    text = " ".join(_WORDS[key] for key in call.keys)
    return Utterance((folder / call.name,), text, call.name, seconds=sum(call.lengths) / _RATE)


def _build(calls: list[_Call], noise: float, folder: Path) -> None:
    for call in calls:
        with wave.open(str(folder / call.name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_RATE)
            file.writeframes(_sound(call, noise).numpy().astype("<i2").tobytes())


def _sound(call: _Call, noise: float) -> Tensor:
    """Synthesizes the samples, (T,) int16."""
    with torch.device("cpu"):  # The default device may be another one.
        lengths = torch.tensor(call.lengths)
        # A pause is a tone of 0 Hz, which is silent.
        tones = torch.zeros(len(lengths), 2, dtype=torch.float64)
        tones[1::2] = torch.tensor([_TONES[key] for key in call.keys], dtype=torch.float64)
        seconds = torch.arange(sum(call.lengths), dtype=torch.float64) / _RATE
        frequencies = tones.repeat_interleave(lengths, dim=0)
        sound = torch.sin(2 * math.pi * frequencies * seconds[:, None]).sum(1)
        generator = torch.Generator().manual_seed(call.seed)
        sound += noise * torch.randn(len(sound), generator=generator, dtype=torch.float64)
        # Leaves headroom for both tones and 4 standard deviations of noise: clipping is rare.
        sound *= call.loudness / (2 + 4 * noise)
        return (sound.clamp(-1, 1) * 32767).round().to(torch.int16)
