"""The kernels of every instruction set that this processor has are right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from srulight.ops import build

LOADED = "from srulight.ops import extension as e; e.load('cpu'); print(e.status['cpu'])"


def run(level: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "SRULIGHT_CPU": level},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize("level", build.LEVELS)
def test_level(level: str) -> None:
    if not run(level, "-c", LOADED).strip().endswith(f", for {level}"):
        pytest.skip(f"this processor is none of {level}")
    tests = "kernel_equals or odd_sizes or threads or extreme or nan or rounded"
    out = run(level, "-m", "pytest", "-q", "tests/ops/test_sru.py", "-k", tests)
    assert " passed" in out.splitlines()[-1], out
    assert "failed" not in out.splitlines()[-1], out


def test_an_unknown_level_changes_nothing() -> None:
    assert run("none", "-c", LOADED) == run("", "-c", LOADED)
