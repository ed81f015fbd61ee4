"""Validation of utterances before training."""

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

_SLACK = 0.1  # Seconds by which a stated duration may be off, besides 1% of it.


class PreparedUtterance(NamedTuple):
    """An utterance that is ready for training, or the reason why it cannot be used.

    Attributes:
        where: Name of the utterance in error messages.
        fault: Why the utterance cannot be used; empty if it can. If there is a fault, ``frames``
            and ``targets`` have no meaning.
        sound: Audio of the utterance.
        frames: Number of frames.
        targets: Token ids of the transcript.
    """

    where: str
    fault: str
    sound: Sound
    frames: int = 0
    targets: tuple[int, ...] = ()


class UtteranceValidator:
    """Checks utterances and prepares them for training.

    Args:
        recordings: Properties of the audio files.
        frontend: Frontend that computes the frames.
        num_mels: Number of features per frame.
        tokenizer: Tokenizer of the transcripts.
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
        """Checks an utterance.

        Args:
            utterance: The utterance.
            speed: Playback speed; 1 is the original.

        Returns:
            The prepared utterance, or one with a ``fault``.
        """
        recordings = [self._recordings[path] for path in utterance.audio]
        content = tuple(recording.sha256 for recording in recordings)
        sound = Sound(utterance.audio, utterance.pause, speed, content)
        try:
            frames = self._frames(utterance, recordings, speed)
            text = single_spaced(utterance.text)
            if not text:
                raise InputError("expected a transcript, got an empty one")
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
            kinds = ("audio", "frames (.npy)")
            raise InputError(
                f"expected {kinds[not has_frames]} as in training, got "
                f"{kinds[has_frames]} in {utterance.audio[0].name}"
            )
        if bank is None:
            if recordings[0].sample_rate != self._num_mels:
                raise InputError(
                    f"expected {self._num_mels} features per frame as in training, got "
                    f"{recordings[0].sample_rate} in {utterance.audio[0]}"
                )
            return recordings[0].samples
        seconds = sum(r.samples / r.sample_rate for r in recordings)
        stated = utterance.seconds
        if stated is not None and abs(stated - seconds) > _SLACK + stated / 100:
            raise InputError(
                f"expected a duration of {stated:.2f} s, got {seconds:.2f} s in "
                f"{utterance.audio[0].name}: it is truncated, or another recording"
            )
        sizes = [(r.samples, r.sample_rate) for r in recordings]
        frames = self._frontend.num_frames(sizes, utterance.pause, speed)
        if frames == 0:
            raise InputError(
                f"expected at least one frame of {1000 * bank.window / bank.sample_rate:.0f} ms, "
                f"got {1000 * seconds:.0f} ms in {utterance.audio[0].name}"
            )
        return frames


def steps_needed(targets: tuple[int, ...]) -> int:
    """Counts the steps that CTC needs to emit tokens.

    Each token needs one step, and so does the blank between two equal tokens in a row.
    """
    return len(targets) + sum(one == other for one, other in pairwise(targets))
