"""Describes the machine: processor, memory, system and GPUs, for reports and measurements."""

import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from srulight.runtime.devices import usable_cores

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # Version 1 of cgroups writes a huge number where there is no limit.

_INSTRUCTIONS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8", "asimd",
    "asimdhp", "bf16", "sve", "sve2",
)  # fmt: skip
"""Instruction sets that matter for speed, by their names in /proc/cpuinfo."""


def describe() -> dict[str, Any]:
    """Describes this machine as plain data, which can be written as JSON.

    Only what the system tells is filled in; the rest is None, empty or "unknown". Nothing in it
    identifies the machine or its user.

    Returns:
        ``processor``: model of the processor. ``architecture``: such as x86_64. ``cores``: number
        of logical cores. ``usable_cores``: number of cores that this process may use.
        ``core_limit``: number of cores that the cgroups of the process grant it, a fraction or
        None for no limit. ``instruction_sets``: those that the processor has and the system
        reports, a list. ``memory_bytes``: size of the main memory. ``memory_limit_bytes``: limit of
        the cgroups, or None. ``system``: operating system and its version. ``gpus``: what ``gpus``
        returns. ``mps``: whether torch can use the GPU of an Apple computer.
    """
    return {
        "processor": processor(),
        "architecture": platform.machine() or "unknown",
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "core_limit": core_limit(),
        "instruction_sets": [name for name in _INSTRUCTIONS if name in processor_flags()],
        "memory_bytes": memory()[0],
        "memory_limit_bytes": memory_limit(),
        "system": system(),
        "gpus": gpus(),
        "mps": torch.backends.mps.is_available(),
    }


def processor() -> str:
    """Returns the model of the processor, or "unknown"."""
    names = re.findall(r"^(?:model name|Model|cpu model)\s*: (.*)", _cpuinfo(), re.MULTILINE)
    if names:
        return " ".join(names[0].split())
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or "unknown"
    return platform.processor() or "unknown"


def processor_flags() -> frozenset[str]:
    """Returns the features of the processor that Linux reports; empty on other systems."""
    lines = re.findall(r"^(?:flags|Features)\s*: (.*)", _cpuinfo(), re.MULTILINE)
    return frozenset(lines[0].split()) if lines else frozenset()


def system() -> str:
    """Returns the operating system, its version and, on Linux, its kernel."""
    kernel = f"{platform.system()} {platform.release()}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else ""
    return f"{name} ({kernel})" if name else kernel


def memory() -> tuple[int | None, int | None]:
    """Returns the size of the main memory, and how much of it is available, in bytes.

    Either is None where the system does not tell.
    """
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(_PROC / "meminfo"), re.MULTILINE))
    if "MemTotal" in sizes:
        available = sizes.get("MemAvailable")
        return int(sizes["MemTotal"]) << 10, None if available is None else int(available) << 10
    if sys.platform == "win32":
        return None, None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (ValueError, OSError):
        return None, None


def core_limit() -> float | None:
    """Returns the number of cores that cgroups grant this process, or None for no limit.

    A container may be limited to two cores' time, for example, although it sees all cores.
    """
    limits = []
    for folder in _cgroups("cpu"):
        if found := re.match(r"(\d+) (\d+)", _read(folder / "cpu.max")):  # version 2
            limits.append(int(found[1]) / int(found[2]))
        quota = _number(folder / "cpu.cfs_quota_us")  # version 1
        period = _number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            limits.append(quota / period)
    return min(limits, default=None)


def memory_limit() -> int | None:
    """Returns the memory that cgroups grant this process, in bytes, or None for no limit."""
    limits = []
    for folder in _cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit < _UNLIMITED:
                limits.append(limit)
    return min(limits, default=None)


def gpus() -> list[dict[str, Any]]:
    """Describes each GPU that torch can use.

    Returns:
        For each: its ``name``, ``compute_capability`` (such as "9.0"), ``memory_bytes`` and
        ``driver`` (the version of the driver, or None).
    """
    found = []
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        found.append(
            {
                "name": properties.name,
                "compute_capability": f"{properties.major}.{properties.minor}",
                "memory_bytes": properties.total_memory,
                "driver": driver(),
            }
        )
    return found


@cache
def driver() -> str | None:
    """Returns the version of NVIDIA's driver, or None if there is none."""
    text = _read(_PROC / "driver" / "nvidia" / "version")
    if found := re.search(r"Kernel Module.*?(\d+\.\d+(?:\.\d+)?)", text):
        return found[1]
    lines = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return lines.splitlines()[0] if lines else None


def _cgroups(controller: str) -> list[Path]:
    """Returns the folders with the limits of this process: its own group and those around it."""
    folders = []
    for line in _read(_PROC / "self" / "cgroup").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not names:
            root = _CGROUPS
        elif controller in names.split(","):
            root = _CGROUPS / controller
        else:
            continue
        # A container may see its own group as the root, while this path is the host's.
        own = root / path.lstrip("/")
        folders += [f for f in (own, *own.parents) if f == root or f.is_relative_to(root)]
    return folders


def _cpuinfo() -> str:
    return _read(_PROC / "cpuinfo")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None


def _output(*command: str) -> str:
    """Returns what a program of the system prints, or an empty text if it fails."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
