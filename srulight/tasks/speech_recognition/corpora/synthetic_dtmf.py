"""A corpus made on the spot: the dual tones of telephone keys."""

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

_VERSION = 1  # goes up when the same settings sound different
_RATE = 8000
_WORDS = (*DIGITS, "star", "hash")
# ITU-T Recommendation Q.23, in Hz: the rows of keys 123, 456, 789, *0# have one low tone each, the
# columns one high tone each. In the order of the words.
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
    name: str  # of the file
    keys: tuple[int, ...]  # indices into _WORDS
    lengths: list[int]  # samples of pause, key, pause, key, ..., pause
    loudness: float  # of full scale, 0.1 to 1
    seed: int  # of the noise


class SyntheticDTMF(SpeechCorpus):
    """Numbers dialled on a noisy telephone line, at 8000 Hz: needs no files.

    Each key sounds for 0.06 to 0.14 s, as the two tones of ITU-T Recommendation Q.23; before,
    between and after them are pauses of 0.04 to 0.1 s. The text is words: ``four two hash``. The
    same number is never dialled twice, so what is tested on was not heard in training. The
    sounds are made once and kept in srulight's cache folder.

    Args:
        train_size: Training utterances, at least 1.
        val_size: Validation utterances, at least 1.
        test_size: Test utterances, 0 or more.
        min_length: Keys in the shortest number, at least 1.
        max_length: Keys in the longest number, at least ``min_length``. All lengths are equally
            frequent.
        noise: Standard deviation of the white noise, where each tone has an amplitude of 1; 0 or
            more. With 1 the noise is as strong as the tones.
        seed: Number that decides which numbers are dialled and how they sound.

    Raises:
        InputError: If an argument is out of range, or there are not enough numbers of such lengths.
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
            raise InputError(f"noise must be a number, 0 or more; got {noise}")
        # Numbers are drawn until all are different, which takes long if that is most there are.
        total = train_size + val_size + test_size
        if sum(len(_WORDS) ** n for n in range(min_length, max_length + 1)) < 2 * total:
            raise InputError(
                f"there are too few numbers of {min_length} to {max_length} keys to choose {total} "
                "different ones; raise max_length"
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
        """Decides what every file of train, val and test holds."""
        generator = random.Random(self.seed)
        # What is reported, and what a model is chosen by, stays as it is with more to train on.
        sizes = {"test": self.test_size, "val": self.val_size, "train": self.train_size}
        dialled: set[tuple[int, ...]] = set()
        splits = {}
        for name, size in sizes.items():
            calls: list[_Call] = []
            while len(calls) < size:
                count = generator.randint(self.min_length, self.max_length)
                keys = tuple(generator.choices(range(len(_WORDS)), k=count))
                if keys not in dialled:
                    dialled.add(keys)
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
    """Makes the samples, (T,) int16."""
    with torch.device("cpu"):  # the default may be another one
        lengths = torch.tensor(call.lengths)
        # A pause is a tone of 0 Hz, whose sine is 0.
        tones = torch.zeros(len(lengths), 2, dtype=torch.float64)
        tones[1::2] = torch.tensor([_TONES[key] for key in call.keys], dtype=torch.float64)
        seconds = torch.arange(sum(call.lengths), dtype=torch.float64) / _RATE
        frequencies = tones.repeat_interleave(lengths, dim=0)
        sound = torch.sin(2 * math.pi * frequencies * seconds[:, None]).sum(1)
        generator = torch.Generator().manual_seed(call.seed)
        sound += noise * torch.randn(len(sound), generator=generator, dtype=torch.float64)
        # At full scale there is room for both tones and all noise but one sample in 30 000.
        sound *= call.loudness / (2 + 4 * noise)
        return (sound.clamp(-1, 1) * 32767).round().to(torch.int16)
