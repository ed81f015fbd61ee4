"""Builds the compiled kernels on first use and loads them.

The only module that touches the library. Few sources and the stable ABI of LibTorch make a build of
a few seconds that any torch of the same version can load; it is kept in a cache and shared
by all processes. Where no compiler is found, the operators run on the reference.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import torch
from filelock import FileLock

SWITCH = "SRULIGHT_EXTENSION"
"""Environment variable: ``off`` runs the reference, and builds and loads nothing."""

EXTRA_FLAGS = "SRULIGHT_CXXFLAGS"
"""Environment variable: more flags for the compiler, such as those of a sanitizer."""

FLAGS = (
    "-std=c++17 -O3 -fPIC -fvisibility=hidden -Wall"
    " -Wno-unknown-warning-option -Wno-maybe-uninitialized"
    " -fno-math-errno -fno-trapping-math -ffp-contract=fast"
    # The oldest torch whose stable ABI the sources use.
    " -DTORCH_TARGET_VERSION=0x020b000000000000"
)

LEVELS = {"baseline": ""}
"""Instruction sets that the kernels are compiled for, with their flags; the best one is chosen
when the library runs."""
if platform.machine() in ("x86_64", "AMD64"):
    LEVELS["avx2"] = "-mavx2 -mfma -mf16c"
    LEVELS["avx512"] = f"{LEVELS['avx2']} -mavx512f -mavx512bw -mavx512dq -mavx512vl"
    LEVELS["avx512_bf16"] = f"{LEVELS['avx512']} -mavx512bf16"

_lock = threading.Lock()
_done = False
status = "not used yet"
"""What became of the library, in words, for reports."""


class BuildError(RuntimeError):
    """The library cannot be built here; the message says why and what to do."""


def load() -> None:
    """Loads the kernels once per process, building them if this machine has not yet.

    Warns once, and leaves the operators on the reference, if that cannot be done.
    """
    global _done, status
    if _done:
        return
    with _lock:
        if _done:
            return
        if os.environ.get(SWITCH, "").lower() == "off":
            status = f"off ({SWITCH}=off): the PyTorch reference runs"
        else:
            try:
                library = build()
                torch.ops.load_library(library)
                level = ctypes.CDLL(str(library)).srulight_cpu_level
                level.restype = ctypes.c_char_p
                status = f"loaded from {library}, for {level().decode()}"
            except (BuildError, OSError) as error:
                status = f"not available: {error}"
                warnings.warn(
                    f"SRU runs on the slower PyTorch reference: {error} "
                    f"Set {SWITCH}=off to accept this silently.",
                    stacklevel=3,
                )
        _done = True


def sources() -> Path:
    """Finds csrc: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "sru.h").is_file():
            return folder
    raise BuildError(f"the C++ sources are missing from {package}; install srulight again.")


def cache() -> Path:
    """Gives the folder of built libraries: SRULIGHT_CACHE, or the user's cache folder."""
    if own := os.environ.get("SRULIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srulight"


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if path := shutil.which(name):
            return path
    raise BuildError("no C++ compiler was found; install g++ or clang++, or set CXX.")


def _ninja() -> str:
    if path := shutil.which("ninja"):
        return path
    import ninja  # its wheel carries the program

    return str(Path(ninja.BIN_DIR) / "ninja")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    # A library preloaded into Python, such as a sanitizer's, is not for the compiler.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def build() -> Path:
    """Compiles csrc unless the cache has it.

    The name of the result holds a hash of all that goes into it, so that an upgrade of srulight, of
    torch or of the compiler builds anew. One process builds, the others wait; a process that dies
    leaves neither a lock nor half a library.

    Returns:
        The library's path.

    Raises:
        BuildError: If there is no compiler, or it fails.
    """
    csrc, compiler = sources(), _compiler()
    files = sorted(path for path in csrc.rglob("*") if path.suffix in (".cpp", ".h"))
    version = _run(compiler, "--version").stdout
    flags = f"{FLAGS} {os.environ.get(EXTRA_FLAGS, '')}"
    recipe = [flags, str(LEVELS), torch.__version__, platform.machine(), compiler, version]
    digest = hashlib.sha256("\n".join(recipe).encode())
    for file in files:
        digest.update(file.read_bytes())
    library = cache() / f"sru-cpu-{digest.hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(library.with_suffix(".lock")):
            if not library.exists():
                _compile(compiler, flags, [f for f in files if f.suffix == ".cpp"], library)
    except OSError as error:
        raise BuildError(
            f"{cache()} cannot be written ({error}); set SRULIGHT_CACHE to a folder that can."
        ) from error
    return library


def _compile(compiler: str, flags: str, files: list[Path], library: Path) -> None:
    print("srulight: building the SRU kernels, once (a few seconds) ...", file=sys.stderr)
    torch_root = Path(torch.__file__).parent
    folder = library.with_suffix(".build")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rules = [
        f"rule compile\n command = {compiler} {flags} $level -isystem {torch_root / 'include'}"
        " -c $in -o $out",
        f"rule link\n command = {compiler} {flags} -shared $in -L{torch_root / 'lib'}"
        " -ltorch_cpu -lc10 -o $out",
    ]
    objects = []
    for file in files:
        levels = LEVELS if file.name == "kernels.cpp" else {"": ""}
        for level, flags in levels.items():
            objects.append(f"{file.stem}{level}.o")
            rules.append(
                f"build {objects[-1]}: compile {file}\n level = -DSRU_LEVEL={level} {flags}"
            )
    rules.append(f"build sru.so: link {' '.join(objects)}")
    (folder / "build.ninja").write_text("\n".join(rules) + "\n")
    made = _run(_ninja(), "-C", str(folder))
    if made.returncode:
        log = folder / "log.txt"
        log.write_text(made.stdout + made.stderr)
        raise BuildError(f"{compiler} failed on the C++ sources; its output is in {log}.")
    os.replace(folder / "sru.so", library)
    shutil.rmtree(folder)
