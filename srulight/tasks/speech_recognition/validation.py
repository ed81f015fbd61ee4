"""Checks of utterances before training."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.frame_store import Sound
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.recordings import Recording
from srulight.tasks.speech_recognition.transcript import single_spaced
from srulight.text.tokenizers import Tokenizer

_SLACK = 0.1  # Seconds by which a stated duration may be wrong.


class PreparedUtterance(NamedTuple):
    """An utterance as it is trained with, or why it cannot be used.

    Attributes:
        where: What an error calls it.
        fault: Why it cannot be used; empty if it can, and only then is the rest of use.
        sound: How it is played.
        frames: Number of its frames.
        targets: Tokens of its transcript.
    """

    where: str
    fault: str
    sound: Sound
    frames: int = 0
    targets: tuple[int, ...] = ()


class UtteranceValidator:
    """Prepares utterances, and finds what is wrong with them.

    Args:
        recordings: What is known of their files.
        frontend: Makes frames of them.
        num_mels: Features of a frame.
        tokenizer: Makes tokens of their transcripts.
    """

    def __init__(
        self,
        recordings: dict[Path, Recording],
        frontend: Frontend,
        num_mels: int,
        tokenizer: Tokenizer,
    ) -> None:
        self._recordings = recordings
        self._frontend = frontend
        self._num_mels = num_mels
        self._tokenizer = tokenizer

    def __call__(self, utterance: Utterance, speed: float = 1.0) -> PreparedUtterance:
        """Checks an utterance that is played so many times as fast."""
        recordings = [self._recordings[path] for path in utterance.audio]
        content = tuple(recording.sha256 for recording in recordings)
        sound = Sound(utterance.audio, utterance.pause, speed, content)
        try:
            frames = self._frames(utterance, recordings, speed)
            text = single_spaced(utterance.text)
            if not text:
                raise InputError("the transcript is empty")
            targets = tuple(self._tokenizer.encode(text))
        except InputError as error:
            return PreparedUtterance(utterance.where, str(error), sound)
        return PreparedUtterance(utterance.where, "", sound, frames, targets)

    def _frames(self, utterance: Utterance, recordings: list[Recording], speed: float) -> int:
        fault = next((recording.fault for recording in recordings if recording.fault), "")
        if fault:
            raise InputError(fault)
        has_frames = utterance.audio[0].suffix == ".npy"
        bank = self._frontend.filter_bank
        if has_frames != (bank is None) or len({p.suffix == ".npy" for p in utterance.audio}) > 1:
            kinds = ("sound", "frames (.npy)")
            raise InputError(
                f"{utterance.audio[0].name} holds {kinds[has_frames]}, and the others "
                f"{kinds[not has_frames]}"
            )
        if bank is None:
            if recordings[0].sample_rate != self._num_mels:
                raise InputError(
                    f"{utterance.audio[0]} has {recordings[0].sample_rate} features a frame, and "
                    f"the first file has {self._num_mels}"
                )
            return recordings[0].samples
        seconds = sum(r.samples / r.sample_rate for r in recordings)
        stated = utterance.seconds
        if stated is not None and abs(stated - seconds) > _SLACK + stated / 100:
            raise InputError(
                f"{utterance.audio[0].name} lasts {seconds:.2f} s, and its duration is said to be "
                f"{stated:.2f} s: it is truncated, or another file"
            )
        sizes = [(r.samples, r.sample_rate) for r in recordings]
        frames = self._frontend.num_frames(sizes, utterance.pause, speed)
        if frames == 0:
            raise InputError(
                f"{utterance.audio[0].name} lasts {1000 * seconds:.0f} ms, and a frame takes "
                f"{1000 * bank.window / bank.sample_rate:.0f} ms"
            )
        return frames


def steps_needed(targets: tuple[int, ...]) -> int:
    """Counts the steps that tokens need: one each, and a blank between two that are the same."""
    return len(targets) + sum(one == other for one, other in pairwise(targets))
