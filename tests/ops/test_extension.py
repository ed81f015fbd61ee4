"""The kernels are built once, shared, and never in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

USE = """
import torch
from srulight.ops import extension, sru
u = torch.arange(24.).reshape(1, 2, 3, 4).requires_grad_()
h, _ = sru(u, None, None, torch.zeros(2, 4))
h.sum().backward()
print(extension.status['cpu'].split()[0], round(h.sum().item(), 4), round(u.grad.sum().item(), 4))
"""


def use(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USE],
        env={**os.environ, "SRULIGHT_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_start_at_once_share_one_build(tmp_path: Path) -> None:
    runs = [use(tmp_path) for _ in range(3)]
    outputs = [run.communicate() for run in runs]
    assert len({out for out, _ in outputs}) == 1
    assert outputs[0][0].startswith("loaded")
    assert sum("building" in err for _, err in outputs) == 1
    (library,) = tmp_path.glob("kernels/*/*.so")
    again = use(tmp_path).communicate()
    assert "building" not in again[1]
    os.truncate(library, 3000)  # to run what is left of it would be a bus error
    after = use(tmp_path).communicate()
    assert after[0] == outputs[0][0]
    assert "building" in after[1]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PATH": ""}, "no C++ compiler was found"),
        ({"CXX": "/bin/false"}, "/bin/false failed"),
        ({"SRULIGHT_CACHE": "/proc/none"}, "set SRULIGHT_CACHE to a folder that can"),
        ({"SRULIGHT_EXTENSION": "off"}, ""),
    ],
)
def test_without_a_build_the_reference_runs(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    out, err = use(tmp_path, **environment).communicate()
    expected = use(tmp_path / "with").communicate()[0]
    assert out.split()[1:] == expected.split()[1:]
    assert err.count("SRU runs on the slower PyTorch reference") == (1 if sentence else 0)
    assert sentence in err
