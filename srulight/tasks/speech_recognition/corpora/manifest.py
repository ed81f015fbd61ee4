"""A corpus of your own recordings, listed with their transcripts in manifests."""

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
_REMEDY = "pass its folder with --data.root, or its name with --data.corpus.train, val or test"


class Manifest(SpeechCorpus):
    """Your own recordings, listed in manifests with one recording per line.

    A manifest whose name ends in ``.jsonl`` or ``.json`` has one JSON object per line, with the
    keys ``audio`` (or ``audio_filepath``, as in NeMo) and ``text``, and optionally ``duration`` (in
    seconds) and ``speaker``; other keys are ignored. A name ending in ``.tsv`` or ``.csv`` is a
    table with the same columns, named in its first line. Manifests are UTF-8. Audio paths are
    absolute, or relative to the folder of the manifest.

    Args:
        train: Name of the training manifest, inside ``root``.
        val: Name of the validation manifest, inside ``root``. None means that a fixed tenth of the
            training utterances is held out; if every utterance has a speaker and there are at least
            10 speakers, a tenth of the speakers is held out instead, so that no speaker is in both.
        test: Name of the test manifest, inside ``root``. None means that there is no test set.
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
        raise InputError(f"{path}: expected a name ending in {', '.join(TABLES)} or .json")
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
        raise InputError(f"{path}: expected utterances below the header, got none; add some")
    return utterances


def _read_cells(row: dict[str, Any]) -> None:
    """Converts the cells of a table as in JSON: empty ones to None, durations to numbers."""
    for column in ("duration", "speaker"):
        row[column] = row.get(column) or None
    if row["duration"] is not None:
        # _seconds rejects a duration that is not a number.
        with contextlib.suppress(ValueError):
            row["duration"] = float(row["duration"])


def _text(row: dict[str, object], key: str, place: str) -> str:
    if key not in row:
        raise InputError(f"{place}: expected {key!r}, got {', '.join(map(repr, row)) or 'nothing'}")
    value = row[key]
    if not isinstance(value, str):
        raise InputError(f"{place}: expected text in {key!r}, got {value!r}")
    return value


def _seconds(duration: object, place: str) -> float | None:
    if duration is None:
        return None
    is_number = isinstance(duration, int | float) and not isinstance(duration, bool)
    # The chained comparison is false for NaN, which Python's JSON parser accepts.
    if not (is_number and 0 < duration <= sys.float_info.max):  # type: ignore[operator]
        raise InputError(f"{place}: expected seconds above 0 in 'duration', got {duration!r}")
    return float(duration)  # type: ignore[arg-type]
