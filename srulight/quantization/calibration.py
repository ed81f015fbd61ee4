"""Collects the ranges of activations."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from srulight.quantization.matrix import QuantizedMatrix
from srulight.quantization.recurrent import QuantizedRNN


@torch.no_grad()
def calibrate(
    network: nn.Module,
    batches: Iterable[Any],
    run: Callable[[Any], object],
) -> tuple[int, int]:
    """Sets the ranges of activations to what occurs in some batches.

    Meanwhile the activations are not rounded. Weights of 8 bits get a range that includes 0, which
    padding needs, and those of 4 bits a fraction length (``overflow.py``).
    LSTMs and GRUs keep dynamic ranges, and so do matrices that no batch reaches.

    Args:
        network: A network with quantized matrices.
        batches: The batches.
        run: Runs the network on a batch.

    Returns:
        The number of matrices that have a range now, and the number of batches.
    """
    within = {
        id(matrix)
        for rnn in network.modules()
        if isinstance(rnn, QuantizedRNN)
        for matrix in rnn.modules()
    }
    matrices = [
        m for m in network.modules() if isinstance(m, QuantizedMatrix) and id(m) not in within
    ]
    network.eval()
    for matrix in matrices:
        matrix.observe()
    count = found = 0
    try:
        for batch in batches:
            run(batch)
            count += 1
    finally:
        for matrix in matrices:
            found += matrix.set_range()
    return found, count
