"""The machine, the versions and the date of a measurement."""

import datetime
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import srulight
from srulight.ops import extension
from srulight.runtime.devices import usable_cores

PACKAGES = (
    "torch", "numpy", "sru", "minGRU-pytorch", "mlstm_kernels", "onnxruntime", "onnx", "openvino",
    "nncf",
)  # fmt: skip
"""Packages whose versions are reported if they are installed."""


def describe(device: str) -> dict[str, Any]:
    """Describes the machine and the software as plain data.

    Args:
        device: Name of the device that is measured.
    """
    kind = device.partition(":")[0]
    extension.load(kind)
    found: dict[str, Any] = {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "kernels": extension.status[kind].rpartition("for ")[2],
    }
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = properties.name
        found["gpu_memory"] = properties.total_memory
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def in_short(machine: dict[str, Any], packages: dict[str, str]) -> str:
    """Returns what ``describe`` and ``versions`` have found as one line.

    Args:
        machine: What ``describe`` has returned.
        packages: What ``versions`` has returned.
    """
    count = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
    where = machine.get("gpu") or f"{machine['processor']} ({machine['instructions']}, {count})"
    return f"{where}, srulight {packages['srulight']}, torch {packages['torch']}"


def processor() -> str:
    """Returns the name of the processor, as the system reports it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Returns the versions of srulight and of the packages that are installed."""
    found = {"srulight": srulight.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Returns the commit of the checkout that srulight runs from, or None if it is installed.

    The commit is followed by ``+`` if files of the checkout differ from it.
    """
    folder = Path(srulight.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def today() -> str:
    """Returns the date in UTC, as YYYY-MM-DD."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
