"""Text files are located, divided between characters, and read piece by piece."""

from pathlib import Path

import pytest

from srulight.data.download import Source
from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling.corpora import base, text_files
from srulight.tasks.language_modeling.corpora.base import Span
from srulight.tasks.language_modeling.corpora.text_files import TextFiles


def content(span: Span | None) -> str:
    assert span is not None
    return b"".join(span.blocks()).decode()


def test_what_is_held_out_comes_from_the_end(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("0123456789")
    train, val, test = TextFiles("all.txt", val_bytes=3, test_bytes=2).read(tmp_path)
    assert (content(train), content(val), content(test)) == ("01234", "567", "89")
    train, val, test = TextFiles("all.txt", val_bytes=3).read(tmp_path)
    assert (content(train), content(val), test) == ("0123456", "789", None)


def test_no_character_is_cut_in_two(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("ab\N{GRINNING FACE}cd")  # four bytes
    for size in range(1, 8):
        train, val, _ = TextFiles("all.txt", val_bytes=size).read(tmp_path)
        assert content(train) + content(val) == "ab\N{GRINNING FACE}cd"


@pytest.mark.parametrize("block", [1, 2, 5, 100])
def test_pieces_end_with_lines_and_then_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(base, "_BLOCK", block)
    data = b"one two\n\nthree\nfour five six"
    (tmp_path / "a.txt").write_bytes(data)
    blocks = list(Span(tmp_path / "a.txt", 0, len(data)).blocks())
    assert b"".join(blocks) == data
    assert all(piece[-1:] in b"\n " for piece in blocks[:-1])
    assert b"".join(Span(tmp_path / "a.txt", 4, 9).blocks()) == data[4:9]


def test_text_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(base, "_BLOCK", 1 << 18)
    (tmp_path / "a.txt").write_bytes(b"a b" * 3 + b"a" * (1 << 21))
    with pytest.raises(
        InputError, match=r"a.txt: expected text with spaces or line ends, got 1 MB"
    ):
        list(Span(tmp_path / "a.txt", 0, 1 << 21).blocks())


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no validation text; set --data.corpus.val=FILE"):
        TextFiles()
    with pytest.raises(InputError, match="0 if val or test is set"):
        TextFiles(val="val.txt", val_bytes=3)
    (tmp_path / "all.txt").write_text("0123")
    with pytest.raises(InputError, match="expected more than the 4 bytes to hold out, got 4"):
        TextFiles("all.txt", val_bytes=4).read(tmp_path)
    with pytest.raises(InputError, match=r"tinyshakespeare\.txt is not in .*download=true"):
        TextFiles("tinyshakespeare.txt", val_bytes=4).read(tmp_path)


def test_downloads_only_what_it_can_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[Source, Path]] = []
    monkeypatch.setattr(text_files, "download", lambda source, target: got.append((source, target)))
    TextFiles("tinyshakespeare.txt", val_bytes=4).fetch(tmp_path)
    ((source, target),) = got
    assert target == tmp_path / "tinyshakespeare.txt"
    assert len(source.sha256) == 64
    with pytest.raises(InputError, match=r"enwik8 cannot be downloaded.*mattmahoney\.net"):
        TextFiles("enwik8", val_bytes=4).fetch(tmp_path)
    (tmp_path / "enwik8").write_text("there already")
    TextFiles("enwik8", val_bytes=4).fetch(tmp_path)
