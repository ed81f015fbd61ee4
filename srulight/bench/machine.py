"""The machine of a measurement."""

import platform
from typing import Any

import torch

from srulight.ops import extension
from srulight.runtime.devices import usable_cores
from srulight.runtime.machine import processor

PACKAGES = (
    "numpy", "sru", "minGRU-pytorch", "mlstm_kernels", "onnxruntime", "onnx", "openvino",
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
