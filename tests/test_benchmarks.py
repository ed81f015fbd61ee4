"""Benchmarks run; what they measure is looked at by hand."""

import os
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


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("recurrence.py", ["layers"], "sru2.6 is left out: the package sru is not installed"),
        ("parity.py", [], "the package to compare with is not installed: pip install"),
    ],
)
def test_a_contender_that_is_not_installed_is_left_out(
    tmp_path: Path, name: str, arguments: list[str], sentence: str
) -> None:
    root = Path(__file__).parents[1]
    # A finder that finds no such package, wherever it is.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery as m, sys\n"
        "find = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = classmethod(\n"
        "    lambda c, name, *rest: None if name == 'sru' else find(name, *rest))\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, f"benchmarks/{name}", *arguments, "--threads", "1"]
    command += ["--dtypes", "float32", "--contenders", "SRU", "sru2.6", *SMALL]
    ended = subprocess.run(
        command if arguments else command[:2],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert sentence in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    if arguments:
        assert ended.returncode == 0
        assert "| sru2.6 / SRU |" not in ended.stdout
        assert "| 5,2,64 | forward |" in ended.stdout
