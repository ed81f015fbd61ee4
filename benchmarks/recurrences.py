"""Recurrences of other packages without their matrix products, on a GPU."""

import importlib.util
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srulight.bench.timing import Run

Sizes = tuple[int, int, int]
Maker = Callable[[Sizes, torch.dtype, str], dict[str, Run]]
"""Creates inputs of sizes T, B and d, and functions that process them, by the name of the pass."""

STATES = 16
"""Number of states per channel in mamba, its default."""


def gradients(forward: Callable[[], Tensor], leaves: list[Tensor], grad: Tensor) -> dict[str, Run]:
    """Creates both passes from a function that autograd can differentiate."""

    def alone() -> None:
        with torch.no_grad():
            forward()

    return {
        "forward": alone,
        "forward + backward": lambda: torch.autograd.grad(forward(), leaves, grad),
    }


def published(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """Creates the passes of the published package, which uses float16 instead of bfloat16."""
    from sru.cuda_functional import ElementwiseRecurrence  # compiles its kernel when first imported

    steps, batch, size = sizes
    dtype = torch.float32 if dtype == torch.float32 else torch.float16
    draw: dict[str, Any] = {"dtype": dtype, "device": device}
    u = torch.randn(steps, batch, 3 * size, **draw)
    x, grad = torch.randn(2, steps, batch, size, **draw)
    v, b = torch.randn(2, 2 * size, **draw)
    c0 = torch.zeros(batch, size, **draw)
    leaves = [t.requires_grad_() for t in (u, x, v, b)]

    def forward() -> Tensor:
        options = (0, size, False, True, None, None, None)
        h: Tensor = ElementwiseRecurrence.apply(*leaves, c0, *options)[0]
        return h

    return gradients(forward, leaves, grad)


def hgrn(sizes: Sizes, dtype: torch.dtype, device: str, chunks: bool = False) -> dict[str, Run]:
    """Creates the passes of HGRN in flash-linear-attention, which moves 3 numbers per element."""
    from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn

    run = chunk_hgrn if chunks else fused_recurrent_hgrn
    steps, batch, size = sizes
    x, grad = torch.randn(2, batch, steps, size, dtype=dtype, device=device)
    g = torch.nn.functional.logsigmoid(torch.randn_like(x))
    leaves = [t.requires_grad_() for t in (x, g)]
    return gradients(lambda: run(*leaves)[0], leaves, grad)


def hgrn_chunks(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """Creates the passes of HGRN over chunks of time in parallel."""
    return hgrn(sizes, dtype, device, chunks=True)


def mamba(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """Creates the passes of mamba's selective scan, with 16 states per channel and (B, d, T)."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    steps, batch, size = sizes
    u, delta, grad = torch.randn(3, batch, size, steps, dtype=dtype, device=device)
    a = -torch.rand(size, STATES, device=device)
    b, c = torch.randn(2, batch, STATES, steps, dtype=dtype, device=device)
    leaves = [t.requires_grad_() for t in (u, delta.abs(), a, b, c)]
    return gradients(lambda: selective_scan_fn(*leaves), leaves, grad)


Others = dict[str, tuple[str, Maker]]
"""Package and maker of each contender, by its name."""

PUBLISHED: Others = {"sru 2.6": ("sru", published)}
RIVALS: Others = {
    "HGRN": ("fla", hgrn),
    "HGRN chunks": ("fla", hgrn_chunks),
    "mamba": ("mamba_ssm", mamba),
}


def installed(others: Others, device: str) -> dict[str, Maker]:
    """Returns the contenders whose packages are installed, and prints which ones are skipped."""
    found = {}
    for name, (package, maker) in others.items():
        if device != "cuda":
            print(f"{name} is skipped: it has no kernels for {device}")
        elif importlib.util.find_spec(package) is None:
            print(f"{name} is skipped: the package {package} is not installed")
        else:
            found[name] = maker
    return found


def mend_published(folder: Path) -> Path | None:
    """Copies the published package, and patches the copy so that its kernels compile.

    ``Tensor.type()`` no longer converts to a scalar type, and ``.type().is_cuda()`` has become
    ``.is_cuda()``.

    Args:
        folder: Folder for the copy. Put it on the path before the installed package.

    Returns:
        The folder, or None if the package is not installed.
    """
    spec = importlib.util.find_spec("sru")
    if spec is None or spec.origin is None:
        return None
    if not (folder / "sru").exists():
        shutil.copytree(Path(spec.origin).parent, folder / "sru")
        for file in (*folder.glob("sru/csrc/*.cu"), *folder.glob("sru/csrc/*.cpp")):
            code = file.read_text()
            code = code.replace(".type().is_cuda()", ".is_cuda()")
            code = code.replace(".type().scalarType()", ".scalar_type()")
            file.write_text(re.sub(r"\.type\(\)", ".scalar_type()", code))
    return folder


def take_published(folder: Path) -> None:
    """Puts the patched package first on the path."""
    if mended := mend_published(folder):
        sys.path.insert(0, str(mended))


if __name__ == "__main__":  # compiles the kernels of the published package
    take_published(Path(sys.argv[1]))
    # The package only warns if this fails, and continues without kernels.
    warnings.filterwarnings("error", message="Just-in-time loading")
    import sru.cuda_functional  # noqa: F401
