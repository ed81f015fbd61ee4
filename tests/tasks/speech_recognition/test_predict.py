"""Which recordings of a folder are written down."""

from pathlib import Path
from typing import Any, cast

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.predict import transcribe
from srulight.tasks.speech_recognition.task import SpeechRecognition, Transcript


class Hears:
    """Understands everything."""

    def predict(self, paths: list[str], batch_size: int) -> list[Transcript]:
        return [Transcript(Path(path).stem, 1.0, []) for path in paths]


def heard(*inputs: Path) -> list[Any]:
    rows = transcribe(cast("SpeechRecognition", Hears()), list(map(str, inputs)), 2)
    return [row["text"] for row in rows]


def test_files_of_a_folder_that_are_hidden_or_no_sound_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.wav", "._b.wav", "a.FLAC", "notes.txt", "inner/c.ogg", "inner/.c.ogg"):
        (tmp_path / name).touch()
    assert heard(tmp_path) == ["a", "b", "c"]
    # What is named is heard.
    assert heard(tmp_path / "._b.wav") == ["._b"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "._b.wav").touch()
    with pytest.raises(InputError, match=r"has no recordings \(\.wav, "):
        heard(tmp_path)
