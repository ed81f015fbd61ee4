"""Compiles the kernels with ninja, either on first use or in advance for a wheel.

The sources are few and use only the stable ABI of LibTorch. A build therefore takes a few seconds
for the CPU and a minute or two for the GPU, and any torch of the same version can load the result.
Each device type has a library of its own, because the GPU library needs a torch with CUDA.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from srulight.runtime.cache import cache_folder, cached, refuse_foreign
from srulight.runtime.errors import InputError

EXTRA_FLAGS = "SRULIGHT_CXXFLAGS"
"""Environment variable: additional compiler flags, such as those of a sanitizer."""

ARCHITECTURES = "TORCH_CUDA_ARCH_LIST"
"""Environment variable: compute capabilities to compile for, such as ``8.0;9.0+PTX``."""

PREBUILT = "SRULIGHT_PREBUILT"
"""Environment variable: folder with prebuilt libraries, ``sru-cpu.so`` and ``sru-cuda.so``, which
take precedence over those in the wheel."""

DEFINES = "-DTORCH_TARGET_VERSION=0x020b000000000000"  # torch 2.11, the oldest supported one
FLAGS = (
    f"-std=c++17 -O3 -fPIC -fvisibility=hidden -Wall {DEFINES}"
    " -Wno-unknown-warning-option -Wno-maybe-uninitialized"
    " -fno-math-errno -fno-trapping-math -ffp-contract=fast"
)
CUDA_FLAGS = f"-std=c++17 -O3 -Xcompiler -fPIC,-fvisibility=hidden,-Wall {DEFINES} -DUSE_CUDA"

LEVELS = {"baseline": ""}
"""Instruction sets that the CPU kernels are compiled for, with their compiler flags. The library
chooses the best one at run time."""
if platform.machine() in ("x86_64", "AMD64"):
    LEVELS["avx2"] = "-mavx2 -mfma -mf16c"
    LEVELS["avx512"] = f"{LEVELS['avx2']} -mavx512f -mavx512bw -mavx512dq -mavx512vl"
    LEVELS["avx512_bf16"] = f"{LEVELS['avx512']} -mavx512bf16"
    LEVELS["amx_bf16"] = f"{LEVELS['avx512_bf16']} -mamx-tile -mamx-bf16"

AMX = "amx_bf16"
"""The instruction set that adds nothing but products; everything else runs on the one before."""

WHEEL_ARCHITECTURES = "8.0;9.0;10.0+PTX"
"""Compute capabilities that a wheel is compiled for. Newer GPUs run the PTX."""

_PACKAGE = Path(__file__).parents[1]
_TORCH = Path(torch.__file__).parent


class BuildError(RuntimeError):
    """A library cannot be built. The message says why, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """The recipe for building a library with ninja.

    Args:
        compiler: Path of the compiler.
        compile: Compiler flags for every source, quoted for a shell.
        link: Linker flags, which follow the objects.
        objects: Source file and additional compiler flags of each object.
    """

    compiler: str
    compile: str
    link: str
    objects: list[tuple[Path, str]]

    def text(self, target: str) -> str:
        """Returns the contents of a ``build.ninja`` that builds ``target``."""
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
    """Quotes a path for a shell."""
    return shlex.quote(str(path))


def _for_ninja(text: str | Path, also: str = "") -> str:
    """Escapes ``$`` and the characters in ``also`` for ninja, which quotes $in and $out itself."""
    return re.sub(f"[${also}]", r"$\g<0>", str(text))


def cpu(csrc: Path) -> Recipe:
    """Returns the recipe of the library for CPUs."""
    sources = [csrc / "sru.cpp", *sorted((csrc / "cpu").glob("*.cpp"))]
    compiler, objects = host_compiler(), []
    amx = AMX in LEVELS and _accepts(compiler, LEVELS[AMX])
    for source in sources:
        levels = LEVELS if source.stem.endswith("kernels") else {"none": ""}
        objects += [
            (source, f"-DSRU_LEVEL={name} {flags}")
            for name, flags in levels.items()
            if name != AMX or (amx and source.stem == "fused_kernels")
        ]
    flags = f"{FLAGS} {'-DSRU_AMX ' if amx else ''}{os.environ.get(EXTRA_FLAGS, '')}"
    return Recipe(compiler, flags, "-ltorch_cpu -lc10", objects)


