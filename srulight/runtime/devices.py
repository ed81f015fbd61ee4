"""What can compute here."""

import os
import sys

import torch

from srulight.runtime.errors import InputError


def get_device(name: str | torch.device) -> torch.device:
    """Gives a device that can be computed on.

    Args:
        name: cpu, cuda, cuda:1, mps...

    Raises:
        InputError: If there is no such device.
    """
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"there is no device {name!s}: here are {', '.join(here)}") from error
    return device


def usable_cores() -> int:
    """Counts the cores that this process may use; those of the machine where none says."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
