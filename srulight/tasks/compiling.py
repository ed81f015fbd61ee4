"""Compiling what a task spends its time in."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from srulight.runtime.errors import InputError

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compile_function(function: _Function) -> _Function:
    """Compiles a function of batches, whose sizes differ; it draws the same random numbers.

    Args:
        function: The function.
    """
    # A compiler's own random numbers would be others, and take longer on a CPU.
    options: dict[str, Any] = {"fallback_random": True}
    return cast(_Function, torch.compile(function, dynamic=True, options=options))


def check_compiler(device: torch.device) -> None:
    """Raises InputError if there is no C++ compiler, and code for that device needs one."""
    # Where torch will look.
    default = "clang++" if sys.platform == "darwin" else "g++"
    if device.type == "cpu" and shutil.which(os.environ.get("CXX", default)) is None:
        raise InputError("compile=true needs a C++ compiler: install g++, or set CXX")
