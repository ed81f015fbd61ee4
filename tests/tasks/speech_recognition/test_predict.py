"""Which recordings are transcribed, and with which settings."""

from pathlib import Path
from typing import Any, cast

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.predict import transcribe
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.speech_recognition.transcript import Transcript


class NameReader:
    """Transcribes a file by its name."""

    def predict(self, paths: list[str], batch_size: int) -> list[Transcript]:
        return [Transcript(Path(path).stem, 1.0, []) for path in paths]


def texts(*inputs: Path) -> list[Any]:
    rows = transcribe(cast("SpeechRecognition", NameReader()), list(map(str, inputs)), 2)
    return [row["text"] for row in rows]


def test_files_of_a_folder_that_are_hidden_or_no_sound_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.wav", "._b.wav", "a.FLAC", "notes.txt", "inner/c.ogg", "inner/.c.ogg"):
        (tmp_path / name).touch()
    assert texts(tmp_path) == ["a", "b", "c"]
    # What is named is transcribed.
    assert texts(tmp_path / "._b.wav") == ["._b"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "._b.wav").touch()
    with pytest.raises(InputError, match=r"has no recordings \(\.wav, "):
        texts(tmp_path)
