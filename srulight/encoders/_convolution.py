"""Convolutions over time that a compiler builds once for all lengths."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolve(x: Tensor, convolution: nn.Module) -> Tensor:
    """Runs a convolution over steps that are already padded.

    Args:
        x: Steps and the zeros around them, (B, F, T + width - 1).
        convolution: An nn.Conv1d of stride 1 with a bias, and without padding of its own.

    Returns:
        Its outputs, (B, C, T).
    """
    assert isinstance(convolution, nn.Conv1d)
    assert convolution.bias is not None
    if not torch.compiler.is_compiling():
        if x.size(2) < convolution.kernel_size[0]:  # no steps, for which PyTorch has no outputs
            return convolution(F.pad(x, (0, 1)))[..., :0]
        return convolution(x)
    # Torch 2.13 compiles the gradient of a convolution anew for every length; not so that of its
    # steps, all in one product, and their sum.
    weight = convolution.weight.permute(2, 0, 1).flatten(0, 1)  # (width * channels, F)
    products = F.linear(x.mT, weight).unflatten(-1, (-1, convolution.out_channels))
    steps = products.size(1) - products.size(2) + 1
    parts = [products[:, i : i + steps, i] for i in range(products.size(2))]
    return (torch.stack(parts).sum(0) + convolution.bias).mT
