"""Benchmarks run; what they measure is looked at by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["--sizes", "5,2,64", "--seconds", "0.01"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "tables"),
    [
        ("gpu.py", ["--device", "cpu"], 5),
        ("recurrence.py", ["layers", "kernel", "--threads", "1", "--contenders", "SRU", "LSTM"], 4),
    ],
)
def test_prints_its_tables(name: str, arguments: list[str], tables: int) -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, f"benchmarks/{name}", *arguments, *SMALL]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert out.count("| T, B, d") == tables, out
    assert "nan" not in out
