"""Whatever dies while an installation is checked, the report is complete."""

import json
import os
from pathlib import Path

import pytest

from srulight.ops import build
from tests.documents import ROOT
from tests.python import python

ISOLATED = """
import json, os, signal, sys, time
from srulight.doctor.isolation import IsolatedError, call
print(call(os.getenv, "A", environment={"A": "b"}))
for function, *args in ((signal.raise_signal, signal.SIGBUS), (json.loads, "{"), (sys.exit, 3)):
    try:
        call(function, *args)
    except IsolatedError as error:
        print(error)
try:
    call(time.sleep, 60, timeout=0.1)
except IsolatedError as error:
    print(error)
"""


def test_what_dies_in_a_process_of_its_own_is_told() -> None:
    done = python("-c", ISOLATED, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "b",
        "the process was killed by SIGBUS",
        "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1)",
        "SystemExit: 3",
        "the process did not answer within 0 seconds",
    ], done.stderr


@pytest.mark.slow
def test_a_damaged_library_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "sru-cpu.so").write_bytes(build.library("cpu").read_bytes()[:3000])
    env = {**os.environ, "SRULIGHT_PREBUILT": str(tmp_path), "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = python("-m", "srulight", "doctor", "--seconds=0", cwd=ROOT, env=env)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "sru-cpu.so is damaged" in " ".join(done.stdout.split())
    assert "CPU, PyTorch reference: 4 cases" in done.stdout
    assert "\n1 error and" in done.stdout


@pytest.mark.slow
def test_each_instruction_set_of_this_processor_is_compared() -> None:
    done = python("-m", "srulight", "doctor", "--seconds=0", "--json", cwd=ROOT)
    assert done.returncode == 0, done.stdout
    sections = {s["title"]: s["findings"] for s in json.loads(done.stdout)["sections"]}
    names = {one["name"] for one in sections["Comparison with the reference"]}
    assert "CPU, baseline" in names
    used = sections["Instruction set"][0]["facts"]["used"]
    assert f"CPU, {used}" in names
