"""Filter banks equal Kaldi's, for whole files and for streams."""

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.streaming import FrameBuffer

SETTINGS: list[dict[str, float]] = [
    {},
    {"sample_rate": 8000, "num_mels": 40},
    {"sample_rate": 8000, "num_mels": 80},
    {"sample_rate": 22050, "num_mels": 64},
    {"sample_rate": 11025, "num_mels": 23},
    {"sample_rate": 44100, "num_mels": 128},
    {"num_mels": 40, "high_frequency": -400.0},
    {"num_mels": 30, "low_frequency": 0.0, "high_frequency": 7600.0},
    {"frame_length": 32.0, "frame_shift": 8.0},
    {"num_mels": 20, "frame_length": 12.8, "frame_shift": 12.5},
    {"preemphasis": 0.0},
]


def filter_bank(settings: dict[str, float]) -> FilterBank:
    return FilterBank(**settings)  # type: ignore[arg-type]


def kaldi(bank: FilterBank, samples: Tensor) -> Tensor:
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = bank.sample_rate
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = True
    options.frame_opts.frame_length_ms = bank.frame_length
    options.frame_opts.frame_shift_ms = bank.frame_shift
    options.frame_opts.preemph_coeff = bank.preemphasis
    options.mel_opts.num_bins = bank.num_mels
    options.mel_opts.low_freq = bank.low_frequency
    options.mel_opts.high_freq = bank.high_frequency
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(bank.sample_rate, (samples * 32768).tolist())
    fbank.input_finished()
    frames = [torch.tensor(fbank.get_frame(i)) for i in range(fbank.num_frames_ready)]
    return torch.stack(frames) if frames else torch.zeros(0, bank.num_mels)


def speech(rate: int) -> Tensor:
    """Synthesizes 0.4 s of a pulsating voice at 120 Hz with some noise."""
    seconds = torch.arange(int(0.4 * rate)) / rate
    voice = sum((torch.sin(754 * k * seconds) / k for k in range(1, 20)), torch.zeros(()))
    loud = torch.sin(2 * torch.pi * 4 * seconds).clamp(min=0)
    return 0.1 * voice * loud + 0.001 * torch.randn(len(seconds))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("loudness", [0.3, 1e-4])
def test_noise_gives_the_energies_of_kaldi(settings: dict[str, float], loudness: float) -> None:
    bank = filter_bank(settings)
    noise = loudness * torch.randn(bank.sample_rate // 5).clamp(-3, 3)
    torch.testing.assert_close(bank(noise), kaldi(bank, noise), rtol=0, atol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS)
def test_speech_gives_the_energies_of_kaldi(settings: dict[str, float]) -> None:
    bank = filter_bank(settings)
    samples = speech(bank.sample_rate)
    torch.testing.assert_close(bank(samples), kaldi(bank, samples), rtol=0, atol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_tone_gives_the_energies_of_kaldi(settings: dict[str, float]) -> None:
    bank = filter_bank(settings)
    seconds = torch.arange(bank.sample_rate // 5) / bank.sample_rate
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * seconds)
    own, other = bank(tone), kaldi(bank, tone)
    # Bands that are 100,000 times weaker than the tone contain its float32 rounding errors.
    heard = other > other.amax(dim=1, keepdim=True) - 12
    torch.testing.assert_close(own[heard], other[heard], rtol=0, atol=1e-3)
    torch.testing.assert_close(own, other, rtol=0, atol=0.2)


def test_silence_is_the_floor_of_kaldi() -> None:
    bank = FilterBank()
    silence = torch.zeros(1000)
    assert torch.equal(bank(silence), kaldi(bank, silence))
    assert bank(silence).unique().tolist() == [pytest.approx(-15.9424, abs=1e-4)]


def test_a_constant_is_taken_off() -> None:
    bank = FilterBank()
    noise = 0.1 * torch.randn(2000)
    torch.testing.assert_close(bank(noise + 0.25), bank(noise), rtol=0, atol=1e-2)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401, 559, 560, 561, 1000])
def test_frames_that_do_not_fit_whole_are_left_out(samples: int) -> None:
    bank = FilterBank()
    frames = bank(torch.randn(samples))
    assert frames.shape == (bank.num_frames(samples), bank.output_size)
    assert len(frames) == len(kaldi(bank, torch.randn(samples)))
    assert frames.dtype == torch.float32


@pytest.mark.parametrize("size", [1, 37, 160, 401, 5000])
@pytest.mark.parametrize("settings", [{}, {"sample_rate": 8000, "frame_shift": 30.0}])
def test_a_stream_gives_the_frames_of_the_whole(settings: dict[str, float], size: int) -> None:
    bank = filter_bank(settings)
    samples = speech(bank.sample_rate)
    overlap = FrameBuffer(bank.window, bank.shift)
    stretches = [overlap(piece) for piece in samples.split(size)]
    frames = torch.cat([bank(stretch) for stretch in stretches if stretch is not None])
    torch.testing.assert_close(frames, bank(samples), rtol=0, atol=1e-4)


def test_settings_make_the_same_filter_bank() -> None:
    bank = FilterBank(8000, 23, 32.0, 12.5, 50.0, -200.0, 0.9)
    other = filter_bank(bank.settings)
    samples = torch.randn(2000)
    assert other.settings == bank.settings
    assert torch.equal(other(samples), bank(samples))


def test_checkpoints_do_not_hold_filters() -> None:
    assert not FilterBank().state_dict()


def test_mixed_precision_does_not_round_energies() -> None:
    bank = FilterBank()
    samples = torch.randn(1000)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = bank(samples)
    assert torch.equal(mixed, bank(samples))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be at least 1 Hz, got 0"),
        ({"num_mels": 0}, "num_mels must be at least 1, got 0"),
        ({"frame_length": 0.1}, "frame_length must be at least two samples, got 0.1 ms"),
        ({"frame_shift": 0.05}, "frame_shift must be at least one sample, got 0.05 ms"),
        ({"preemphasis": 1.5}, "preemphasis must be 0 to 1, got 1.5"),
        ({"high_frequency": 8001.0}, "at most 8000 Hz .*=20 high_frequency=8001"),
        ({"high_frequency": -8000.0}, "below high_frequency.*=20 high_frequency=-8000"),
        ({"low_frequency": -1.0}, "low_frequency must be 0 or more.*=-1 high_frequency=0"),
        (
            {"low_frequency": 4000.0, "high_frequency": 4000.0},
            "got low_frequency=4000 high_frequency=4000",
        ),
        ({"num_mels": 128, "sample_rate": 8000}, "256-point .* leaves filter .* empty"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        filter_bank(settings)
