"""Text files are read as UTF-8, split at line endings only, and limited in size."""

import gzip
import os
import random
import threading
from pathlib import Path

import pytest

from srulight.runtime import files
from srulight.runtime.errors import InputError
from srulight.runtime.files import filled_lines, lines, opened, raw_lines, read_text, well_formed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_line_ends_with_a_line_end_only(mark: str, packed: bool, tmp_path: Path) -> None:
    data = f"{mark}a\rb\u2028c\x85d\x0ce \r\n\n\ufefff".encode()
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(data) if packed else data)
    wanted = [(1, "a\rb\u2028c\x85d\x0ce "), (2, ""), (3, "\ufefff")]
    assert list(lines(path)) == wanted
    assert list(filled_lines(path)) == [wanted[0], wanted[2]]
    assert read_text(path) == "a\rb\u2028c\x85d\x0ce \r\n\n\ufefff"


def test_any_text_comes_back_line_by_line(tmp_path: Path) -> None:
    generator = random.Random(0)
    signs = ["\r", "\n", "\r\n", "\ufeff", " ", "a", "é", "\U0001f600", "\u2029", "\0"]
    path = tmp_path / "text"
    for _ in range(500):
        text = "".join(generator.choices(signs, k=generator.randrange(12)))
        path.write_bytes(text.encode())
        wanted = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
        # A line ending at the end of the file does not start another line.
        if text.endswith("\n") or not text:
            wanted.pop()
        assert [line for _, line in lines(path)] == wanted, text


def test_latin_1_is_read_if_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("caf\u00e9\n".encode("latin-1"))
    assert list(lines(path, encoding="latin-1")) == [(1, "caf\u00e9")]


@pytest.mark.parametrize("encoding", ["utf-16", "nosuch", "rot13"])
def test_an_encoding_whose_lines_end_otherwise_is_refused(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"encoding must be .* got '{encoding}'"):
        list(lines(tmp_path / "text", encoding=encoding))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"ok\nr\xe9sum\xe9\n", r"text:2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"half \xf0\x9f\x98\n", "text:1: byte 0xf0 is not UTF-8"),
        (b"surrogate \xed\xa0\xbd\n", "text:1: byte 0xed is not UTF-8"),
        (b" \n\t\r\n", "text is empty"),
        (b"", "text is empty"),
        ("text\n".encode("utf-16"), "text: expected UTF-8 text, got UTF-16; save the file as"),
        (b"PK\x03\x04rest", "text: expected UTF-8 text, got a zip archive; unpack it"),
        (gzip.compress(b"text\n", mtime=0)[:-4], "text is damaged or not gzip"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(data)
    for reader in (lambda: list(filled_lines(path)), lambda: read_text(path)):
        with pytest.raises(InputError, match=why):
            reader()


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"text is not in .*; look elsewhere$"):
        read_text(tmp_path / "text", "look elsewhere")


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_devices_are_no_files_of_text(source: str) -> None:
    with pytest.raises(InputError, match=f"{source} is a device; expected a text file"):
        next(raw_lines(Path(source)))


def test_folders_are_no_files_of_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(b"a\r\nb", mtime=0),))
    writer.start()
    assert list(lines(path)) == [(1, "a"), (2, "b")]
    writer.join()


def test_what_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(files, "LARGEST_TEXT", 1 << 20)
    path = tmp_path / "text"
    path.write_bytes(b"a" * (1 << 20) + b"\r\n")
    assert len(next(lines(path))[1]) == 1 << 20
    path.write_bytes(b"short\n" + b"a" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="text:2: expected a line of at most 1 MB, got a longer"):
        list(lines(path))
    path.write_bytes(gzip.compress(b"a" * (1 << 24)))
    with pytest.raises(InputError, match="text:1: expected a line of at most 1 MB"):
        list(lines(path))
    with pytest.raises(InputError, match=r"expected at most .* GB of text"):
        read_text(path)


def test_errors_of_who_reads_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a\n")
    with pytest.raises(KeyError), opened(path):
        raise KeyError


def test_half_a_character_becomes_the_sign_for_it() -> None:
    assert well_formed("a\ud83db\udc00\u00e9") == "a\ufffdb\ufffd\u00e9"
    for text in ("abc", "\u00e9\U0001f600"):
        assert well_formed(text) is text
