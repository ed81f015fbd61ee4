"""The cache is in a folder that the user can write to."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from srulight.runtime.cache import cache_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv("SRULIGHT_CACHE", raising=False)
    return folder


def test_the_cache_is_the_users_own(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "home"))
    assert cache_folder() == tmp_path / "new" / "home" / "srulight"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700


@pytest.mark.parametrize("home", ["/proc", "{root}/file", "nowhere"])
def test_a_cache_that_cannot_be_written_is_elsewhere(
    home: str,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home.format(root=tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = cache_folder()
    assert folder == temporary / f"srulight-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "set SRULIGHT_CACHE=FOLDER to a permanent folder" in capsys.readouterr().err
    assert cache_folder() == folder
    assert capsys.readouterr().err == ""


def test_a_temporary_folder_that_others_can_write_is_left_alone(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = temporary / f"srulight-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    folder = cache_folder()
    assert folder.parent == temporary
    assert folder != planted
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
