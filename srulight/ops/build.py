"""Compiles the kernels with ninja: for this machine on first use, or beforehand for a wheel.

Few sources and the stable ABI of LibTorch make a build of seconds (CPU) to half a minute (GPU) that
any torch of the same version can load. There is a library for each kind of device, because that of
the GPU needs a torch with CUDA.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from srulight.runtime.cache import cache_folder, cached, refuse_foreign
from srulight.runtime.errors import InputError

EXTRA_FLAGS = "SRULIGHT_CXXFLAGS"
"""Environment variable: more flags for the compiler, such as those of a sanitizer."""

ARCHITECTURES = "TORCH_CUDA_ARCH_LIST"
"""Environment variable: compute capabilities to compile for, such as ``8.0;9.0+PTX``."""

PREBUILT = "SRULIGHT_PREBUILT"
"""Environment variable: folder of prebuilt libraries, ``sru-cpu.so`` and ``sru-cuda.so``, which are
taken before those of the wheel."""

DEFINES = "-DTORCH_TARGET_VERSION=0x020b000000000000"  # the oldest torch whose stable ABI is used
FLAGS = (
    f"-std=c++17 -O3 -fPIC -fvisibility=hidden -Wall {DEFINES}"
    " -Wno-unknown-warning-option -Wno-maybe-uninitialized"
    " -fno-math-errno -fno-trapping-math -ffp-contract=fast"
)
CUDA_FLAGS = f"-std=c++17 -O3 -Xcompiler -fPIC,-fvisibility=hidden,-Wall {DEFINES} -DUSE_CUDA"

LEVELS = {"baseline": ""}
"""Instruction sets that the CPU's kernels are compiled for, with their flags; the best one is
chosen when the library runs."""
if platform.machine() in ("x86_64", "AMD64"):
    LEVELS["avx2"] = "-mavx2 -mfma -mf16c"
    LEVELS["avx512"] = f"{LEVELS['avx2']} -mavx512f -mavx512bw -mavx512dq -mavx512vl"
    LEVELS["avx512_bf16"] = f"{LEVELS['avx512']} -mavx512bf16"

WHEEL_ARCHITECTURES = "8.0;9.0;10.0+PTX"
"""What a wheel is compiled for; the PTX serves what is newer."""

_PACKAGE = Path(__file__).parents[1]
_TORCH = Path(torch.__file__).parent


class BuildError(RuntimeError):
    """The library cannot be built here; the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How ninja makes a library.

    Args:
        compiler: Program that compiles.
        compile: Its flags for every source, as a shell reads them.
        link: What follows the objects.
        objects: Source and further flags of each object.
    """

    compiler: str
    compile: str
    link: str
    objects: list[tuple[Path, str]]

    def text(self, target: str) -> str:
        run = _for_ninja(f"{quoted(self.compiler)} {self.compile}")
        lines = [
            f"rule compile\n command = {run} $flags"
            f" -isystem {_for_ninja(quoted(_TORCH / 'include'))} -c $in -o $out",
            f"rule link\n command = {run} -shared $in"
            f" -L{_for_ninja(quoted(_TORCH / 'lib'))} {self.link} -o $out",
        ]
        names = [f"{i}-{source.stem}.o" for i, (source, _) in enumerate(self.objects)]
        for name, (source, flags) in zip(names, self.objects, strict=True):
            lines.append(f"build {name}: compile {_for_ninja(source, ' :')}\n flags = {flags}")
        lines.append(f"build {target}: link {' '.join(names)}")
        return "\n".join(lines) + "\n"


def quoted(path: str | Path) -> str:
    """Gives a path as a shell reads it."""
    return shlex.quote(str(path))


def _for_ninja(text: str | Path, also: str = "") -> str:
    """Escapes what means something to ninja; to its shell, $in and $out come quoted."""
    return re.sub(f"[${also}]", r"$\g<0>", str(text))


def cpu(csrc: Path) -> Recipe:
    """Gives the recipe of the CPU's library."""
    sources = [csrc / "sru.cpp", *sorted((csrc / "cpu").glob("*.cpp"))]
    objects = []
    for source in sources:
        levels = LEVELS if source.name == "kernels.cpp" else {"none": ""}
        objects += [(source, f"-DSRU_LEVEL={name} {flags}") for name, flags in levels.items()]
    flags = f"{FLAGS} {os.environ.get(EXTRA_FLAGS, '')}"
    return Recipe(_host_compiler(), flags, "-ltorch_cpu -lc10", objects)


def cuda(csrc: Path, architectures: str | None = None) -> Recipe:
    """Gives the recipe of the GPU's library; needs no GPU where ``architectures`` are given."""
    architectures = architectures or os.environ.get(ARCHITECTURES)
    if not architectures:
        architectures = ";".join(f"{major}.{minor}" for major, minor in _capabilities())
    flags = f"{CUDA_FLAGS} -ccbin {quoted(_host_compiler())} {_gencode(architectures)}"
    sources = [csrc / "sru.cpp", *sorted((csrc / "cuda").glob("*.c*"))]
    # libtorch.so brings the part for CUDA, where torch has one; a CPU torch can link all the same.
    link = "-Xlinker --no-as-needed -ltorch -ltorch_cpu -lc10"
    return Recipe(_nvcc(), flags, link, [(s, "") for s in sources])


RECIPES: dict[str, Callable[[Path], Recipe]] = {"cpu": cpu, "cuda": cuda}
_PATIENCE = {"cpu": "for the CPU (a few seconds)", "cuda": "for the GPU (half a minute)"}


