"""Matrix products by 4-bit indices into codebooks, as a PyTorch operator.

An element of the matrix is an index, which selects one of the 16 integers in a codebook. Rows share
a codebook in groups; each row has a scale of its own. Activations are fixed-point numbers
(``fixed_point.py``). The products are sums of integers, so the compiled kernel gives the same
numbers as the reference in this file, bit for bit.

The form of the numbers is that of DNPU, a processor for convolutional and recurrent networks (Shin
et al., ISSCC 2017; IEEE Micro 38(5), 2018).
"""

import torch
from torch import Tensor

from srulight.ops.fixed_point import to_fixed_point
from srulight.ops.sru import define_everywhere

ENTRIES = 16
"""Number of integers in a codebook."""

torch.library.define(
    "srulight::codebook_linear",
    "(Tensor x, Tensor indices, Tensor codebook, Tensor scale, int? fraction, int bits) -> Tensor",
)


def pack(indices: Tensor) -> Tensor:
    """Stores two indices in a byte.

    Args:
        indices: Indices from 0 to 15, (N, F) of any integer type.

    Returns:
        Bytes, (N, ceil(F / 2)) uint8. Byte j contains index 2j in its lower half and index 2j + 1,
        or 0 if there is none, in its upper half.
    """
    padded = torch.nn.functional.pad(indices.to(torch.uint8), (0, indices.size(1) % 2))
    return padded[:, ::2] | (padded[:, 1::2] << 4)


def unpack(packed: Tensor, features: int) -> Tensor:
    """Returns the indices, (N, F) uint8, in the bytes that ``pack`` made.

    Args:
        packed: The bytes, (N, ceil(F / 2)) uint8.
        features: Number of features F.
    """
    return torch.stack((packed & 15, packed >> 4), -1).flatten(1)[:, :features]


def groups(rows: int, codebooks: int, device: torch.device) -> Tensor:
    """Returns the number of the codebook of each row, (N,) int64.

    Row n has the codebook floor(n * G / N), so groups differ in size by at most one row.

    Args:
        rows: Number of rows N.
        codebooks: Number of codebooks G, at most N.
        device: Device of the result.
    """
    return torch.arange(rows, device=device) * codebooks // rows


def entries(packed: Tensor, codebook: Tensor, features: int) -> Tensor:
    """Returns the entry of the codebook that each index selects, (N, F).

    Args:
        packed: Indices, (N, ceil(F / 2)) uint8.
        codebook: Codebooks, (G, 16). The result has their dtype, and their gradient sums over all
            elements that select an entry.
        features: Number of features F.
    """
    first = groups(len(packed), len(codebook), packed.device) * ENTRIES
    places = unpack(packed, features).long() + first.unsqueeze(1)
    return codebook.flatten()[places]


def _reference(
    x: Tensor,
    indices: Tensor,
    codebook: Tensor,
    scale: Tensor,
    fraction: int | None,
    bits: int,
) -> Tensor:
    numbers, step = to_fixed_point(x, fraction, bits)
    values = entries(indices, codebook, x.size(1))
    # float64 has all integers up to 2^53. The sums are below, so any order gives the same ones.
    sums = numbers.double() @ values.double().t()
    return sums.float() * (scale * step)


def _fake(x: Tensor, indices: Tensor, *_: object) -> Tensor:
    return x.new_empty(x.size(0), indices.size(0))


define_everywhere("codebook_linear", _reference, _fake, compiled=("cpu",))


def codebook_linear(
    x: Tensor,
    indices: Tensor,
    codebook: Tensor,
    scale: Tensor,
    fraction: int | None,
    bits: int,
) -> Tensor:
    """Rounds activations to fixed point, and multiplies them by the transpose of a matrix.

    With the integers q and the fraction length f of the activations, the result is::

        y[m, n] = (sum over i of codebook[floor(n * G / N), indices[n, i]] * q[m, i])
                  * (scale[n] * 2^-f)

    The sum is exact. Then it is rounded to float32, and multiplied by the float32 in parentheses.

    Args:
        x: Activations, (M, F) float32.
        indices: Indices as ``pack`` stores them, (N, ceil(F / 2)) uint8.
        codebook: Codebooks, (G, 16) int8, where G is 1 to N.
        scale: Scale of each row, (N,) float32.
        fraction: Fraction length of the activations, -100 to 100. None gives each row of
            activations its own, as in ``fixed_point.row_fractions``.
        bits: Bits of an activation, 4 to 16.

    Returns:
        The product, (M, N) float32, without gradients.

    Raises:
        RuntimeError: If an argument has the wrong shape, dtype or device. The message names it.
    """
    y: Tensor = torch.ops.srulight.codebook_linear.default(
        x, indices, codebook, scale, fraction, bits
    )
    return y
