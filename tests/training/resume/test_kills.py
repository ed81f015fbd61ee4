"""A run that is killed repeatedly ends like one that never was; benchmarks/kills.py does more."""

import pytest

from tests.documents import ROOT
from tests.python import python

# A killed process loses nothing that it has written, so nobody waits for the disk.
KILLS = """
import os, runpy
os.fsync = lambda descriptor: None
runpy.run_path("benchmarks/kills.py", run_name="__main__")
"""


@pytest.mark.slow(minutes=4)
def test_killed_runs_of_every_task_end_exactly() -> None:
    done = python("-c", KILLS, "--kills", "12", cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    header, *rows, total = done.stdout.splitlines()
    names = header.split()[1:]
    counts = dict(zip(names, map(int, total.split()[1:]), strict=True))
    assert counts["kills"] == 12
    kills = {row.split(",")[0]: 0 for row in rows}
    for row in rows:
        kills[row.split(",")[0]] += int(row[50:].split()[names.index("kills")])
    assert len(kills) == 8
    assert min(kills.values()) > 0
    assert counts["exact"] == counts["runs"] > 0
    assert counts["lost"] == counts["corrupt"] == 0