@cache
def _accepts(compiler: str, flags: str) -> bool:
    """Returns whether a compiler knows all flags; GCC before version 11 has no matrix unit."""
    return _run(compiler, *flags.split(), "-E", "-x", "c++", os.devnull).returncode == 0


def cuda(csrc: Path, architectures: str | None = None) -> Recipe:
    """Returns the recipe of the library for GPUs. Without ``architectures`` it needs a GPU."""
    architectures = architectures or os.environ.get(ARCHITECTURES)
    if not architectures:
        architectures = ";".join(f"{major}.{minor}" for major, minor in _capabilities())
    flags = f"{CUDA_FLAGS} -ccbin {quoted(host_compiler())} {_gencode(architectures)}"
    sources = [csrc / "sru.cpp", *sorted((csrc / "cuda").glob("*.c*"))]
    # libtorch.so loads libtorch_cuda.so where torch has one, and links with a CPU torch as well.
    link = "-Xlinker --no-as-needed -ltorch -ltorch_cpu -lc10"
    return Recipe(nvcc(), flags, link, [(s, "") for s in sources])


RECIPES: dict[str, Callable[[Path], Recipe]] = {"cpu": cpu, "cuda": cuda}
_PATIENCE = {"cpu": "for the CPU (a few seconds)", "cuda": "for the GPU (a minute or two)"}


def sources() -> Path:
    """Finds csrc inside an installed package, or next to the package in a checkout."""
    for folder in (_PACKAGE / "csrc", _PACKAGE.parent / "csrc"):
        if (folder / "sru.h").is_file():
            return folder
    raise BuildError(f"the C++ sources are missing from {_PACKAGE}; reinstall srulight")


def host_compiler() -> str:
    """Finds the C++ compiler: that in ``CXX``, or the first usual one on the path.

    Raises:
        BuildError: If there is none.
    """
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if path := shutil.which(name):
            return path
    raise BuildError("no C++ compiler was found; install g++ or clang++, or set CXX to a compiler")


def nvcc() -> str:
    """Finds CUDA's compiler, in the folders that usually contain it.

    Raises:
        BuildError: If there is none.
    """
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    wheels = sorted((_TORCH.parent / "nvidia").glob("cu*/bin"), reverse=True)
    folders = [Path(home) / "bin" for home in homes if home]
    for folder in (*folders, None, Path("/usr/local/cuda/bin"), *wheels):
        if path := shutil.which("nvcc", path=None if folder is None else str(folder)):
            return path
    raise BuildError("no nvcc was found; install the CUDA toolkit, or set CUDA_HOME to its folder")


def _capabilities() -> list[tuple[int, int]]:
    count = torch.cuda.device_count()
    if not count:
        raise BuildError(f"no GPU is visible to compile for; set {ARCHITECTURES}=9.0, for example")
    return sorted({torch.cuda.get_device_capability(i) for i in range(count)})


def _gencode(architectures: str) -> str:
    flags = []
    for name in re.split(r"[;, ]+", architectures.strip("; ")):
        match = re.fullmatch(r"(\d+)\.(\d[af]?)(\+PTX)?", name)
        if not match:
            raise BuildError(f"{ARCHITECTURES} must look like 8.0;9.0+PTX, got {name!r}")
        number = match[1] + match[2]
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if match[3]:
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return " ".join(flags)


