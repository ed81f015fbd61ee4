"""The Free Spoken Digit Dataset: single digits, or digit strings made of them."""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_PAGE = "github.com/Jakobovski/free-spoken-digit-dataset"
_REMEDY = f"get it from {_PAGE} and pass its folder with --data.root"
_NAME = re.compile(r"([0-9])_(.+)_([0-9]+)\.wav")


class _Clip(NamedTuple):
    path: Path
    digit: int
    speaker: str


class FSDD(SpeechCorpus):
    """The Free Spoken Digit Dataset: English digits by 6 speakers at 8 kHz.

    Reads ``recordings/DIGIT_SPEAKER_INDEX.wav`` and ignores hidden files. Indices 0 to 4 are for
    testing, as in the official split, 5 to 9 for validation and the others for training. The
    transcripts are words, such as ``three one four``.

    A string joins clips of one speaker. In each pass, the clips of a speaker are shuffled and cut
    into strings of random lengths, so that each clip occurs once. If the number of clips is not a
    sum of allowed lengths (5 clips in strings of 3 or 4), a pass leaves out a few clips.

    Args:
        strings: Whether to join clips into strings of digits; otherwise an utterance is one digit,
            and the other arguments have no effect.
        min_length: Number of digits in the shortest string, at least 1.
        max_length: Number of digits in the longest string, at least ``min_length``.
        passes: Number of training strings that contain each clip, at least 1.
        eval_passes: Number of validation or test strings that contain each clip, at least 1.
        pause: Silence between two digits, in seconds, 0 or more.
        seed: Seed for composing the strings.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(
        self,
        strings: bool = True,
        min_length: int = 3,
        max_length: int = 7,
        passes: int = 3,
        eval_passes: int = 1,
        pause: float = 0.05,
        seed: int = 1,
    ) -> None:
        if not 1 <= min_length <= max_length:
            raise InputError(
                "min_length must be at least 1 and at most max_length, got "
                f"min_length={min_length} max_length={max_length}"
            )
        if passes < 1 or eval_passes < 1:
            raise InputError(
                "passes and eval_passes must be at least 1, got "
                f"passes={passes} eval_passes={eval_passes}"
            )
        if not 0 <= pause < float("inf"):
            raise InputError(f"pause must be a number of seconds, 0 or more, got {pause}")
        self.strings = strings
        self.min_length = min_length
        self.max_length = max_length
        self.passes = passes
        self.eval_passes = eval_passes
        self.pause = pause
        self.seed = seed

    def fetch(self, root: Path) -> None:
        if not any(_recordings(root).glob("*.wav")):
            raise InputError(f"srulight cannot download the Free Spoken Digit Dataset; {_REMEDY}")

    def read(self, root: Path) -> SpeechSplits:
        folder = _recordings(root)
        clips: dict[str, list[_Clip]] = {"train": [], "val": [], "test": []}
        # Sorted, because the order of a directory listing depends on the file system.
        for path in sorted(folder.glob("*.wav")):
            if path.name.startswith("."):
                continue
            match = _NAME.fullmatch(path.name)
            if match is None:
                raise InputError(
                    f"{path}: expected a name such as 7_jackson_32.wav; rename or remove the file"
                )
            split = {0: "test", 1: "val"}.get(int(match[3]) // 5, "train")
            clips[split].append(_Clip(path, int(match[1]), match[2]))
        if not any(clips.values()):
            raise InputError(
                f"{folder}: expected recordings such as 7_jackson_32.wav, got none; {_REMEDY}"
            )
        return SpeechSplits(*(self._split(folder, name, found) for name, found in clips.items()))

    def _split(self, folder: Path, name: str, clips: list[_Clip]) -> list[Utterance]:
        passes = self.passes if name == "train" else self.eval_passes
        # One generator per split, so that more passes over one split do not change another.
        generator = random.Random(f"{self.seed} {name}")
        if self.strings:
            joined = [s for _ in range(passes) for s in self._join(clips, generator)]
        else:
            joined = [[clip] for clip in clips]
        if not joined:
            indices = {"train": "10 and above", "val": "5 to 9", "test": "0 to 4"}[name]
            raise InputError(
                f"{folder}: expected recordings with an index of {indices} for the {name} split, "
                f"got too few; {_REMEDY}"
            )
        return [self._utterance(string) for string in joined]

    def _join(self, clips: list[_Clip], generator: random.Random) -> Iterator[list[_Clip]]:
        by_speaker: dict[str, list[_Clip]] = {}
        for clip in clips:
            by_speaker.setdefault(clip.speaker, []).append(clip)
        for own in by_speaker.values():
            generator.shuffle(own)
            start = 0
            for length in self._lengths(len(own), generator):
                yield own[start : start + length]
                start += length

    def _lengths(self, total: int, generator: random.Random) -> Iterator[int]:
        """Splits the largest possible part of ``total`` into random allowed lengths."""

        def can_be_cut(number: int) -> bool:
            return -(-number // self.max_length) <= number // self.min_length

        while not can_be_cut(total):
            total -= 1
        while total:
            longest = min(self.max_length, total)
            allowed = range(self.min_length, longest + 1)
            length = generator.choice([n for n in allowed if can_be_cut(total - n)])
            yield length
            total -= length

    def _utterance(self, clips: list[_Clip]) -> Utterance:
        return Utterance(
            audio=tuple(clip.path for clip in clips),
            text=" ".join(DIGITS[clip.digit] for clip in clips),
            where="+".join(clip.path.name for clip in clips),
            speaker=clips[0].speaker,
            pause=self.pause if len(clips) > 1 else 0.0,
        )


def _recordings(root: Path) -> Path:
    inner = root / "recordings"
    return inner if inner.is_dir() else root
