"""The kernels for every instruction set of this processor compute the right results."""

import os
from pathlib import Path

import pytest

from srulight.ops import build
from tests.documents import ROOT
from tests.python import python

FILES = ("tests/ops/test_sru.py", "tests/ops/test_codebook.py")
LOADED = "from srulight.ops import extension as e; e.load('cpu'); print(e.status['cpu'])"


def run(level: str, *arguments: str) -> str:
    return python(*arguments, env={**os.environ, "SRULIGHT_CPU": level}, cwd=ROOT).stdout


def processor_has(level: str) -> bool:
    """Checks with the system, not the library, that the processor supports a level."""
    info = Path("/proc/cpuinfo")
    known = set(info.read_text().replace("_", "").split()) if info.exists() else set()
    return {
        flag.removeprefix("-m").replace("-", "") for flag in build.LEVELS[level].split()
    } <= known


@pytest.mark.parametrize("level", build.LEVELS)
def test_level(level: str) -> None:
    if not processor_has(level):
        pytest.skip(f"this processor is none of {level}")
    status = run(level, "-c", LOADED).strip()
    assert status.startswith("loaded"), status
    assert status.endswith(f", for {level}"), status
    tests = "kernel_equals or odd_sizes or threads or extreme or nan or rounded"
    out = run(level, "-m", "pytest", "-q", *FILES, "-k", tests)
    assert " passed" in out.splitlines()[-1], out
    assert "failed" not in out.splitlines()[-1], out


def test_an_unknown_level_changes_nothing() -> None:
    status = run("none", "-c", LOADED)
    assert status.startswith("loaded"), status
    assert status == run("", "-c", LOADED)
