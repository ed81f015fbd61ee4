"""Masks over bands and over stretches of time, drawn anew for each utterance."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from srulight.layers.masking import valid_steps
from srulight.runtime.errors import check_range


@dataclass(frozen=True)
class SpecAugmentSettings:
    """What is masked in each training utterance.

    Args:
        frequency_masks: Groups of neighbouring bands.
        frequency_width: Bands in such a group, at most.
        time_masks: Stretches of time.
        time_width: Frames in such a stretch, at most; it is also no more than a fifth of all.
    """

    frequency_masks: int = 2
    frequency_width: int = 8
    time_masks: int = 2
    time_width: int = 20

    def __post_init__(self) -> None:
        check_range(0, **asdict(self))


class SpecAugment(nn.Module):
    """Masks bands of neighbouring frequencies and stretches of frames while training.

    Park et al. (2019), SpecAugment, Interspeech (arXiv 1904.08779), section 2, without the time
    warping. Each utterance has masks of its own. The width of a mask is drawn uniformly from 0 to
    the largest, then its place from all where it lies within the bands, or within the utterance's
    real frames. Masks may overlap.

    Args:
        frequency_masks: Masks over bands in each utterance, over all of its frames; 0 for none.
        frequency_width: Bands that one of them covers at most.
        time_masks: Masks over frames in each utterance, over all of its bands; 0 for none.
        time_width: Frames that one of them covers at most.
        time_share: Part of an utterance that one of them covers at most, 0 to 1.

    Raises:
        ValueError: If a number is negative, or ``time_share`` is not within 0 to 1.
    """

    def __init__(
        self,
        frequency_masks: int = 2,
        frequency_width: int = 10,
        time_masks: int = 2,
        time_width: int = 20,
        time_share: float = 0.2,
    ) -> None:
        super().__init__()
        for name, value in (
            ("frequency_masks", frequency_masks),
            ("frequency_width", frequency_width),
            ("time_masks", time_masks),
            ("time_width", time_width),
        ):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not 0 <= time_share <= 1:
            raise ValueError(f"time_share must be 0 to 1, got {time_share}")
        self.frequency_masks = frequency_masks
        self.frequency_width = frequency_width
        self.time_masks = time_masks
        self.time_width = time_width
        self.time_share = time_share

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, fill: Tensor | float = 0.0
    ) -> Tensor:
        """Masks a batch.

        Args:
            x: Frames, (B, T, F).
            lengths: Real frames in each utterance, (B,) int64; None means all T.
            fill: What masked values become, a number or what broadcasts to (B, T, F).

        Returns:
            The same shape and dtype, padding as it was; ``x`` itself when not training.
        """
        if not self.training:
            return x
        batch, frames, num_mels = x.shape
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        # Not the default dtype, which a run in half precision changes.
        widest = (lengths.float() * self.time_share).floor().clamp(max=self.time_width)
        over_time = _drawn(self.time_masks, widest, lengths.float(), frames)
        bands_each = torch.full((batch,), float(num_mels), dtype=torch.float32, device=x.device)
        widest = bands_each.clamp(max=self.frequency_width)
        over_bands = _drawn(self.frequency_masks, widest, bands_each, num_mels)
        masked = over_time.unsqueeze(2) | over_bands.unsqueeze(1)  # (B, T, F)
        masked = masked & valid_steps(lengths, frames).unsqueeze(2)
        return torch.where(masked, fill.to(x) if isinstance(fill, Tensor) else fill, x)

    def extra_repr(self) -> str:
        return (
            f"frequency_masks={self.frequency_masks}, frequency_width={self.frequency_width}, "
            f"time_masks={self.time_masks}, time_width={self.time_width}, "
            f"time_share={self.time_share}"
        )


def _drawn(masks: int, widest: Tensor, size: Tensor, places: int) -> Tensor:
    """Draws masks for each utterance.

    Args:
        masks: Masks in each utterance.
        widest: The most places that one covers, whole numbers, (B,) float32.
        size: Places that masks lie within, whole numbers, (B,) float32.
        places: Places with padding, N.

    Returns:
        True where any mask is, (B, N) bool.
    """
    draws = torch.rand(2, masks, len(size), dtype=torch.float32, device=size.device)
    width = (draws[0] * (widest + 1)).floor()
    start = (draws[1] * (size - width + 1)).floor()  # (masks, B)
    place = torch.arange(places, device=size.device)
    covered = (place >= start.unsqueeze(2)) & (place < (start + width).unsqueeze(2))
    return covered.any(0)
