"""The devices and CPU cores that this process can use."""

import os
import sys

import torch

from srulight.runtime.errors import InputError


def get_device(name: str | torch.device) -> torch.device:
    """Returns a device, after checking that this machine has it.

    Args:
        name: Name of the device, such as "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        InputError: If this machine has no such device.
    """
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"device must be one that this machine has ({', '.join(here)}), got {str(name)!r}"
        ) from error
    return device


def usable_cores() -> int:
    """Returns the number of cores that this process may use.

    Systems other than Linux do not tell; the number of cores of the machine is returned there.
    """
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
