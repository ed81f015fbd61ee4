"""Compiles the GPU's kernels for an emulated GPU, as a library that takes the place of the CPU's.

    python tests/ops/emulator/build.py FOLDER
    SRULIGHT_PREBUILT=FOLDER python ...

The second command's CPU tensors run through the GPU's kernels.
"""

import sys
from pathlib import Path

from srulight.ops import build

HERE = Path(__file__).parent


def emulated(csrc: Path) -> build.Recipe:
    """Gives the recipe of the library."""
    host = build.cpu(csrc)
    sources = [csrc / "sru.cpp", csrc / "cuda/sru_cuda.cpp", HERE / "emulator.cpp"]
    kernels = sorted((csrc / "cuda").glob("*.cu"))
    return build.Recipe(
        host.compiler,
        f"{host.compile} -O1 -Wno-unknown-pragmas -DUSE_CUDA -I{build.quoted(HERE)}",
        host.link,
        [*((source, "") for source in sources), *((kernel, "-x c++") for kernel in kernels)],
    )


if __name__ == "__main__":
    build.compile_library(emulated(build.sources()), Path(sys.argv[1]).absolute() / "sru-cpu.so")
