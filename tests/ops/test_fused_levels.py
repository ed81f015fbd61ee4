"""The fused kernel for every dtype, and for processors that tests do not have."""

import os
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.python import python


def run(**environment: str) -> str:
    """Runs test_fused.py with the fused kernel for all dtypes, and returns pytest's last line."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops/test_fused.py")
    env = {**os.environ, "SRULIGHT_FUSED": "on", **environment}
    done = python(*arguments, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("level", ["", "baseline"])
def test_all_dtypes(level: str) -> None:
    last = run(SRULIGHT_CPU=level)
    assert " passed" in last
    assert "skipped" not in last


def test_can_be_turned_off() -> None:
    assert " skipped" in run(SRULIGHT_FUSED="off")


@pytest.mark.slow(minutes=3)
@pytest.mark.parametrize("unit", ["pairs", "tiles"])
def test_emulated_processor(tmp_path: Path, unit: str) -> None:
    made = python(ROOT / "tests/ops/emulator/processor.py", tmp_path, unit)
    assert made.returncode == 0, made.stderr
    last = run(SRULIGHT_PREBUILT=str(tmp_path), SRULIGHT_CPU="baseline")
    assert " passed" in last
    assert "skipped" not in last
