"""CMU AN4: addresses, dates and spelled words over a close microphone."""

import re
from pathlib import Path

from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.runtime.files import filled_lines
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

_PAGE = "www.speech.cs.cmu.edu/databases/an4"
_REMEDY = f"unpack an4_sphere.tar.gz from {_PAGE} and set --data.root to the folder it is in"
_LINE = re.compile(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*")
_ENDINGS = (".sph", ".wav", ".flac")


class AN4(SpeechCorpus):
    """948 utterances to train on and 130 to test on, at 16000 Hz; www.speech.cs.cmu.edu/databases.

    Reads ``an4/etc/an4_train.fileids``, ``an4/etc/an4_train.transcription``, the same of
    ``an4_test``, and ``an4/wav/FILEID`` with the ending ``.sph``, ``.wav`` or ``.flac``. A line of
    a transcription is ``<s> WORDS </s> (NAME)``, where NAME is the last part of the file id; the
    signs for start and end may be missing. A fixed tenth of the training utterances is held out
    for validation. The texts are in capital letters.
    """

    def fetch(self, root: Path) -> None:
        if not (_folder(root) / "etc" / "an4_train.fileids").is_file():
            raise InputError(f"AN4 cannot be downloaded from here; {_REMEDY}")

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
                f"{place}: expected the transcript of {fileid}, as {ids.name}:{at} has it, got "
                f"that of {match[2]}"
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
    """Finds a recording; the first that could be there if none is."""
    found = [folder / f"{fileid}{ending}" for ending in _ENDINGS]
    return next((path for path in found if path.is_file()), found[0])
