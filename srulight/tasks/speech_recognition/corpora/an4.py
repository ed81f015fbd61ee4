"""CMU AN4: addresses, dates and spelled words recorded with a close microphone."""

import re
from pathlib import Path

from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.runtime.files import filled_lines
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

_PAGE = "www.speech.cs.cmu.edu/databases/an4"
_REMEDY = f"unpack an4_sphere.tar.gz from {_PAGE} and pass its folder with --data.root"
_LINE = re.compile(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*")
_ENDINGS = (".sph", ".wav", ".flac")


class AN4(SpeechCorpus):
    """CMU AN4, with 948 utterances for training and 130 for testing at 16 kHz.

    The corpus is at www.speech.cs.cmu.edu/databases/an4. Reads ``an4/etc/an4_train.fileids`` and
    ``an4/etc/an4_train.transcription``, the same two files of ``an4_test``, and the recordings
    ``an4/wav/FILEID`` with the suffix ``.sph``, ``.wav`` or ``.flac``. A line of a transcription is
    ``<s> WORDS </s> (NAME)``, where NAME is the last part of the file id; ``<s>`` and ``</s>`` may
    be missing. A fixed tenth of the training utterances is held out for validation. Transcripts are
    in upper case.
    """

    def fetch(self, root: Path) -> None:
        if not (_folder(root) / "etc" / "an4_train.fileids").is_file():
            raise InputError(f"srulight cannot download AN4; {_REMEDY}")

    def read(self, root: Path) -> SpeechSplits:
        folder = _folder(root)
        train, val = hold_out(_read(folder, "an4_train"))
        return SpeechSplits(train, val, _read(folder, "an4_test"))


def _folder(root: Path) -> Path:
    inner = root / "an4"
    return inner if inner.is_dir() else root


def _read(folder: Path, name: str) -> list[Utterance]:
    ids = folder / "etc" / f"{name}.fileids"
    transcription = folder / "etc" / f"{name}.transcription"
    names = list(filled_lines(ids, _REMEDY))
    lines = list(filled_lines(transcription, _REMEDY))
    utterances = []
    for (at, line), (number, transcript) in zip(names, lines, strict=False):
        place = f"{transcription}:{number}"
        fileid = line.strip()
        match = _LINE.fullmatch(transcript)
        if match is None:
            raise InputError(f"{place}: expected <s> WORDS </s> (NAME), got {transcript[:60]!r}")
        if match[2] not in (fileid, Path(fileid).name):
            raise InputError(
                f"{place}: expected the transcript of {fileid!r} as in {ids.name}:{at}, "
                f"got that of {match[2]!r}"
            )
        audio = _audio(folder / "wav", fileid)
        utterances.append(
            Utterance((audio,), match[1].strip(), audio.name, Path(fileid).parent.name or None)
        )
    if len(names) != len(lines):
        longer, rest = (ids, names) if len(names) > len(lines) else (transcription, lines)
        raise InputError(
            f"{longer}:{rest[len(utterances)][0]}: expected a transcript for every file id, got "
            f"{len(names)} file ids and {len(lines)} transcripts"
        )
    return utterances


def _audio(folder: Path, fileid: str) -> Path:
    """Finds a recording; returns the first candidate if none exists."""
    found = [folder / f"{fileid}{ending}" for ending in _ENDINGS]
    return next((path for path in found if path.is_file()), found[0])
