"""Cached files are intact, or created again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError

CONTENT = bytes(range(256)) * 100
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 3000),
    "longer": lambda path: os.truncate(path, len(CONTENT) + 1),
    "zeros": lambda path: path.write_bytes(bytes(len(CONTENT))),
    "one bit": lambda path: path.write_bytes(CONTENT[:-1] + b"\xfe"),
    "gone": lambda path: path.unlink(),
    "one more": lambda path: path.with_name("other").touch(),
    "no checksums": lambda path: path.with_name("sums.json").unlink(),
    "broken checksums": lambda path: path.with_name("sums.json").write_bytes(b"{\xff"),
    "other checksums": lambda path: path.with_name("sums.json").write_text("[1]"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(folder: Path) -> None:
    (folder / "numbers").write_bytes(CONTENT)


def never(_folder: Path) -> None:
    raise AssertionError("made a second time")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_made_again(damage: Callable[[Path], object]) -> None:
    path = cached("things", "key", make) / "numbers"
    assert cached("things", "key", never) / "numbers" == path
    damage(path)
    assert cached("things", "key", make) / "numbers" == path
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == ["numbers", "sums.json"]


def test_what_is_not_made_whole_is_not_there(cache: Path) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise KeyboardInterrupt

    left = cache / "things" / "key.1.part"  # of a process that was killed
    left.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        cached("things", "key", fail)
    assert [path.name for path in (cache / "things").iterdir()] == ["key.lock"]
    assert (cached("things", "key", make) / "numbers").is_file()


def test_says_that_a_cache_cannot_be_written(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(InputError, match=r"cannot write to .*things .*; set SRULIGHT_CACHE="):
        cached("things", "key", make)


def test_a_source_that_is_missing_is_no_fault_of_the_cache(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cached("things", "key", lambda _: (tmp_path / "missing").read_text())