def ninja_program() -> str:
    """Finds ninja, on the path or in its Python package."""
    if path := shutil.which("ninja"):
        return path
    import ninja  # its wheel contains the program

    return str(Path(ninja.BIN_DIR) / "ninja")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    # A library that is preloaded into Python, such as a sanitizer, must not affect the compiler.
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def fingerprint(csrc: Path, device: str) -> str:
    """Hashes the sources of the library for a device type."""
    digest = hashlib.sha256()
    for file in sorted([*csrc.glob("*"), *(csrc / device).glob("*")]):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def prebuilt(device: str) -> Path | None:
    """Finds the prebuilt library for a device type, or returns None.

    Args:
        device: Device type, ``cpu`` or ``cuda``.
    """
    given = os.environ.get(PREBUILT)
    for folder in ([Path(given)] if given else []) + [_PACKAGE / "lib"]:
        ready = folder.absolute() / f"sru-{device}.so"
        if ready.exists() and (device == "cpu" or min(_capabilities()) >= (8, 0)):
            return ready
    return None


def library(device: str) -> Path:
    """Finds the library for a device type, prebuilt or in the cache, or compiles it.

    The name of a cached library contains a hash of everything that determines it, so upgrading
    srulight, torch or the compiler triggers a new build. One process builds while the others wait.
    A process that dies leaves neither a lock nor a partial library.

    Args:
        device: Device type, ``cpu`` or ``cuda``.

    Returns:
        Path of the library.

    Raises:
        BuildError: If there is no compiler, or the compiler fails.
    """
    if ready := prebuilt(device):
        return ready
    csrc = sources()
    recipe = RECIPES[device](csrc)
    version = _run(recipe.compiler, "--version").stdout
    steps = [(source.name, flags) for source, flags in recipe.objects]  # without the path of csrc
    parts = (recipe.compiler, version, recipe.compile, recipe.link, repr(steps), torch.__version__)
    digest = hashlib.sha256("\n".join([*parts, fingerprint(csrc, device)]).encode())
    key = f"{device}-{digest.hexdigest()[:16]}"
    kept = cache_folder() / "kernels" / key / "sru.so"

    def make(folder: Path) -> None:
        print(f"srulight: building the SRU kernels {_PATIENCE[device]}, once ...", file=sys.stderr)
        compile_library(recipe, folder / kept.name, kept.parent.with_suffix(".log"))

    try:
        refuse_foreign(kept)  # before anything is written
        cached("kernels", key, make)
        refuse_foreign(kept)
    except InputError as error:
        raise BuildError(str(error)) from error
    return kept


def compile_library(recipe: Recipe, path: Path, log: Path | None = None) -> None:
    """Compiles a library in a temporary folder, and moves it to ``path`` when it is complete.

    Args:
        recipe: Recipe of the library.
        path: Path of the finished library.
        log: File for the output of the compiler if it fails. None means ``path`` with the suffix
            ``.log``.

    Raises:
        BuildError: If the compiler fails.
    """
    folder = path.with_suffix(".build")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "build.ninja").write_text(recipe.text("sru.so"), encoding="utf-8")
    made = _run(ninja_program(), "-C", str(folder))
    if made.returncode:
        log = log or path.with_suffix(".log")
        log.write_text(made.stdout + made.stderr, encoding="utf-8")
        raise BuildError(f"{recipe.compiler} could not compile the kernels; see {log}")
    (folder / "sru.so").chmod(0o755)
    os.replace(folder / "sru.so", path)
    shutil.rmtree(folder)


def prebuild(folder: Path = Path("build/lib"), devices: Sequence[str] = ("cpu", "cuda")) -> None:
    """Compiles libraries into the folder that a wheel is built from.

    The fingerprint of its sources is stored next to each library. That for GPUs needs nvcc, but no
    GPU.

    Args:
        folder: The folder.
        devices: Kinds of devices to compile for.
    """
    csrc = sources()
    architectures = os.environ.get(ARCHITECTURES) or WHEEL_ARCHITECTURES
    for device in devices:
        path = folder.absolute() / f"sru-{device}.so"
        compile_library(cpu(csrc) if device == "cpu" else cuda(csrc, architectures), path)
        path.with_suffix(".sha256").write_text(fingerprint(csrc, device))


def is_current(folder: Path, device: str) -> bool:
    """Returns whether a folder has a library that ``prebuild`` made from these sources."""
    stored = folder / f"sru-{device}.sha256"
    return stored.is_file() and stored.read_text() == fingerprint(sources(), device)
