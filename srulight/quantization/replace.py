"""Replaces the matrices of a network by quantized ones."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from srulight.ops.fixed_point import MOST_BITS
from srulight.quantization.codebook_matrix import CodebookMatrix
from srulight.quantization.int8_matrix import Int8Matrix
from srulight.quantization.matrix import QuantizedEmbedding, QuantizedLinear, QuantizedMatrix
from srulight.quantization.recurrent import QuantizedRNN, names_of

Bits = Literal[4, 8]
"""Bits of a weight."""

Make = Callable[[str, Tensor], QuantizedMatrix | None]
"""Makes the quantized form of the matrix of a name, (N, F); None keeps the matrix."""

LEAST = 8
"""Smallest number of features of a row that is quantized. The scales of shorter rows would take as
much space as the integers save."""


def quantize(
    network: nn.Module,
    bits: Bits = 8,
    codebook_rows: int = 1,
    activation_bits: int = MOST_BITS,
) -> list[str]:
    """Quantizes the matrices of a network in place, and freezes its other parameters.

    These are the weights of linear layers, embeddings, LSTMs and GRUs of torch, and the attributes
    that modules name in ``matrices``. Convolutions, normalizations and biases keep their floats.

    Args:
        network: The network.
        bits: Bits of a weight: 8 for an integer and a scale per row, or 4 for an index into a
            codebook of 16 integers as well.
        codebook_rows: With 4 bits, largest number of rows of a matrix that share a codebook, at
            least 1.
        activation_bits: With 4 bits, the bits of an activation, 4 to 16.

    Returns:
        Names of the quantized matrices.
    """
    make: Callable[[Tensor], QuantizedMatrix] = Int8Matrix.of
    if bits == 4:
        make = partial(
            CodebookMatrix.of, codebook_rows=codebook_rows, activation_bits=activation_bits
        )
    return replace(network, lambda _, matrix: make(matrix))


def replace(network: nn.Module, make: Make) -> list[str]:
    """Replaces the matrices of a network in place, and freezes its other parameters.

    A matrix that several layers share stays shared.

    Args:
        network: The network.
        make: Makes the quantized form of each matrix.

    Returns:
        Names of the matrices that were replaced.
    """
    replacer = _Replacer(make)
    with torch.no_grad():
        replacer.visit(network, "")
    network.requires_grad_(False)
    return replacer.names


class _Replacer:
    """Walks through a network, and remembers what it has replaced."""

    def __init__(self, make: Make) -> None:
        self.names: list[str] = []
        self._make = make
        self._matrices: dict[int, tuple[Tensor, QuantizedMatrix | None]] = {}
        self._modules: dict[int, tuple[nn.Module, nn.Module]] = {}

    def visit(self, module: nn.Module, prefix: str) -> nn.Module:
        """Replaces the matrices in a module; returns the module, or what takes its place."""
        if id(module) not in self._modules:
            # The module is kept, so that no other one gets its id.
            self._modules[id(module)] = module, self._visit(module, prefix)
        return self._modules[id(module)][1]

    def _visit(self, module: nn.Module, prefix: str) -> nn.Module:
        if type(module) is nn.Linear:
            weight = self._matrix(module.weight, f"{prefix}weight")
            return module if weight is None else QuantizedLinear(weight, module.bias)
        if type(module) is nn.Embedding:
            weight = self._matrix(module.weight, f"{prefix}weight")
            return module if weight is None else QuantizedEmbedding(weight)
        if type(module) in (nn.LSTM, nn.GRU):
            assert isinstance(module, nn.LSTM | nn.GRU)
            return self._rnn(module, prefix)
        for name, child in list(module._modules.items()):
            if child is not None:
                setattr(module, name, self.visit(child, f"{prefix}{name}."))
        for name in getattr(module, "matrices", ()):
            self._attribute(module, name, f"{prefix}{name}")
        return module

    def _attribute(self, module: nn.Module, name: str, path: str) -> None:
        value = getattr(module, name)
        if isinstance(value, nn.ParameterList):
            found = [self._matrix(one, f"{path}.{i}") for i, one in enumerate(value)]
            if all(one is not None for one in found):
                setattr(module, name, nn.ModuleList(one for one in found if one is not None))
        elif isinstance(value, Tensor):
            matrix = self._matrix(value, path)
            if matrix is not None:
                delattr(module, name)
                setattr(module, name, matrix)

    def _rnn(self, rnn: nn.LSTM | nn.GRU, prefix: str) -> nn.Module:
        if not rnn.bias or not rnn.batch_first or rnn.proj_size:
            return rnn
        names = [name for i in range(len(rnn.all_weights)) for name in names_of(rnn, i)[0]]
        if min(rnn.input_size, rnn.hidden_size) < LEAST:
            return rnn
        found = {name: self._matrix(rnn.get_parameter(name), f"{prefix}{name}") for name in names}
        weights = {name: one for name, one in found.items() if one is not None}
        return QuantizedRNN(rnn, weights) if len(weights) == len(names) else rnn

    def _matrix(self, tensor: Tensor, path: str) -> QuantizedMatrix | None:
        if tensor.dim() != 2 or tensor.size(1) < LEAST or not tensor.numel():
            return None
        if id(tensor) not in self._matrices:
            self._matrices[id(tensor)] = tensor, self._make(path, tensor.detach())
        matrix = self._matrices[id(tensor)][1]
        if matrix is not None:
            self.names.append(path)
        return matrix
