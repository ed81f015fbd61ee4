"""Convolution over time that ``torch.compile`` compiles once for all lengths."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.ops.sru import is_exporting


def convolve(x: Tensor, convolution: nn.Module) -> Tensor:
    """Applies a convolution to steps that are already padded.

    Args:
        x: Steps with the padding around them, (B, F, T + width - 1).
        convolution: An ``nn.Conv1d`` with stride 1, a bias, and no padding of its own.

    Returns:
        Outputs, (B, C, T).
    """
    assert isinstance(convolution, nn.Conv1d)
    assert convolution.bias is not None
    if is_exporting():
        return convolution(x)
    if not torch.compiler.is_compiling():
        if x.size(2) < convolution.kernel_size[0]:  # T is 0, which nn.Conv1d refuses
            return convolution(F.pad(x, (0, 1)))[..., :0]
        return convolution(x)
    # Torch 2.13 recompiles the gradient of a convolution for every length. One matrix product over
    # all steps, followed by a sum over the window, computes the same and is compiled once.
    weight = convolution.weight.permute(2, 0, 1).flatten(0, 1)  # (width * channels, F)
    products = F.linear(x.mT, weight).unflatten(-1, (-1, convolution.out_channels))
    steps = products.size(1) - products.size(2) + 1
    parts = [products[:, i : i + steps, i] for i in range(products.size(2))]
    return (torch.stack(parts).sum(0) + convolution.bias).mT
