"""SpecAugment: random masks over frequency and time."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from srulight.layers.masking import valid_steps
from srulight.runtime.errors import check_range


@dataclass(frozen=True)
class SpecAugmentSettings:
    """Number and width of the masks on each training utterance.

    Args:
        frequency_masks: Number of frequency masks, each of which hides adjacent features in all
            frames; 0 for none.
        frequency_width: Maximal width of a frequency mask, in features.
        time_masks: Number of time masks, each of which hides adjacent frames; 0 for none.
        time_width: Maximal width of a time mask, in frames.
        time_share: Maximal width of a time mask as a fraction of the utterance, 0 to 1.
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
    """Masks random bands of frequencies and random spans of frames during training.

    Park et al. (2019), SpecAugment, Interspeech (arXiv 1904.08779), section 2, without time
    warping. Masks are drawn independently for each utterance: first the width, uniformly from 0 to
    the maximum, then the position, uniformly among those that lie within the features or within the
    valid frames. Masks may overlap.

    Args:
        settings: Number and width of the masks.
    """

    def __init__(self, settings: SpecAugmentSettings = SpecAugmentSettings()) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Masks a batch.

        Args:
            x: Frames, (B, T, F).
            lengths: Number of valid frames in each utterance, (B,) int64; None means all T.

        Returns:
            Frames of the same shape and dtype, with 0 where masked and padding unchanged; ``x``
            itself in evaluation mode.
        """
        if not self.training:
            return x
        settings = self.settings
        batch, frames, num_mels = x.shape
        if lengths is None:
            lengths = torch.full((batch,), frames, device=x.device)
        # float32 explicitly, because runs in half precision change the default dtype.
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
        masks: Number of masks per utterance.
        widest: Maximal width of a mask, as whole numbers, (B,) float32.
        size: Number of positions that may be masked, as whole numbers, (B,) float32.
        places: Number of positions including padding, N.

    Returns:
        True at masked positions, (B, N) bool.
    """
    draws = torch.rand(2, masks, len(size), dtype=torch.float32, device=size.device)
    width = (draws[0] * (widest + 1)).floor()
    start = (draws[1] * (size - width + 1)).floor()  # (masks, B)
    place = torch.arange(places, device=size.device)
    covered = (place >= start.unsqueeze(2)) & (place < (start + width).unsqueeze(2))
    return covered.any(0)
