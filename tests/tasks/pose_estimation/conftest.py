"""Fixtures for the tests of pose estimation."""

from pathlib import Path

import pytest

from srulight.ops import extension


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
