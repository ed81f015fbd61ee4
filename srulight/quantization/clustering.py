"""Chooses codebooks of 16 integers for the rows of a matrix, by k-means."""

import torch
from torch import Tensor

from srulight.ops.codebook import ENTRIES, groups
from srulight.quantization.integer import HIGHEST, row_scales

_ITERATIONS = 100  # most matrices need fewer


def cluster(weight: Tensor, codebook_rows: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Approximates a matrix by indices into codebooks.

    Every row is divided by its scale, so that its largest absolute value is 127. Then the numbers
    of all rows that share a codebook are divided into 16 clusters, by the algorithm of Lloyd. It
    begins with centers at equal distances from the smallest to the largest number (the linear
    initialization of Han et al. (2016), arXiv 1510.00149, which keeps large weights), and ends when
    no center moves, or after 100 iterations. The centers are then rounded to integers. No step is
    random.

    Args:
        weight: Matrix, (N, F), of any floating-point type.
        codebook_rows: Largest number of consecutive rows that share a codebook, at least 1.

    Returns:
        Indices, (N, F) uint8; codebooks in increasing order, (G, 16) int8, where G is N /
        ``codebook_rows``, rounded up; and the scale of each row, (N,) float32.
    """
    scale, divisor = row_scales(weight)
    values = weight.detach().float() / divisor
    count = -(-len(weight) // codebook_rows)
    group = groups(len(weight), count, weight.device)
    sizes = torch.bincount(group, minlength=count) * weight.size(1)
    # Groups may differ by one row. What is missing is infinite, and in no cluster.
    most = int(sizes.max())
    ordered = values.new_full((count, most), torch.inf)
    starts = (sizes.cumsum(0) - sizes)[group]
    first = torch.arange(len(weight), device=weight.device) * weight.size(1) - starts
    places = first.unsqueeze(1) + torch.arange(weight.size(1), device=weight.device)
    ordered[group.unsqueeze(1), places] = values
    centers = _centers(ordered.sort(1).values, sizes.unsqueeze(1))
    codebook = centers.round().clamp(-HIGHEST, HIGHEST)
    middles = (codebook[:, 1:] + codebook[:, :-1]) / 2
    indices = torch.searchsorted(middles, ordered)[group.unsqueeze(1), places]
    return indices.to(torch.uint8), codebook.to(torch.int8), scale


def _centers(ordered: Tensor, sizes: Tensor) -> Tensor:
    """Returns the centers of the clusters of each row of sorted numbers, in increasing order.

    A cluster is a range of the sorted numbers, so prefix sums give its mean.

    Args:
        ordered: Sorted numbers, (G, M), with infinities at the end.
        sizes: How many of them are finite, (G, 1) int64.
    """
    finite = torch.where(ordered.isfinite(), ordered, 0).double()
    sums = torch.nn.functional.pad(finite.cumsum(1), (1, 0))
    low, high = ordered[:, :1].double(), finite.gather(1, sizes - 1)
    steps = torch.linspace(0, 1, ENTRIES, dtype=torch.float64, device=ordered.device)
    centers = low + (high - low) * steps
    zero = torch.zeros_like(sizes)
    for _ in range(_ITERATIONS):
        middles = ((centers[:, 1:] + centers[:, :-1]) / 2).float()
        ends = torch.cat([zero, torch.searchsorted(ordered, middles.contiguous()), sizes], 1)
        counts = ends.diff(dim=1)
        means = sums.gather(1, ends).diff(dim=1) / counts
        moved = torch.where(counts > 0, means, centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers
