"""A stack is its encoders, one after the other, and keeps what comes out of each."""

import inspect

import pytest
import torch
from torch import Tensor

from srulight import encoders
from srulight.encoders import LSTM, SRU, Encoder, EncoderFactory
from srulight.tasks.question_answering.stacked import StackedEncoder

EXPORTED = [
    c
    for c in vars(encoders).values()
    if inspect.isclass(c) and issubclass(c, Encoder) and not inspect.isabstract(c)
]


class Same(Encoder):
    """Gives what it is given."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = self.output_size = input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return x


def test_each_encoder_reads_the_one_below_and_all_are_kept() -> None:
    sizes = []

    def factory(size: int) -> Encoder:
        sizes.append(size)
        hidden_size = 4 - len(sizes)
        return (SRU, LSTM)[len(sizes) % 2](size, hidden_size, num_layers=1, bidirectional=True)

    stack = StackedEncoder(5, factory, 3)
    assert sizes == [5, 6, 4]
    assert stack.output_size == 6 + 4 + 2
    x, lengths = torch.randn(2, 7, 5), torch.tensor([7, 3])
    first, second, third = stack.layers
    low = first(x, lengths)
    middle = second(low, lengths)
    expected = torch.cat((low, middle, third(middle, lengths)), 2)
    torch.testing.assert_close(stack(x, lengths), expected, rtol=0, atol=0)


@pytest.mark.parametrize("make", EXPORTED)
def test_any_encoder_may_be_stacked(make: EncoderFactory) -> None:
    stack = StackedEncoder(5, make, 2).eval()
    for parameter in stack.parameters():  # a bias that starts as zero hides what it does
        torch.nn.init.normal_(parameter, std=0.2)
    x, lengths = torch.randn(2, 7, 5), torch.tensor([7, 3])
    y = stack(x, lengths)
    assert y.shape == (2, 7, stack.output_size)
    low, high = stack.layers
    below = low(x, lengths)
    torch.testing.assert_close(y, torch.cat((below, high(below, lengths)), 2), rtol=0, atol=0)
    torch.testing.assert_close(y[1, :3], stack(x[1:, :3], torch.tensor([3]))[0])
    assert not y[1, 3:].any()


def test_dropout_is_before_each_encoder_and_at_the_end() -> None:
    stack = StackedEncoder(4000, Same, 2, dropout=0.5)
    y = stack(torch.ones(2, 1, 4000), torch.tensor([1, 1]))
    # What is kept doubles each time: two times on its way out of the first, three of the second.
    for half, value, share in ((y[..., :4000], 4.0, 0.25), (y[..., 4000:], 8.0, 0.125)):
        assert set(half.unique().tolist()) == {0.0, value}
        # Five standard deviations of the share of 8000 draws.
        assert abs((half > 0).float().mean() - share) < 5 * (share * (1 - share) / 8000) ** 0.5


def test_nothing_is_dropped_when_not_training() -> None:
    x = torch.randn(2, 3, 4)
    y = StackedEncoder(4, Same, 2, dropout=0.5).eval()(x, torch.tensor([3, 3]))
    assert torch.equal(y, torch.cat((x, x), 2))


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="layers of a reader must be at least 1, got 0"):
        StackedEncoder(4, Same, 0)
    with pytest.raises(ValueError, match=r"dropout must be 0 to 1, got 1\.5"):
        StackedEncoder(4, Same, 1, dropout=1.5)


def test_dropout_draws_once_for_a_sequence() -> None:
    torch.manual_seed(0)
    y = StackedEncoder(50, Same, 1, dropout=0.5).train()(torch.ones(2, 7, 50), torch.tensor([7, 7]))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert not torch.equal(y[0], y[1])
    assert 0 < (y == 0).float().mean() < 1