def sources() -> Path:
    """Finds csrc: inside an installed package, or beside the package in a checkout."""
    for folder in (_PACKAGE / "csrc", _PACKAGE.parent / "csrc"):
        if (folder / "sru.h").is_file():
            return folder
    raise BuildError(f"the C++ sources are missing from {_PACKAGE}; install srulight again.")


def _host_compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if path := shutil.which(name):
            return path
    raise BuildError("no C++ compiler was found; install g++ or clang++, or set CXX.")


def _nvcc() -> str:
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    wheels = sorted((_TORCH.parent / "nvidia").glob("cu*/bin"), reverse=True)
    folders = [Path(home) / "bin" for home in homes if home]
    for folder in (*folders, None, Path("/usr/local/cuda/bin"), *wheels):
        if path := shutil.which("nvcc", path=None if folder is None else str(folder)):
            return path
    raise BuildError("no nvcc was found; install the CUDA toolkit, or set CUDA_HOME.")


def _capabilities() -> list[tuple[int, int]]:
    count = torch.cuda.device_count()
    if not count:
        raise BuildError(f"no GPU is visible to compile for; set {ARCHITECTURES}, such as 9.0.")
    return sorted({torch.cuda.get_device_capability(i) for i in range(count)})


def _gencode(architectures: str) -> str:
    flags = []
    for name in re.split(r"[;, ]+", architectures.strip("; ")):
        match = re.fullmatch(r"(\d+)\.(\d[af]?)(\+PTX)?", name)
        if not match:
            raise BuildError(f"{ARCHITECTURES} must look like 8.0;9.0+PTX, got {name}.")
        number = match[1] + match[2]
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if match[3]:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return " ".join(flags)


def _ninja() -> str:
    if path := shutil.which("ninja"):
        return path
    import ninja  # its wheel carries the program

    return str(Path(ninja.BIN_DIR) / "ninja")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    # A library preloaded into Python, such as a sanitizer's, is not for the compiler.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def fingerprint(csrc: Path, device: str) -> str:
    """Hashes the sources of the library of a kind of device."""
    digest = hashlib.sha256()
    for file in sorted([*csrc.glob("*"), *(csrc / device).glob("*")]):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def library(device: str) -> Path:
    """Finds the library of a kind of device, prebuilt or in the cache, or compiles it.

    The name in the cache holds a hash of all that goes into it, so that an upgrade of srulight, of
    torch or of the compiler builds anew. One process builds, the others wait; a process that dies
    leaves neither a lock nor half a library.

    Args:
        device: ``cpu`` or ``cuda``.

    Raises:
        BuildError: If there is no compiler, or it fails.
    """
    given = os.environ.get(PREBUILT)
    for folder in ([Path(given)] if given else []) + [_PACKAGE / "lib"]:
        ready = folder.absolute() / f"sru-{device}.so"
        if ready.exists() and (device == "cpu" or min(_capabilities()) >= (8, 0)):
            return ready
    csrc = sources()
    recipe = RECIPES[device](csrc)
    version = _run(recipe.compiler, "--version").stdout
    steps = [(source.name, flags) for source, flags in recipe.objects]  # wherever csrc lies
    parts = (recipe.compiler, version, recipe.compile, recipe.link, repr(steps), torch.__version__)
    digest = hashlib.sha256("\n".join([*parts, fingerprint(csrc, device)]).encode())
    key = f"{device}-{digest.hexdigest()[:16]}"
    kept = cache_folder() / "kernels" / key / "sru.so"

    def make(folder: Path) -> None:
        print(f"srulight: building the SRU kernels {_PATIENCE[device]}, once ...", file=sys.stderr)
        compile_library(recipe, folder / kept.name, kept.parent.with_suffix(".log"))

    try:
        refuse_foreign(kept)  # before anything is written there
        cached("kernels", key, make)
        refuse_foreign(kept)
    except InputError as error:
        raise BuildError(f"{error}.") from error
    return kept


def compile_library(recipe: Recipe, path: Path, log: Path | None = None) -> None:
    """Compiles in a folder beside ``path``, and puts the whole library there at the end.

    Args:
        recipe: How it is made.
        path: Where the library goes.
        log: Where the compiler's words go if it fails; None for beside ``path``.

    Raises:
        BuildError: If it fails.
    """
    folder = path.with_suffix(".build")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "build.ninja").write_text(recipe.text("sru.so"), encoding="utf-8")
    made = _run(_ninja(), "-C", str(folder))
    if made.returncode:
        log = log or path.with_suffix(".log")
        log.write_text(made.stdout + made.stderr, encoding="utf-8")
        raise BuildError(f"{recipe.compiler} failed on the sources; its output is in {log}.")
    (folder / "sru.so").chmod(0o755)
    os.replace(folder / "sru.so", path)
    shutil.rmtree(folder)


def prebuild(folder: Path = Path("build/lib")) -> None:
    """Compiles both libraries for a wheel, which takes them from there; needs nvcc and no GPU.

    Beside each lies the fingerprint of its sources.
    """
    csrc = sources()
    architectures = os.environ.get(ARCHITECTURES) or WHEEL_ARCHITECTURES
    for recipe, device in ((cpu(csrc), "cpu"), (cuda(csrc, architectures), "cuda")):
        path = folder.absolute() / f"sru-{device}.so"
        compile_library(recipe, path)
        path.with_suffix(".sha256").write_text(fingerprint(csrc, device))


def is_current(folder: Path, device: str) -> bool:
    """Says whether a folder has a library that :func:`prebuild` made of the sources of today."""
    stored = folder / f"sru-{device}.sha256"
    return stored.is_file() and stored.read_text() == fingerprint(sources(), device)
