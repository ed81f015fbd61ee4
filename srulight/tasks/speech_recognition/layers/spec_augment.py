"""Masks over frequencies and over stretches of time, drawn anew for each utterance."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from srulight.layers.masking import valid_steps
from srulight.runtime.errors import check_range


@dataclass(frozen=True)
class SpecAugmentSettings:
    """What is masked in each training utterance.

    Args:
        frequency_masks: Masks over neighbouring features, in all frames; 0 for none.
        frequency_width: Features that one of them covers, at most.
        time_masks: Masks over stretches of frames, in all features; 0 for none.
        time_width: Frames that one of them covers, at most.
        time_share: Part of an utterance that one of them covers, at most, 0 to 1.
    """

    frequency_masks: int = 2
    frequency_width: int = 8
    time_masks: int = 2
    time_width: int = 20
    time_share: float = 0.2

    def __post_init__(self) -> None:
        check_range(0, **asdict(self))
        check_range(0, 1, time_share=self.time_share)


class SpecAugment(nn.Module):
    """Masks bands of neighbouring frequencies and stretches of frames while training.

    Park et al. (2019), SpecAugment, Interspeech (arXiv 1904.08779), section 2, without the time
    warping. Each utterance has masks of its own. The width of a mask is drawn uniformly from 0 to
    the largest, then its place from all where it lies within the features, or within the
    utterance's real frames. Masks may overlap.

    Args:
        settings: How many masks there are, and how wide.
    """

    def __init__(self, settings: SpecAugmentSettings = SpecAugmentSettings()) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Masks a batch.

        Args:
            x: Frames, (B, T, F).
            lengths: Real frames in each utterance, (B,) int64; None means all T.

        Returns:
            The same shape and dtype, masked values 0, padding as it was; ``x`` itself when not
            training.
        """
        if not self.training:
            return x
        settings = self.settings
        batch, frames, num_mels = x.shape
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        # Not the default dtype, which a run in half precision changes.
        widest = (lengths.float() * settings.time_share).floor().clamp(max=settings.time_width)
        over_time = _draw_masks(settings.time_masks, widest, lengths.float(), frames)
        sizes = torch.full((batch,), float(num_mels), dtype=torch.float32, device=x.device)
        widest = sizes.clamp(max=settings.frequency_width)
        over_features = _draw_masks(settings.frequency_masks, widest, sizes, num_mels)
        masked = over_time.unsqueeze(2) | over_features.unsqueeze(1)  # (B, T, F)
        masked = masked & valid_steps(lengths, frames).unsqueeze(2)
        return torch.where(masked, 0.0, x)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in asdict(self.settings).items())


def _draw_masks(masks: int, widest: Tensor, size: Tensor, places: int) -> Tensor:
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
