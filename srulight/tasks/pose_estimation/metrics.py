"""Errors of predicted key points."""

import torch
from torch import Tensor
from torchmetrics import Metric


class PointErrors(Metric):
    """Errors of each key point: the percentage of correct key points (PCK), and the distances.

    A point is correct if its distance from the true one is at most ``threshold`` times the length
    of the body (Yang and Ramanan 2013, PAMI 35(12), section 6). The sums are exact, however the
    frames are batched or spread over processes.

    Args:
        size: Number of key points, K.
        threshold: Largest error of a correct point, as a share of the length of the body.
    """

    sums: Tensor

    def __init__(self, size: int, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("sums", torch.zeros(4, size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, found: Tensor, true: Tensor, body: Tensor) -> None:
        """Adds a batch.

        Args:
            found: Predicted points, x and y in pixels of the video, (N, K, 2).
            true: True points, (N, K, 2); NaN where a point is missing.
            body: Length of the body in each frame, in pixels of the video, (N,); NaN or 0 where it
                is unknown, in which case the points of the frame do not count as correct or wrong.
        """
        distance = (found.double() - true.double()).norm(dim=-1)
        known = ~true.isnan().any(-1)
        judged = known & (body > 0).unsqueeze(-1)
        correct = judged & (distance <= self.threshold * body.double().unsqueeze(-1))
        parts = (known, distance.where(known, 0), judged, correct)
        # Not in place: in a model of half precision, the initial zero has half precision, too.
        self.sums = self.sums.double() + torch.stack([part.double().sum(0) for part in parts])

    def compute(self) -> Tensor:
        """Returns the sums, (4, K) float64.

        The rows are the number of known points, the sum of their distances from the predicted ones
        in pixels of the video, the number of points that are correct or wrong, and the number of
        correct ones.
        """
        return self.sums


def box_lengths(points: Tensor) -> Tensor:
    """Returns the larger side of the box around the known points of each frame.

    Args:
        points: Points, (N, K, 2), NaN where missing.

    Returns:
        Lengths, (N,); 0 for a frame with one known point, and NaN for one without.
    """
    missing = points.isnan().any(-1, keepdim=True)
    low = points.masked_fill(missing, torch.inf).amin(1)
    high = points.masked_fill(missing, -torch.inf).amax(1)
    side = (high - low).amax(-1)
    return side.masked_fill(missing.all(1).squeeze(-1), torch.nan)
