"""Processor, GPUs, threads and memory, and what about them slows training down or stops it."""

import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from srulight.doctor.findings import Finding, ok, size, warning
from srulight.runtime import allocator, machine
from srulight.runtime.cache import cache_folder
from srulight.runtime.devices import usable_cores

SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED = 256 << 20
"""Bytes of shared memory below which processes that prepare batches may die."""
LEAST_MEMORY = 1 << 30
LEAST_DISK = 1 << 30


def check_devices() -> Iterator[Finding]:
    """Gives the processor and the GPUs."""
    found = machine.describe()
    limit = found["core_limit"]
    limited = "" if limit is None else f", limited to the time of {limit:g}"
    yield ok(
        "processor",
        f"{found['processor']} ({found['architecture']}), {found['cores']} cores, "
        f"{found['usable_cores']} usable{limited}",
        **{key: found[key] for key in ("processor", "architecture", "cores", "usable_cores")},
        core_limit=limit,
        instruction_sets=found["instruction_sets"],
    )
    yield ok("system", found["system"])
    for i, gpu in enumerate(found["gpus"]):
        yield ok(
            f"GPU {i}",
            f"{gpu['name']}, compute capability {gpu['compute_capability']}, "
            f"{size(gpu['memory_bytes'])}, driver {gpu['driver'] or 'unknown'}",
            **gpu,
        )
    if not found["gpus"]:
        yield _no_gpu()
    if found["mps"]:
        yield ok("MPS", "there, but srulight does not use it: it has no float64")


def _no_gpu() -> Finding:
    driver = machine.driver()
    if driver is None:
        return ok("GPU", "none")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ok("GPU", f"hidden by CUDA_VISIBLE_DEVICES; driver {driver}")
    if torch.version.cuda is None:
        advice = "install the CUDA build of torch, as docs/troubleshooting.md describes"
        return warning("GPU", f"driver {driver} is there, but this torch has no CUDA", advice)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.is_available()
    why = " ".join(str(one.message).splitlines()[0] for one in said) or "for no known reason"
    advice = f"install a driver for CUDA {torch.version.cuda}, or a torch for this driver"
    return warning("GPU", f"driver {driver} is there, but torch sees no GPU: {why}", advice)


def check_threads() -> Iterator[Finding]:
    """Gives the numbers of threads, and whether they exceed the cores of this process."""
    threads, cores, limit = torch.get_num_threads(), usable_cores(), machine.core_limit()
    granted = cores if limit is None else min(cores, max(1, math.ceil(limit)))
    facts = {"threads": threads, "interop": torch.get_num_interop_threads(), "granted": granted}
    text = f"{threads} per operation, {facts['interop']} for operations beside each other"
    if threads > granted:
        text = f"{text}, more than the {granted} cores that this process may use"
        yield warning("torch threads", text, f"set OMP_NUM_THREADS={granted}", **facts)
    else:
        yield ok("torch threads", text, **facts)
    if sys.platform == "linux":
        numbers = sorted(os.sched_getaffinity(0))
        yield ok("affinity", f"cores {_ranges(numbers)} of {os.cpu_count()}", cores=numbers)
    spin = os.environ.get("GOMP_SPINCOUNT")
    yield ok("GOMP_SPINCOUNT", spin or "unset", spincount=spin)


def _ranges(numbers: list[int]) -> str:
    """Writes sorted numbers as ranges, such as 0-3,8."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def check_memory() -> Iterator[Finding]:
    """Gives the main memory, its limit, the allocator, shared memory and free disk space."""
    total, available = machine.memory()
    limit = machine.memory_limit()
    parts = ["unknown size" if total is None else size(total)]
    parts += [] if available is None else [f"{size(available)} available"]
    parts += [] if limit is None else [f"limited to {size(limit)} by a cgroup"]
    facts = {"total": total, "available": available, "limit": limit}
    least = min((n for n in (available, limit) if n is not None), default=LEAST_MEMORY)
    if least < LEAST_MEMORY:
        advice = "end other programs, or reduce --data.batch_size"
        yield warning("memory", ", ".join(parts), advice, **facts)
    else:
        yield ok("memory", ", ".join(parts), **facts)
    tuned = allocator.tune_allocator()
    pages = os.environ.get("THP_MEM_ALLOC_ENABLE", "unset")
    text = "keeps freed memory" if tuned else "as the system sets it"
    switch = os.environ.get(allocator.SWITCH)
    because = f" ({allocator.SWITCH}={switch})" if switch else ""
    yield ok("allocator", f"{text}{because}; THP_MEM_ALLOC_ENABLE {pages}", tuned=tuned)
    if SHARED_MEMORY.is_dir():
        whole, _, free = shutil.disk_usage(SHARED_MEMORY)
        text = f"{size(whole)}, {size(free)} free"
        facts = {"total": whole, "free": free}
        if free < LEAST_SHARED:
            advice = "enlarge it (docker run --shm-size=2g), or set --data.num_workers=0"
            text = f"{text}, which may be too little for processes that prepare batches"
            yield warning(str(SHARED_MEMORY), text, advice, **facts)
        else:
            yield ok(str(SHARED_MEMORY), text, **facts)
    for name, folder in (("working directory", Path.cwd()), ("cache folder", cache_folder())):
        yield _disk(name, folder)


def _disk(name: str, folder: Path) -> Finding:
    there = next(f for f in (folder, *folder.absolute().parents) if f.is_dir())
    total, _, free = shutil.disk_usage(there)
    text = f"{size(free)} free in {folder}"
    if free < LEAST_DISK and total:  # a file system such as /proc has no size
        return warning(f"disk, {name}", text, "delete files that you no longer need", free=free)
    return ok(f"disk, {name}", text, free=free)
