"""A run that is killed repeatedly ends like one that never was; benchmarks/kills.py does more."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_runs_of_every_task_end_exactly() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "benchmarks/kills.py", "--kills", "10"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    header, *_, total = done.stdout.splitlines()
    names = header.split()[1:]
    counts = dict(zip(names, map(int, total.split()[1:]), strict=True))
    assert counts["kills"] == 10
    assert counts["exact"] == counts["runs"] > 0
    assert counts["lost"] == counts["corrupt"] == 0
