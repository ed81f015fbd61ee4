"""Compilers, how the kernels were built and loaded, and the instruction set that they use."""

import os
import re
import subprocess
import time
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from srulight.doctor import isolation
from srulight.doctor.findings import Finding, error, ok, warning
from srulight.doctor.isolation import IsolatedError
from srulight.ops import build, extension
from srulight.runtime.machine import processor_flags

_BUILDING = 900.0
"""Seconds after which a build counts as stuck."""
_STARTED = time.time()
CPU = "SRULIGHT_CPU"


def devices() -> list[str]:
    """Returns the device types whose kernels this machine can run."""
    return ["cpu", "cuda"] if torch.cuda.device_count() else ["cpu"]


def probe(device: str) -> dict[str, Any]:
    """Loads the kernels in this process.

    Returns:
        ``loaded``, whether they are loaded; ``status``, a text; ``level``, the instruction set of
        the CPU kernels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = extension.load(device)
        level = extension.cpu_level() if device == "cpu" else ""
    return {"loaded": loaded, "status": extension.status[device], "level": level}


@cache
def probed(device: str) -> dict[str, Any]:
    """Loads the kernels in another process, which a damaged library may kill; see ``probe``."""
    try:
        found: dict[str, Any] = isolation.call(probe, device, timeout=_BUILDING)
    except IsolatedError as problem:
        found = {"loaded": False, "status": f"not available: {problem}", "level": ""}
    return found


def levels() -> list[str]:
    """Returns the instruction sets of the kernels that the processor has, from the lowest.

    Only Linux lists what a processor has. On other systems, only the lowest one is known.
    """
    flags = {flag.replace("_", "") for flag in processor_flags()}
    found = []
    for level, options in build.LEVELS.items():
        needed = {re.sub("^-m|[-_]", "", option) for option in options.split()}
        if needed <= flags:
            found.append(level)
    return found


def check_compilers() -> Iterator[Finding]:
    """Gives the compilers that would build the kernels."""
    cxx = os.environ.get("CXX")
    try:
        path = build.host_compiler()
    except build.BuildError as problem:
        if build.prebuilt("cpu"):
            yield ok("C++ compiler", "none; the prebuilt kernels need none", path=None)
        else:
            reason, _, advice = str(problem).partition("; ")
            text = f"{reason}; SRU runs on the PyTorch reference, which is correct but slow"
            yield warning("C++ compiler", text, advice, path=None)
    else:
        version = _version(path)
        if cxx and Path(path).name != Path(cxx).name:
            text = f"{path}, because CXX={cxx} is not a program"
            advice = "set CXX to the path of a compiler, or unset it"
            yield warning("C++ compiler", text, advice, path=path, version=version)
        else:
            yield ok("C++ compiler", f"{path}: {version}", path=path, version=version)
    yield _nvcc()
    yield ok("ninja", build.ninja_program())


def _nvcc() -> Finding:
    try:
        path = build.nvcc()
    except build.BuildError as problem:
        if "cuda" not in devices():
            return ok("nvcc", "none; only the kernels for GPUs need it", path=None)
        if build.prebuilt("cuda"):
            return ok("nvcc", "none; the prebuilt kernels need none", path=None)
        reason, _, advice = str(problem).partition("; ")
        return warning("nvcc", f"{reason}; SRU is slow on the GPU", advice, path=None)
    release = re.search(r"release [^\n]*", _version(path, whole=True))
    version = release[0] if release else "unknown version"
    return ok("nvcc", f"{path}: {version}", path=path, version=version)


def check_libraries() -> Iterator[Finding]:
    """Gives how the kernels for each device type were built, or why they were not."""
    for device in build.RECIPES:
        name = f"{device.upper()} kernels"
        if device in devices():
            yield _library(name, device)
        else:
            yield ok(name, "not needed: torch sees no GPU")


def _library(name: str, device: str) -> Finding:
    found = probed(device)
    status = found["status"]
    if found["loaded"]:
        path = Path(re.sub(r"^loaded from |, for \w+$", "", status))
        return _loaded(name, device, path, found["level"])
    if status.startswith("off"):
        advice = f"unset {extension.SWITCH} to use the kernels"
        return warning(name, status, advice, status=status)
    reason = status.removeprefix("not available: ")
    planted = _planted(device)
    if planted is not None:
        return error(
            name,
            f"{planted} is damaged, or was built for another torch: {reason}",
            f"replace it, or unset {build.PREBUILT}"
            if os.environ.get(build.PREBUILT)
            else "reinstall srulight",
            status=status,
        )
    text = f"not built: {reason.partition('; ')[0]}; SRU runs on the PyTorch reference"
    advice = reason.partition("; ")[2] or "report this"
    if reason.startswith(("no C++ compiler", "no nvcc")):
        return warning(name, text, advice, status=status)
    if log := re.search(r"see (\S.*\.log)", reason):
        line = _first_error(Path(log[1]))
        text, advice = f"{text}; {line}", f"read {log[1]}, and set CXX to a newer compiler"
        if flags := os.environ.get(build.EXTRA_FLAGS):
            advice += f", or unset {build.EXTRA_FLAGS} ({flags})"
    return error(name, text, advice, status=status)


def _loaded(name: str, device: str, path: Path, level: str) -> Finding:
    facts: dict[str, Any] = {"path": str(path), "level": level}
    if path == _planted(device):
        given = os.environ.get(build.PREBUILT)
        origin = f"prebuilt, from {build.PREBUILT}" if given else "prebuilt, from the package"
        facts["origin"] = origin
        if path.with_suffix(".sha256").is_file() and not build.is_current(path.parent, device):
            return warning(
                name,
                f"{path}: {origin}, but built from other sources than these",
                f"build it again (make wheel), or unset {build.PREBUILT}",
                **facts,
            )
        return ok(name, f"{path}: {origin}", **facts)
    facts["origin"] = "compiled now" if path.stat().st_mtime >= _STARTED else "compiled earlier"
    text = f"{path}: {facts['origin']}"
    if given := os.environ.get(build.PREBUILT):
        advice = f"put sru-{device}.so into that folder, or unset {build.PREBUILT}"
        return warning(name, f"{text}, because {given} has no sru-{device}.so", advice, **facts)
    return ok(name, text, **facts)


def _planted(device: str) -> Path | None:
    try:
        return build.prebuilt(device)
    except build.BuildError:
        return None


def check_instruction_set() -> Iterator[Finding]:
    """Gives the instruction set of the CPU kernels in use, and the best that there could be."""
    offered, used = levels(), probed("cpu")["level"]
    best = offered[-1] if processor_flags() else "unknown"
    facts = {"used": used, "processor": best}
    asked = os.environ.get(CPU)
    if asked is not None and asked not in build.LEVELS:
        names = ", ".join(build.LEVELS)
        yield warning(
            "instruction set",
            f"{CPU} must be one of {names}, got {asked!r}; it has no effect",
            f"set {CPU} to one of these, or unset it",
            **facts,
        )
    elif not used:
        yield ok("instruction set", f"no kernels are loaded; the processor has {best}", **facts)
    elif used != best and best != "unknown":
        advice = f"unset {CPU}" if asked else "report this"
        text = f"the kernels use {used}, although the processor has {best}"
        yield warning("instruction set", text, advice, **facts)
    else:
        yield ok("instruction set", f"{used}, the best of the processor", **facts)


def _version(path: str, whole: bool = False) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "does not answer"
    text = done.stdout.strip()
    return text if whole else (text.splitlines() or ["unknown version"])[0]


def _first_error(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "its log is missing"
    return next((line.strip() for line in lines if "error" in line.lower()), "its log is empty")
