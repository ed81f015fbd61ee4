"""Compilation of the most expensive function of a task."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from srulight.runtime.errors import InputError

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compile_function(function: _Function) -> _Function:
    """Compiles a function that takes batches of varying size.

    The compiled function draws the same random numbers as the original.

    Args:
        function: The function to compile.
    """
    # The random number generator of the compiler draws other numbers, and is slower on a CPU.
    options: dict[str, Any] = {"fallback_random": True}
    return cast(_Function, torch.compile(function, dynamic=True, options=options))


def check_compiler(device: torch.device) -> None:
    """Checks for the C++ compiler that ``torch.compile`` needs on a CPU.

    Args:
        device: Device that the compiled code will run on.

    Raises:
        InputError: If the device is a CPU and there is no C++ compiler.
    """
    # torch looks for the compiler in the same way.
    default = "clang++" if sys.platform == "darwin" else "g++"
    if device.type == "cpu" and shutil.which(os.environ.get("CXX", default)) is None:
        raise InputError("compile=true needs a C++ compiler; install g++, or set CXX to a compiler")
