"""LibriSpeech reads the transcripts of the requested parts."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora import librispeech
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.corpora.librispeech import LibriSpeech

CORPUS = LibriSpeech(("train-clean-100", "train-clean-360"), ("dev-clean",), ("test-clean",))


def write(folder: Path, speaker: str, text: str) -> None:
    chapter = folder / speaker / "7"
    chapter.mkdir(parents=True)
    (chapter / f"{speaker}-7.trans.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "LibriSpeech"
    write(folder / "train-clean-100", "84", "84-7-0000 IT'S OLD\n84-7-0001 GO\n")
    write(folder / "train-clean-360", "19", "19-7-0000 GO ON\n")
    write(folder / "dev-clean", "12", "12-7-0000 WELL\n12-7-0001\n")
    write(folder / "test-clean", "61", "61-7-0000 YES\n")
    (folder / "dev-clean" / "12" / "7" / "._12-7.trans.txt").write_bytes(b"\x00\xff")
    return tmp_path


def test_each_line_of_a_part_is_an_utterance_with_the_file_beside_it(root: Path) -> None:
    splits = CORPUS.read(root)
    folder = root / "LibriSpeech" / "train-clean-100" / "84" / "7"
    assert splits.train[0] == Utterance(
        (folder / "84-7-0000.flac",), "IT'S OLD", "84-7-0000.flac", "84"
    )
    texts = [[u.text for u in split] for split in splits]
    assert texts == [["IT'S OLD", "GO", "GO ON"], ["WELL", ""], ["YES"]]
    assert CORPUS.read(root / "LibriSpeech") == splits


@pytest.mark.parametrize("line", ["84-8-0002 NO", "NO ID", "84-7 NO"])
def test_a_line_of_another_chapter_is_refused_with_its_place(root: Path, line: str) -> None:
    path = root / "LibriSpeech" / "train-clean-100" / "84" / "7" / "84-7.trans.txt"
    path.write_text(f"84-7-0000 A\n{line}\n")
    with pytest.raises(InputError, match=rf"84-7.trans.txt:2: expected 84-7-NUMBER .*'{line}'"):
        CORPUS.read(root)


def test_a_part_that_is_missing_is_named(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected a folder LibriSpeech/test-other, .*--data.download"
    ):
        LibriSpeech(test=("test-other",)).read(root)


def test_a_part_without_transcripts_is_refused(root: Path) -> None:
    (root / "LibriSpeech" / "test-other").mkdir()
    with pytest.raises(InputError, match=r"test-other: expected transcripts such as "):
        LibriSpeech(test=("test-other",)).read(root)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ((), ("dev-clean",), "train and val must name at least one part"),
        (("train-clean-100",), (), "train and val must name at least one part"),
        (("dev-clean",), ("dev-clean",), "one split only, got 'dev-clean' twice"),
    ],
)
def test_splits_without_a_part_or_with_the_same_are_refused(
    train: tuple[str, ...], val: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LibriSpeech(train, val)


def test_only_parts_that_are_missing_are_fetched(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served"
    write(served / "files", "5", "5-7-0000 FETCHED\n")
    archive = served / "dev-other.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(served / "files", "LibriSpeech/dev-other")
        opened.add(served / "files", "LibriSpeech/test-clean")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(librispeech, "_URL", f"{served.as_uri()}/")
    monkeypatch.setattr(librispeech, "_CHECKSUMS", {"dev-other": checksum})
    corpus = LibriSpeech(val=("dev-clean", "dev-other"))
    corpus.fetch(root)
    splits = corpus.read(root)
    assert [u.text for u in splits.val] == ["WELL", "", "FETCHED"]
    assert [u.text for u in splits.test] == ["YES"]
    archive.unlink()
    corpus.fetch(root)


def test_a_part_that_nobody_knows_is_not_fetched(root: Path) -> None:
    with pytest.raises(InputError, match=r"can download dev-clean, .*, got 'mine'; pass"):
        LibriSpeech(("train-clean-100", "mine")).fetch(root)
