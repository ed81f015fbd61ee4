"""The command line makes the process keep large blocks of memory, unless it is told not to."""

import os
import subprocess
import sys

import pytest

# Counts the page faults of a tensor of 64 MB after a similar one was freed.
FAULTS = """
import resource
from srulight.cli import main
main(["--version"])
import torch
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    command = [sys.executable, "-c", FAULTS]
    # The command line of another test may have set it in this process.
    world = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
    out = subprocess.check_output(command, env={**world, **environment}, text=True)
    return int(out.split()[-1])


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or "LD_PRELOAD" in os.environ,
    reason="it is the allocator of Linux that is set",
)
def test_memory_is_kept() -> None:
    assert 4 * faults() < faults(SRULIGHT_MEMORY="off")
