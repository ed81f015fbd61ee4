"""Files are written atomically: they are complete or absent."""

import os
import re
from pathlib import Path

import pytest

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with written(path) as part:
        part.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(UnicodeEncodeError), written(path) as part:
        part.write_text("half of the seco\udc00", encoding="utf-8")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    for text in ("first", "second"):
        with written(link) as part:
            part.write_text(text)
        assert link.is_symlink()
        assert (tmp_path / "there" / "file").read_text() == text


def test_pipes_and_devices_are_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written(pipe) as place:
        place.write_text("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()
    read, write = os.pipe()  # as the shell gives one for >(command)
    with written(Path(f"/proc/self/fd/{write}")) as place:
        place.write_text("through")
    assert os.read(read, 100) == b"through"
    for end in (read, write):
        os.close(end)
    full = Path("/dev/full")
    with (
        pytest.raises(InputError, match="No space left on dev"),
        written(full) as part,
    ):
        part.write_text("x")
    assert full.is_char_device()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/below", "cannot write {root}/file/below: {root}/file is a file, not a folder"),
        ("file/far/below", "cannot write {root}/file/far/below: {root}/file is a file, not a"),
        ("folder", "cannot write {root}/folder: Is a directory"),
        ("/", "cannot write /: Is a directory"),
        ("/proc/x/y", "cannot write /proc/x/y: the folder /proc/x cannot be created"),
        ("gone/file", "cannot write {root}/gone/file: the folder {root}/gone cannot be created"),
        ("n" * 300, "cannot write {root}/" + "n" * 300 + ": File name too long"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    def write(part: Path) -> None:
        if name.startswith("gone"):
            part.parent.rmdir()
        part.write_text("x")

    expected = re.escape(message.format(root=tmp_path))
    with pytest.raises(InputError, match=expected), written(tmp_path / name) as part:
        write(part)
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}
