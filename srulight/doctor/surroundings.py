"""Environment variables, plug-ins and the cache folder."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path

from srulight.doctor import isolation
from srulight.doctor.findings import Finding, error, ok, size, warning
from srulight.doctor.isolation import IsolatedError
from srulight.plugins import trusted_modules
from srulight.runtime.cache import cache_folder

OWN = (
    "SRULIGHT_CACHE", "SRULIGHT_CPU", "SRULIGHT_CXXFLAGS", "SRULIGHT_DEBUG", "SRULIGHT_EXTENSION",
    "SRULIGHT_FUSED", "SRULIGHT_MEMORY", "SRULIGHT_PLUGINS", "SRULIGHT_PREBUILT", "SRULIGHT_TOKEN",
)  # fmt: skip
"""Environment variables that srulight reads."""

_SECRET = "SRULIGHT_TOKEN"
_GROUPS = ("OMP_", "GOMP_", "KMP_", "MKL_")
_OTHERS = (
    "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CXX", "JSONARGPARSE_DEBUG", "LANG", "LC_ALL",
    "LOCAL_WORLD_SIZE", "PL_TRAINER_ACCELERATOR", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
    "THP_MEM_ALLOC_ENABLE", "TORCH_CUDA_ARCH_LIST", "WORLD_SIZE", "XDG_CACHE_HOME",
)  # fmt: skip
_MOST_FILES = 200_000


def check_environment() -> Iterator[Finding]:
    """Gives the variables that affect srulight, and no others, because those may hold secrets."""
    found = 0
    for name, value in sorted(os.environ.items()):
        if name in OWN or name in _OTHERS or name.startswith(_GROUPS):
            found += 1
            value = "(set)" if name == _SECRET and value else value
            yield ok(name, value or "(empty)", value=value)
        elif name.startswith("SRULIGHT_"):
            found += 1
            close = get_close_matches(name, OWN, 1)
            hint = f"did you mean {close[0]}?" if close else "unset it"
            yield warning(name, "srulight does not read this variable", hint)
    if not found:
        yield ok("variables", "none of those that affect srulight is set")


def check_plugins() -> Iterator[Finding]:
    """Gives the plug-ins, and whether each can be imported."""
    names = [(point.value, "entry point") for point in entry_points(group="srulight.plugins")]
    names += [(name, "SRULIGHT_PLUGINS") for name in trusted_modules()]
    for name, origin in names:
        try:
            isolation.call(import_plugin, name, timeout=300)
        except IsolatedError as problem:
            advice = "fix the plug-in, uninstall it, or remove it from SRULIGHT_PLUGINS"
            text = f"cannot be imported ({origin}): {problem}"
            yield error(name, text, advice, origin=origin)
        else:
            yield ok(name, f"imported ({origin})", origin=origin)
    if not names:
        yield ok("plug-ins", "none")


def import_plugin(name: str) -> None:
    """Imports a plug-in, after the classes of srulight that it may extend.

    Args:
        name: A module, or ``MODULE:OBJECT``.
    """
    import srulight.encoders
    import srulight.tasks
    import srulight.training.schedules  # noqa: F401

    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for attribute in filter(None, path.split(".")):
        found = getattr(found, attribute)


def check_cache() -> Iterator[Finding]:
    """Gives the cache folder, whether it can be written to, and its size."""
    folder, own = cache_folder(), os.environ.get("SRULIGHT_CACHE")
    facts = {"folder": str(folder)}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        text = f"{folder} is not writable: {problem.strerror or problem}"
        advice = "set SRULIGHT_CACHE=FOLDER to a folder that you can write to"
        yield error("folder", text, advice, **facts)
        return
    if not own and folder.name != "srulight":  # the default folder is not writable
        text = f"{folder}, because the usual folder is not writable"
        advice = "set SRULIGHT_CACHE=FOLDER to a permanent folder"
        yield warning("folder", text, advice, **facts)
    else:
        yield ok("folder", f"{folder}, writable", **facts)
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        count, total = _usage(kind)
        more = "more than " if count >= _MOST_FILES else ""
        yield ok(kind.name, f"{more}{count:,} files, {size(total)}", files=count, bytes=total)


def _usage(folder: Path) -> tuple[int, int]:
    """Returns the number of files in a folder, up to a limit, and their size in bytes."""
    count = total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
            count += 1
            if count >= _MOST_FILES:
                return count, total
    return count, total
