"""The description of the machine reads what Linux tells, and does without what it does not."""

import json
from pathlib import Path

import pytest
import torch

from srulight.runtime import machine

GIB = 1 << 30


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replaces /proc and /sys/fs/cgroup by empty folders, and returns the folder of both."""
    for name in ("proc", "cgroup"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_processor_and_memory_come_from_proc(files: Path) -> None:
    cpuinfo = "processor\t: 0\nmodel name\t: Fast  CPU 9\nflags\t\t: fpu avx2 fma\n\n"
    write(files / "proc/cpuinfo", 2 * cpuinfo)
    write(files / "proc/meminfo", "MemTotal:  1048576 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n")
    found = machine.describe()
    assert found["processor"] == "Fast CPU 9"
    assert found["instruction_sets"] == ["avx2", "fma"]
    assert found["memory_bytes"] == GIB
    assert machine.memory() == (GIB, 1 << 20)
    assert found["core_limit"] is None
    assert found["memory_limit_bytes"] is None
    json.dumps(found)


def test_what_the_system_does_not_tell_is_left_open(files: Path) -> None:
    found = machine.describe()
    assert found["instruction_sets"] == []
    assert found["cores"] >= found["usable_cores"] >= 1
    assert found["processor"]
    json.dumps(found)


def test_the_tightest_limit_of_nested_cgroups_counts(files: Path) -> None:
    write(files / "proc/self/cgroup", "0::/jobs/one\n")
    write(files / "cgroup/jobs/cpu.max", "150000 100000\n")
    write(files / "cgroup/jobs/one/cpu.max", "max 100000\n")
    write(files / "cgroup/jobs/memory.max", "max\n")
    write(files / "cgroup/jobs/one/memory.max", f"{2 * GIB}\n")
    assert machine.core_limit() == 1.5
    assert machine.memory_limit() == 2 * GIB


def test_a_container_with_cgroups_of_version_1(files: Path) -> None:
    # The path is that of the host; the container sees its own group as the root.
    write(files / "proc/self/cgroup", "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n")
    write(files / "cgroup/cpu/cpu.cfs_quota_us", "200000\n")
    write(files / "cgroup/cpu/cpu.cfs_period_us", "100000\n")
    write(files / "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.core_limit() == 2
    assert machine.memory_limit() is None
    write(files / "cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    assert machine.memory_limit() == GIB


def test_each_gpu_is_described(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        name, major, minor, total_memory = "GPU Z", 9, 0, 80 * GIB

    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\nGCC 12.2.0\n"
    write(files / "proc/driver/nvidia/version", version)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    machine.driver.cache_clear()
    expected = {"name": "GPU Z", "compute_capability": "9.0", "memory_bytes": 80 * GIB}
    assert machine.gpus() == [{**expected, "driver": "550.54.15"}]
    machine.driver.cache_clear()
