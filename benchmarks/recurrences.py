"""Recurrences on a GPU without their matrix products: ours, and those of other packages."""

import importlib.util
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from contenders import Run
from torch import Tensor

Sizes = tuple[int, int, int]
Maker = Callable[[Sizes, torch.dtype, str], dict[str, Run]]
"""Makes inputs of T, B and d, and functions that run over them, by the name of the pass."""

STATES = 16
"""Size of mamba's state for each channel, its default."""


def gradients(forward: Callable[[], Tensor], leaves: list[Tensor], grad: Tensor) -> dict[str, Run]:
    """Makes the two passes from a function that autograd follows."""

    def alone() -> None:
        with torch.no_grad():
            forward()

    return {
        "forward": alone,
        "forward + backward": lambda: torch.autograd.grad(forward(), leaves, grad),
    }


def ours(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """The recurrence of SRU (2018), with its skip."""
    steps, batch, size = sizes
    options = (1.0, 0, False)
    u = torch.randn(batch, steps, 3, size, dtype=dtype, device=device)
    x, grad = torch.randn(2, batch, steps, size, dtype=dtype, device=device)
    v, b = torch.randn(2, 2, size, device=device)

    def forward(save: bool) -> Tensor:
        return torch.ops.srulight.sru(u, x, v, b, None, None, None, *options, save)[2]

    def both() -> None:
        c = forward(True)
        torch.ops.srulight.sru_backward(u, x, v, b, None, None, c, grad, None, *options)

    return {"forward": lambda: forward(False), "forward + backward": both}


def published(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """The same by the published package, which has no bfloat16 and stores float16 in its place."""
    from sru.cuda_functional import ElementwiseRecurrence  # compiles its kernel, once

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
    """HGRN of flash-linear-attention, exp(g) h + x: 3 numbers an element to SRU's 5."""
    from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn

    run = chunk_hgrn if chunks else fused_recurrent_hgrn
    steps, batch, size = sizes
    x, grad = torch.randn(2, batch, steps, size, dtype=dtype, device=device)
    g = torch.nn.functional.logsigmoid(torch.randn_like(x))
    leaves = [t.requires_grad_() for t in (x, g)]
    return gradients(lambda: run(*leaves)[0], leaves, grad)


def hgrn_chunks(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """The same, by chunks of time in parallel."""
    return hgrn(sizes, dtype, device, chunks=True)


def mamba(sizes: Sizes, dtype: torch.dtype, device: str) -> dict[str, Run]:
    """The selective scan of mamba-ssm: 16 states a channel, and its own layout (B, d, T)."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    steps, batch, size = sizes
    u, delta, grad = torch.randn(3, batch, size, steps, dtype=dtype, device=device)
    a = -torch.rand(size, STATES, device=device)
    b, c = torch.randn(2, batch, STATES, steps, dtype=dtype, device=device)
    leaves = [t.requires_grad_() for t in (u, delta.abs(), a, b, c)]
    return gradients(lambda: selective_scan_fn(*leaves), leaves, grad)


Others = dict[str, tuple[str, Maker]]
"""Package and maker of each, by name."""

PUBLISHED: Others = {"sru 2.6": ("sru", published)}
RIVALS: Others = {
    "HGRN": ("fla", hgrn),
    "HGRN chunks": ("fla", hgrn_chunks),
    "mamba": ("mamba_ssm", mamba),
}


def installed(others: Others, device: str) -> dict[str, Maker]:
    """Gives those whose packages are there; says of the rest that they are left out."""
    found = {}
    for name, (package, maker) in others.items():
        if device != "cuda":
            print(f"{name} is left out: it has no kernels for {device}")
        elif importlib.util.find_spec(package) is None:
            print(f"{name} is left out: the package {package} is not installed")
        else:
            found[name] = maker
    return found


def turns(runs: list[dict[str, Run]], key: str) -> Run:
    """Makes a function that calls that of the next inputs each time."""
    order = cycle(runs)
    return lambda: next(order)[key]()


def mend_published(folder: Path) -> Path | None:
    """Copies the published package, and mends what keeps its kernels from compiling today.

    ``Tensor.type()`` gives no scalar type any more, and ``.type().is_cuda()`` is ``.is_cuda()``.

    Args:
        folder: Where the copy goes; put it on the path before what is installed.

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
    """Puts the mended package first on the path."""
    if mended := mend_published(folder):
        sys.path.insert(0, str(mended))


if __name__ == "__main__":  # compiles the kernels of the published package
    take_published(Path(sys.argv[1]))
    # It warns, and goes on without kernels.
    warnings.filterwarnings("error", message="Just-in-time loading")
    import sru.cuda_functional  # noqa: F401
