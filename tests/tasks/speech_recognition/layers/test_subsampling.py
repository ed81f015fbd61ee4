"""A step depends on its own frames only, so neither padding nor chunking changes it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from srulight.tasks.speech_recognition.layers.subsampling import (
    Convolutions,
    Stacking,
    Subsampling,
    SubsamplingFactory,
)

BANDS = 4
LAYERS: dict[str, SubsamplingFactory] = {
    "stacking 1": lambda size: Stacking(size, 1),
    "stacking 3": lambda size: Stacking(size),
    "convolution": lambda size: Convolutions(size, 16, 1),
    "convolutions": lambda size: Convolutions(size, 16),
    "3 convolutions": lambda size: Convolutions(size, 16, 3),
}
every = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


def test_stacks_frames_side_by_side_and_drops_what_is_left() -> None:
    x = torch.arange(16.0).view(1, 8, 2)
    y, lengths = Stacking(2, 3)(x, torch.tensor([8]))
    assert y.tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]
    assert lengths is not None
    assert lengths.tolist() == [2]


def test_convolves_as_torch_does() -> None:
    layer = Convolutions(BANDS, 6, 2).double()
    x = torch.randn(2, 24, BANDS, dtype=torch.float64)
    y = x.mT
    for convolution in layer.convolutions:
        assert isinstance(convolution, nn.Linear)
        weight = convolution.weight.unflatten(1, (3, -1)).mT  # (C, F, 3)
        y = F.conv1d(y, weight, convolution.bias, stride=2).relu()
    torch.testing.assert_close(layer(x)[0], y.mT)
    assert y.any()


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (Stacking(BANDS), (4, 12, 3, 3)),
        (Convolutions(BANDS, 6, 1), (4, 6, 3, 2)),
        (Convolutions(BANDS), (4, 256, 7, 4)),
        (Convolutions(BANDS, 6, 3), (4, 6, 15, 8)),
    ],
    ids=str,
)
def test_says_how_it_subsamples(layer: Subsampling, sizes: tuple[int, ...]) -> None:
    assert (layer.input_size, layer.output_size, layer.window, layer.shift) == sizes


def test_counts_the_steps_that_are_whole() -> None:
    frames = [0, 2, 3, 6, 7, 8, 10, 11, 14, 15]
    for layer, steps in (
        (Stacking(BANDS, 3), [0, 0, 1, 2, 2, 2, 3, 3, 4, 5]),
        (Convolutions(BANDS, 6, 2), [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]),
    ):
        assert [layer.steps(n) for n in frames] == steps
        assert layer.steps(torch.tensor(frames)).tolist() == steps


@every
def test_gives_as_many_steps_as_it_says(make: SubsamplingFactory) -> None:
    layer = make(BANDS)
    for frames in range(2 * layer.window + layer.shift):
        x = torch.randn(2, frames, BANDS, requires_grad=True)
        y, lengths = layer(x)
        assert y.shape == (2, layer.steps(frames), layer.output_size)
        assert lengths is None
        y.sum().backward()  # also if there are no steps


@every
def test_a_step_sees_its_window_and_nothing_else(make: SubsamplingFactory) -> None:
    layer = make(BANDS).double()
    x = torch.randn(1, layer.window + 3 * layer.shift, BANDS, dtype=torch.float64)
    x.requires_grad_()
    y, _ = layer(x)
    for j in range(4):
        (gradient,) = torch.autograd.grad(y[0, j].square().sum(), x, retain_graph=True)
        first = j * layer.shift
        seen = gradient[0].any(1).nonzero().flatten().tolist()
        assert seen == list(range(first, first + layer.window))


@every
def test_padding_changes_nothing(make: SubsamplingFactory) -> None:
    layer = make(BANDS).double()
    window, shift = layer.window, layer.shift
    counts = [window + 3 * shift, window + 2 * shift - 1, window, window - 1, 0]
    lengths = torch.tensor(counts)
    x = torch.randn(len(counts), counts[0] + 2, BANDS, dtype=torch.float64, requires_grad=True)
    y, steps = layer(x, lengths)
    assert steps is not None
    assert steps.dtype == torch.int64
    assert steps.tolist() == [4, 2, 1, 0, 0]
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    for b, n in enumerate(counts):
        alone, _ = layer(x[b : b + 1, :n])
        torch.testing.assert_close(y[b, : steps[b]], alone[0])
        assert not y[b, steps[b] :].any()
        assert not gradient[b, n:].any()


@every
def test_overlapping_stretches_give_the_steps_of_the_whole(make: SubsamplingFactory) -> None:
    layer = make(BANDS).double()
    x = torch.randn(1, layer.window + 10 * layer.shift, BANDS, dtype=torch.float64)
    steps, parts = 4, []
    for first in range(0, 11, steps):
        start = first * layer.shift
        end = start + (steps - 1) * layer.shift + layer.window
        parts.append(layer(x[:, start:end])[0])
    torch.testing.assert_close(torch.cat(parts, dim=1), layer(x)[0])


@pytest.mark.slow
@pytest.mark.parametrize("make", [Stacking, lambda size: Convolutions(size, 8)])
def test_one_graph_serves_all_lengths_of_several_steps(make: SubsamplingFactory) -> None:
    torch.compiler.reset()
    counters.clear()
    layer = make(BANDS).double()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, frames in ((3, 19), (2, 20), (5, 21), (3, 22), (4, 36)):
        x = torch.randn(batch, frames, BANDS, dtype=torch.float64, requires_grad=True)
        lengths = torch.tensor([frames, *range(1, batch)])
        results = []
        for run in (compiled, layer):
            y, steps = run(x, lengths)
            results.append((y, steps, torch.autograd.grad(y.square().sum(), x)))
        torch.testing.assert_close(*results)
    assert counters["stats"]["unique_graphs"] == 1


@every
def test_runs_under_autocast(make: SubsamplingFactory) -> None:
    layer = make(BANDS)
    x, lengths = torch.randn(2, 40, BANDS), torch.tensor([40, 20])
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = layer(x, lengths)
    torch.testing.assert_close(y.float(), layer(x, lengths)[0], atol=0.02, rtol=0.02)


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="factor must be at least 1, got 0"):
        Stacking(BANDS, 0)
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        Convolutions(BANDS, num_layers=0)
    with pytest.raises(ValueError, match="channels must be at least 1, got -1"):
        Convolutions(BANDS, channels=-1)
