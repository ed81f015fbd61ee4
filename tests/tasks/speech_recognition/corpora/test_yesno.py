"""YesNo reads the transcripts from the names of the files."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from srulight.data.download import Source
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora import yesno as yes_no
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.corpora.yesno import YesNo


def record(folder: Path) -> Path:
    """Creates twenty files that start with 0 and two that start with 1."""
    folder.mkdir(parents=True)
    for number in [*range(20), 128, 255]:
        (folder / f"{'_'.join(f'{number:08b}')}.wav").touch()
    (folder / "README").touch()
    (folder / "._0_0_0_0_0_0_0_0.wav").touch()
    return folder


def test_ones_are_yes_and_the_first_word_decides_the_split(tmp_path: Path) -> None:
    folder = record(tmp_path / "waves_yesno")
    splits = YesNo().read(tmp_path)
    assert (len(splits.train), len(splits.val)) == (18, 2)
    learnt = {u.where for u in [*splits.train, *splits.val]}
    assert learnt == {f"{'_'.join(f'{number:08b}')}.wav" for number in range(20)}
    assert splits.test == [
        Utterance(
            (folder / "1_0_0_0_0_0_0_0.wav",), "yes no no no no no no no", "1_0_0_0_0_0_0_0.wav"
        ),
        Utterance((folder / "1_1_1_1_1_1_1_1.wav",), " ".join(["yes"] * 8), "1_1_1_1_1_1_1_1.wav"),
    ]
    assert YesNo().read(folder) == splits


@pytest.mark.parametrize("name", ["0_0_0_0_0_0_0.wav", "0_0_0_0_0_0_0_2.wav", "hello.wav"])
def test_a_name_that_spells_no_words_is_refused(name: str, tmp_path: Path) -> None:
    (record(tmp_path / "waves_yesno") / name).touch()
    with pytest.raises(InputError, match=f"{name}: expected a name such as 0_0_1_0_1_1_1_1.wav"):
        YesNo().read(tmp_path)


def test_a_folder_without_recordings_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected recordings .*--data.root, .*--data.download=true"
    ):
        YesNo().read(tmp_path)


def test_it_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(record(tmp_path / "served"), "waves_yesno")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(yes_no, "_SOURCE", Source(archive.as_uri(), checksum))
    root = tmp_path / "root"
    YesNo().fetch(root)
    assert [path.name for path in root.iterdir()] == ["waves_yesno"]
    assert len(YesNo().read(root).test) == 2
    archive.unlink()
    YesNo().fetch(root)
    YesNo().fetch(root / "waves_yesno")
