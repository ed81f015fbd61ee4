"""Log-mel filter bank features."""

import math

import torch
from torch import Tensor, nn

from srulight.runtime.errors import InputError

# Kaldi scales samples as 16-bit integers.
_FULL_SCALE = 32768.0
_FLOOR = torch.finfo(torch.float32).eps


class FilterBank(nn.Module):
    """Computes log energies of triangular filters that are evenly spaced on the mel scale.

    The features equal those of Kaldi (``compute-fbank-feats`` without dither). Incomplete frames
    are dropped. The mean of each frame is subtracted, and the frame is pre-emphasized, multiplied
    by the Povey window (a Hann window to the power 0.85) and padded to a power of two. The filters
    are triangles in mel, 1127 ln(1 + f / 700 Hz), over the power spectrum. Mel scale: O'Shaughnessy
    (1987), Speech Communication. Filter banks: Davis and Mermelstein (1980), IEEE Transactions on
    Acoustics, Speech and Signal Processing 28(4).

    Args:
        sample_rate: Sample rate of the input, in Hz.
        num_mels: Number of filters, F.
        frame_length: Duration of a frame, in milliseconds.
        frame_shift: Time from the start of one frame to the start of the next, in milliseconds.
        low_frequency: Lower edge of the first filter, in Hz.
        high_frequency: Upper edge of the last filter, in Hz; 0 or less is an offset from half of
            ``sample_rate``.
        preemphasis: Coefficient of the pre-emphasis: the fraction of the previous sample that is
            subtracted from each sample, 0 to 1.

    Attributes:
        window: Number of samples in a frame.
        shift: Number of samples from the start of one frame to the start of the next.
        output_size: Number of features per frame, F.

    Raises:
        InputError: If an argument is out of range, or a filter covers no frequency.
    """

    povey: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        num_mels: int = 80,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        low_frequency: float = 20.0,
        high_frequency: float = 0.0,
        preemphasis: float = 0.97,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.num_mels = num_mels
        self.frame_length = frame_length
        self.frame_shift = frame_shift
        self.low_frequency = low_frequency
        self.high_frequency = high_frequency
        self.preemphasis = preemphasis
        # The order of the factors matters: rounding must agree with Kaldi.
        self.window = int(sample_rate * 0.001 * frame_length)
        self.shift = int(sample_rate * 0.001 * frame_shift)
        self.output_size = num_mels
        self._check()
        self.fft_size = 1 << (self.window - 1).bit_length()
        hann = torch.hann_window(self.window, periodic=False, dtype=torch.float64)
        self.register_buffer("povey", (_FULL_SCALE * hann**0.85).float(), persistent=False)
        self.register_buffer("filters", self._triangles().float(), persistent=False)

    @property
    def settings(self) -> dict[str, int | float]:
        """All arguments by name, from which an equal filter bank can be built."""
        return {
            "sample_rate": self.sample_rate,
            "num_mels": self.num_mels,
            "frame_length": self.frame_length,
            "frame_shift": self.frame_shift,
            "low_frequency": self.low_frequency,
            "high_frequency": self.high_frequency,
            "preemphasis": self.preemphasis,
        }

    def num_frames(self, samples: int) -> int:
        """Counts the complete frames.

        Args:
            samples: Number of samples.

        Returns:
            Number of frames.
        """
        return max(0, (samples - self.window) // self.shift + 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Computes the features of all complete frames.

        Args:
            samples: Samples from -1 to 1, (N,) float32.

        Returns:
            Natural logarithms of the filter energies, (T, F) float32, where T is ``num_frames(N)``.
            Energies are clamped to the epsilon of float32 from below.
        """
        if len(samples) < self.window:
            return samples.new_zeros(0, self.num_mels)
        # Energies exceed the range of half precision.
        with torch.autocast(samples.device.type, enabled=False):
            frames = samples.unfold(0, self.window, self.shift)  # (T, window)
            frames = frames - frames.mean(dim=1, keepdim=True)
            before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
            frames = torch.sub(frames, before, alpha=self.preemphasis) * self.povey
            spectrum = torch.fft.rfft(frames, self.fft_size)
            power = spectrum.real.square() + spectrum.imag.square()  # (T, fft_size / 2 + 1)
            return (power @ self.filters).clamp(min=_FLOOR).log()

    def _check(self) -> None:
        if self.sample_rate < 1:
            raise InputError(f"sample_rate must be at least 1 Hz, got {self.sample_rate}")
        if self.num_mels < 1:
            raise InputError(f"num_mels must be at least 1, got {self.num_mels}")
        if self.window < 2:
            raise InputError(
                f"frame_length must be at least two samples, got {self.frame_length} ms at "
                f"{self.sample_rate} Hz"
            )
        if self.shift < 1:
            raise InputError(
                f"frame_shift must be at least one sample, got {self.frame_shift} ms at "
                f"{self.sample_rate} Hz"
            )
        if not 0 <= self.preemphasis <= 1:
            raise InputError(f"preemphasis must be 0 to 1, got {self.preemphasis}")
        half = self.sample_rate / 2
        if not 0 <= self.low_frequency < self._end() <= half:
            raise InputError(
                "low_frequency must be 0 or more and below high_frequency, which must be at most "
                f"{half:g} Hz (half of sample_rate), got low_frequency={self.low_frequency:g} "
                f"high_frequency={self.high_frequency:g}"
            )

    def _end(self) -> float:
        if self.high_frequency > 0:
            return self.high_frequency
        return self.sample_rate / 2 + self.high_frequency

    def _triangles(self) -> Tensor:
        frequencies = torch.arange(self.fft_size // 2 + 1, dtype=torch.float64)
        mels = 1127 * (1 + frequencies * self.sample_rate / self.fft_size / 700).log()
        low = 1127 * math.log1p(self.low_frequency / 700)
        high = 1127 * math.log1p(self._end() / 700)
        width = (high - low) / (self.num_mels + 1)
        centers = low + width * torch.arange(1, self.num_mels + 1)
        triangles = (1 - (mels.unsqueeze(1) - centers).abs() / width).clamp(min=0)
        # Kaldi excludes the Nyquist frequency.
        triangles[-1] = 0
        empty = (triangles.sum(dim=0) == 0).nonzero()
        if len(empty):
            raise InputError(
                "num_mels must be small enough for each filter to cover a frequency of the "
                f"{self.fft_size}-point spectrum, got {self.num_mels}, which leaves filter "
                f"{int(empty[0]) + 1} empty; lower num_mels, widen the frequency range or raise "
                "frame_length"
            )
        return triangles  # (fft_size / 2 + 1, F)
