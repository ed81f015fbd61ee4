"""Tests the logic of the CUDA kernels without a GPU.

The host's compiler compiles the same sources against the headers in ``emulator``. The tests of the
operators then run on CPU tensors. The tests marked ``cuda`` cover the rest on a GPU.
"""

import os
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.python import python


@pytest.mark.slow
def test_kernels_on_an_emulated_gpu(tmp_path: Path) -> None:
    made = python(ROOT / "tests/ops/emulator/build.py", tmp_path)
    assert made.returncode == 0, made.stderr
    # A GPU cannot report wrong lengths to the host; it stops.
    unlike = "not cuda and not refuses_more_real_steps"
    files = [f"tests/ops/test_{name}.py" for name in ("sru", "refused", "layer", "chunks")]
    status = "from srulight.ops import extension as e; e.load('cpu'); print(e.status['cpu'])"
    said = []
    for command in (
        ["-c", status],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", unlike, *files],
    ):
        run = python(*command, env={**os.environ, "SRULIGHT_PREBUILT": str(tmp_path)}, cwd=ROOT)
        assert run.returncode == 0, run.stdout + run.stderr
        said.append(run.stdout.splitlines()[-1])
    assert said[0].startswith(f"loaded from {tmp_path}")  # and not the kernels of the CPU
    assert int(said[1].split(" passed")[0]) > 200
