"""A user's own recordings, listed with their transcripts in manifests."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from srulight.data.hold_out import hold_out
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.records import TABLES, table_rows
from srulight.tasks.speech_recognition.corpora.base import SpeechCorpus, SpeechSplits, Utterance

_ENOUGH_SPEAKERS = 10
_AUDIO = ("audio", "audio_filepath")
_REMEDY = "set --data.root to its folder, or the corpus's file names"


class Manifest(SpeechCorpus):
    """Your own recordings, one a line, in lists of JSON lines or tables.

    A name ending in ``.jsonl`` or ``.json`` has one JSON object a line, with the keys ``audio``
    (or ``audio_filepath``, as NeMo's manifests have it) and ``text`` and, if you like,
    ``duration`` in seconds and ``speaker``; others are ignored. One ending in ``.tsv`` or ``.csv``
    is a table whose first line names such columns. All are UTF-8. A path of audio that is not
    absolute is relative to the folder of its manifest.

    Args:
        train: Name of the training manifest, inside ``root``.
        val: Name of the validation manifest; if None, a fixed tenth of the training utterances is
            held out: of the speakers instead, if every utterance has one and there are 10 or more,
            so that nobody is heard in both.
        test: Name of the test manifest; if None, there is nothing to test on.
    """

    def __init__(
        self, train: str = "train.jsonl", val: str | None = None, test: str | None = None
    ) -> None:
        self.train = train
        self.val = val
        self.test = test

    def read(self, root: Path) -> SpeechSplits:
        train = _utterances(root, self.train)
        if self.val is None:
            train, val = _hold_out(train)
        else:
            val = _utterances(root, self.val)
        return SpeechSplits(train, val, [] if self.test is None else _utterances(root, self.test))


def _hold_out(utterances: list[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    speakers = {u.speaker for u in utterances if u.speaker is not None}
    if len(speakers) < _ENOUGH_SPEAKERS or any(u.speaker is None for u in utterances):
        return hold_out(utterances)
    held = set(hold_out(sorted(speakers))[1])
    train = [u for u in utterances if u.speaker not in held]
    return train, [u for u in utterances if u.speaker in held]


def _utterances(root: Path, name: str) -> list[Utterance]:
    path = root / name
    if path.suffix not in (*TABLES, ".json"):
        raise InputError(f"{path}: expected a name ending in {', '.join(TABLES)}, .json")
    utterances = []
    faults = Faults()
    for number, row in table_rows(path, _REMEDY, faults):
        place = f"{path}:{number}"
        if path.suffix in (".tsv", ".csv"):
            _read_cells(row)
        key = next((key for key in _AUDIO if key in row), "audio")
        audio = _text(row, key, place)
        if not audio or "\0" in audio:
            raise InputError(f"{place}: expected the path of a recording in {key!r}, got {audio!r}")
        speaker = row.get("speaker")
        if not isinstance(speaker, str | int | None):
            raise InputError(f"{place}: expected a name in 'speaker', got {speaker!r}")
        utterances.append(
            Utterance(
                audio=(path.parent / audio,),
                text=_text(row, "text", place),
                where=f"{name}:{number}",
                speaker=None if speaker is None else str(speaker),
                seconds=_seconds(row.get("duration"), place),
            )
        )
    faults.refuse()
    if not utterances:
        raise InputError(f"{path} has a header but no utterances")
    return utterances


def _read_cells(row: dict[str, Any]) -> None:
    """Makes of the text in a table what JSON would have: none of what is empty, and a number."""
    for column in ("duration", "speaker"):
        row[column] = row.get(column) or None
    if row["duration"] is not None:
        # What is no number is refused later, as other things that are not seconds.
        with contextlib.suppress(ValueError):
            row["duration"] = float(row["duration"])


def _text(row: dict[str, object], key: str, place: str) -> str:
    if key not in row:
        raise InputError(f"{place}: expected {key!r}, got only {', '.join(row) or 'nothing'}")
    value = row[key]
    if not isinstance(value, str):
        raise InputError(f"{place}: expected text in {key!r}, got {value!r}")
    return value


def _seconds(duration: object, place: str) -> float | None:
    if duration is None:
        return None
    is_number = isinstance(duration, int | float) and not isinstance(duration, bool)
    # Written so that it is false for NaN, which Python's JSON has.
    if not (is_number and 0 < duration <= sys.float_info.max):  # type: ignore[operator]
        raise InputError(f"{place}: expected seconds above 0 in 'duration', got {duration!r}")
    return float(duration)  # type: ignore[arg-type]
