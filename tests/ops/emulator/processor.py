"""Compiles the CPU kernels for a processor that tests do not have, with emulated instructions.

    python tests/ops/emulator/processor.py FOLDER pairs|tiles
    SRULIGHT_PREBUILT=FOLDER SRULIGHT_FUSED=on python ...

``pairs`` emulates the level avx512_bf16, with vectors of 64 bytes and products of pairs of
bfloat16, and ``tiles`` the level amx_bf16, with a matrix unit. Vectors of 64 bytes work on every
processor.
"""

import sys
from pathlib import Path

from srulight.ops import build

UNITS = Path(__file__).parent / "units"


def emulated(csrc: Path, unit: str) -> build.Recipe:
    """Gives the recipe of the library."""
    host = build.cpu(csrc)
    flags = f"-DSRU_VECTOR_BYTES=64 -DSRU_EMULATED_{unit.upper()} -I{build.quoted(UNITS)}"
    objects = [
        (source, f"{level} {flags}")
        for source, level in host.objects
        if "SRU_LEVEL=none" in level or "SRU_LEVEL=baseline" in level
    ]
    compile_ = f"{host.compile} -O1 -Wno-psabi -DSRU_ONLY_BASELINE"
    return build.Recipe(host.compiler, compile_, host.link, objects)


if __name__ == "__main__":
    library = Path(sys.argv[1]).absolute() / "sru-cpu.so"
    build.compile_library(emulated(build.sources(), sys.argv[2]), library)
