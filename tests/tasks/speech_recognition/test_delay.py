"""A streaming step is computed as soon as its audio has arrived, and not earlier."""

import pytest
import torch
from torch import Tensor, nn

from srulight import SRU
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.subsampling import (
    Convolutions,
    Stacking,
    SubsamplingFactory,
)
from srulight.tasks.speech_recognition.streaming import StreamingRecognizer

RATE, BANDS = 8000, 8


class Counting(Greedy):
    """A decoder that counts its steps."""

    steps = 0

    def advance(self, log_probs: Tensor) -> None:
        self.steps += len(log_probs)


@pytest.mark.parametrize("make", [lambda size: Stacking(size, 4), lambda size: Convolutions(size)])
@torch.no_grad()
def test_the_first_step_comes_after_the_delay(make: SubsamplingFactory) -> None:
    subsampling = make(BANDS)
    encoder = SRU(subsampling.output_size, 4)
    frontend = Frontend(FilterBank(RATE, BANDS), "refuse", "none")
    decoder = Counting()
    stream = StreamingRecognizer(frontend, subsampling, encoder, nn.Linear(4, 3), decoder)
    samples = round(stream.delay * RATE)
    stream.accept(torch.randn(samples - 1))
    assert decoder.steps == 0
    stream.accept(torch.randn(1))
    assert decoder.steps == 1
