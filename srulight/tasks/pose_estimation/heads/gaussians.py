"""Heat maps: Gaussians around key points, and the points that heat maps show."""

import torch
from torch import Tensor

_LEAST = 1e-6  # Smallest value of a heat map that enters a logarithm.


def gaussians(points: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Draws a Gaussian around each point; its maximum is 1.

    Args:
        points: x and y in places of the map, from its upper left corner: 0.5, 0.5 is the center of
            the first place; (..., 2).
        size: Height and width of the map, h and w.
        sigma: Standard deviation in places.

    Returns:
        The maps, (..., h, w).
    """
    height, width = size
    y = torch.arange(height, device=points.device) + 0.5
    x = torch.arange(width, device=points.device) + 0.5
    across = (-0.5 * ((x - points[..., :1]) / sigma) ** 2).exp()
    down = (-0.5 * ((y - points[..., 1:]) / sigma) ** 2).exp()
    return down.unsqueeze(-1) * across.unsqueeze(-2)


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the maximum of each map, more precisely than to a place.

    The logarithm of a Gaussian is a parabola along each axis, and three values determine its
    vertex: those at the largest place and at its two neighbors (Zhang et al. 2020,
    Distribution-Aware Coordinate Representation, arXiv 1910.06278, equation 8, along each axis).
    At the edge of the map, where a neighbor is missing, the result is the center of the place.

    Args:
        maps: Heat maps, (..., h, w) float32.

    Returns:
        x and y of the maxima in places, as ``gaussians`` takes them, (..., 2); and the values of
        the maps at the largest places, (...).
    """
    height, width = maps.shape[-2:]
    value, index = maps.flatten(-2).max(-1)
    row, column = index // width, index % width
    flat = maps.flatten(-2)

    def at(own_row: Tensor, own_column: Tensor) -> Tensor:
        places = own_row.clamp(0, height - 1) * width + own_column.clamp(0, width - 1)
        return flat.gather(-1, places.unsqueeze(-1)).squeeze(-1).clamp_min(_LEAST).log()

    center = at(row, column)
    x = column + 0.5 + _vertex(at(row, column - 1), center, at(row, column + 1), column, width)
    y = row + 0.5 + _vertex(at(row - 1, column), center, at(row + 1, column), row, height)
    return torch.stack((x, y), -1), value


def _vertex(before: Tensor, center: Tensor, after: Tensor, place: Tensor, size: int) -> Tensor:
    """Returns the offset of the vertex of a parabola from its middle value, -0.5 to 0.5."""
    bend = 2 * center - before - after
    offset = (after - before) / (2 * bend.clamp_min(_LEAST))
    inside = (place > 0) & (place < size - 1) & (bend > _LEAST)
    return torch.where(inside, offset.clamp(-0.5, 0.5), 0)
