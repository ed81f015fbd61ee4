"""What is wrong with an utterance, told before training."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.frame_store import Sound
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.recordings import Recording
from srulight.text.spelling import Speller, normalize

_SLACK = 0.1  # Seconds by which a duration that was written down may be wrong.


class PreparedUtterance(NamedTuple):
    """An utterance as it is trained with, or why it cannot be.

    Attributes:
        where: What an error calls it.
        fault: Why it cannot be used; empty if it can, and only then is the rest of use.
        sound: How it is played.
        frames: How many it has.
        targets: Tokens of its transcript.
    """

    where: str
    fault: str
    sound: Sound
    frames: int = 0
    targets: tuple[int, ...] = ()


class UtteranceValidator:
    """Makes utterances ready, and finds what is wrong with them.

    Args:
        recordings: What is known of their files.
        frontend: What makes frames of them.
        num_mels: Features of a frame.
        speller: What makes tokens of their transcripts.
        lowercase: Whether transcripts are turned into lower case.
    """

    def __init__(
        self,
        recordings: dict[Path, Recording],
        frontend: Frontend,
        num_mels: int,
        speller: Speller,
        lowercase: bool,
    ) -> None:
        self._recordings = recordings
        self._frontend = frontend
        self._bands = num_mels
        self._speller = speller
        self._lowercase = lowercase

    def __call__(self, utterance: Utterance, speed: float = 1.0) -> PreparedUtterance:
        """Checks an utterance that is played so many times as fast."""
        heard = [self._recordings[path] for path in utterance.audio]
        content = tuple(recording.sha256 for recording in heard)
        sound = Sound(utterance.audio, utterance.pause, speed, content)
        try:
            frames = self._frames(utterance, heard, speed)
            text = normalize(utterance.text, self._lowercase)
            if not text:
                raise InputError("the transcript is empty")
            targets = tuple(self._speller.encode(text))
        except InputError as error:
            return PreparedUtterance(utterance.where, str(error), sound)
        return PreparedUtterance(utterance.where, "", sound, frames, targets)

    def _frames(self, utterance: Utterance, heard: list[Recording], speed: float) -> int:
        fault = next((recording.fault for recording in heard if recording.fault), "")
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
            if heard[0].sample_rate != self._bands:
                raise InputError(
                    f"{utterance.audio[0]} has {heard[0].sample_rate} features a frame, and the "
                    f"first file has {self._bands}"
                )
            return heard[0].samples
        seconds = sum(r.samples / r.sample_rate for r in heard)
        said = utterance.seconds
        if said is not None and abs(said - seconds) > _SLACK + said / 100:
            raise InputError(
                f"{utterance.audio[0].name} lasts {seconds:.2f} s, and its duration is said to be "
                f"{said:.2f} s: it is truncated, or another file"
            )
        sizes = [(r.samples, r.sample_rate) for r in heard]
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
