"""The document reader equals its equations in plain loops, with any encoder and any padding.

Its stacks apply their encoders in sequence and concatenate the outputs.
"""

import inspect
import math
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight import encoders
from srulight.encoders import LSTM, SRU, Encoder, EncoderFactory, Recurrent
from srulight.layers.masking import zero_padding
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.model import (
    DocumentReader,
    ReaderLayers,
    Scores,
    StackedEncoder,
)

VECTOR, FEATURES = 4, 3
LENGTHS, QUESTION_LENGTHS = torch.tensor([6, 1, 4]), torch.tensor([2, 5, 1])

EXPORTED = [
    c
    for c in vars(encoders).values()
    if inspect.isclass(c) and issubclass(c, Encoder) and not inspect.isabstract(c)
]
ENCODERS: dict[str, EncoderFactory] = {
    **{c.__name__: c for c in EXPORTED},
    **{
        f"{c.__name__} both ways": partial(c, hidden_size=8, bidirectional=True)
        for c in EXPORTED
        if issubclass(c, Recurrent)
    },
}
every = pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS.keys())
SMALL = partial(SRU, hidden_size=3, num_layers=1, bidirectional=True)


class Scaled(Encoder):
    """An encoder that multiplies its input by three."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = self.output_size = input_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return 3 * (x if lengths is None else zero_padding(x, lengths))


class Inputs(NamedTuple):
    """Inputs of the reader."""

    document: Tensor
    lengths: Tensor
    features: Tensor
    question: Tensor
    question_lengths: Tensor

    def row(self, i: int) -> "Inputs":
        """Gives the i-th document and question alone, without padding."""
        n, m = int(self.lengths[i]), int(self.question_lengths[i])
        return Inputs(
            self.document[i : i + 1, :n],
            self.lengths[i : i + 1],
            self.features[i : i + 1, :n],
            self.question[i : i + 1, :m],
            self.question_lengths[i : i + 1],
        )


def random_inputs(dtype: torch.dtype = torch.float64, learn: bool = False) -> Inputs:
    """Creates three documents and questions, with random values in the padding."""
    document, features, question = (
        torch.randn(3, steps, size, dtype=dtype, requires_grad=learn)
        for steps, size in ((6, VECTOR), (6, FEATURES), (5, VECTOR))
    )
    return Inputs(document, LENGTHS, features, question, QUESTION_LENGTHS)


def reader(
    make: EncoderFactory = SMALL, question: EncoderFactory | None = None, no_answer: bool = True
) -> DocumentReader:
    layers = ReaderLayers(2, 1)
    return DocumentReader(VECTOR, FEATURES, make, question or make, layers, no_answer=no_answer)


def softmax(scores: list[float]) -> list[float]:
    total = sum(map(math.exp, scores))
    return [math.exp(score) / total for score in scores]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def mean(weights: list[float], vectors: list[list[float]]) -> list[float]:
    return [dot(weights, list(column)) for column in zip(*vectors, strict=True)]


def affine(weights: dict[str, Any], name: str, vector: list[float]) -> list[float]:
    none = [0.0] * len(weights[f"{name}.weight"])
    rows = zip(weights[f"{name}.weight"], weights.get(f"{name}.bias", none), strict=True)
    return [dot(row, vector) + bias for row, bias in rows]


def by_hand(model: DocumentReader, inputs: Inputs) -> tuple[list[float], list[float], float]:
    """Scores one document in plain Python loops."""
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    words, asked = inputs.document[0].tolist(), inputs.question[0].tolist()

    def project(vector: list[float]) -> list[float]:
        return [max(x, 0) for x in affine(weights, "align", vector)]

    seen = []
    for word, extra in zip(words, inputs.features[0].tolist(), strict=True):
        attention = softmax([dot(project(word), project(other)) for other in asked])
        seen.append(word + mean(attention, asked) + extra)
    low, high = model.document.layers
    below = low(torch.tensor([seen], dtype=torch.float64))
    read = [a + b for a, b in zip(below[0].tolist(), high(below)[0].tolist(), strict=True)]
    encoded = model.question.layers[0](inputs.question)[0].tolist()
    summary = mean(softmax([dot(weights["weight.weight"][0], v) for v in encoded]), encoded)
    start, end = (
        [dot(word, compared) for word in read]
        for compared in (affine(weights, "start", summary), affine(weights, "end", summary))
    )
    both = summary + [max(column) for column in zip(*read, strict=True)]
    return start, end, affine(weights, "none", both)[0]


@pytest.mark.parametrize("make", [Scaled, SMALL], ids=["three times", "SRU"])
def test_scores_are_those_of_plain_loops(make: EncoderFactory) -> None:
    model = reader(make).double().eval()
    inputs = random_inputs()
    scores = model(*inputs)
    for i, n in enumerate(LENGTHS.tolist()):
        start, end, none = by_hand(model, inputs.row(i))
        assert scores.start[i].tolist() == pytest.approx(start + [-math.inf] * (6 - n), rel=1e-12)
        assert scores.end[i].tolist() == pytest.approx(end + [-math.inf] * (6 - n), rel=1e-12)
        assert scores.none[i].item() == pytest.approx(none, rel=1e-12)


def loss(scores: Scores) -> Tensor:
    """Reduces all scores to one number, so that equal and opposite gradients do not cancel."""
    first = torch.zeros(len(scores.start), dtype=torch.int64)
    total = F.cross_entropy(scores.start, first, reduction="sum")
    total = total + 2 * F.cross_entropy(scores.end, first, reduction="sum")
    for part in (scores.start, scores.end):
        total = total + part[part > -math.inf].square().sum()
    return total if scores.none is None else total + 3 * scores.none.sum()


@every
def test_padding_changes_neither_value_nor_gradient(make: EncoderFactory) -> None:
    model = reader(make).double().eval()
    inputs = random_inputs(learn=True)
    leaves = [inputs.document, inputs.features, inputs.question, *model.parameters()]
    scores = model(*inputs)
    alone = [model(*inputs.row(i)) for i in range(3)]
    for i, n in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(scores.start[i, :n], alone[i].start[0])
        torch.testing.assert_close(scores.end[i, :n], alone[i].end[0])
        torch.testing.assert_close(scores.none[i], alone[i].none[0])
        assert (scores.start[i, n:] == -math.inf).all()
        assert (scores.end[i, n:] == -math.inf).all()
    together = torch.autograd.grad(loss(scores), leaves)
    total = torch.stack([*map(loss, alone)]).sum()
    torch.testing.assert_close(together, torch.autograd.grad(total, leaves))
    document, features, question, *_ = together
    for i, (n, m) in enumerate(zip(LENGTHS.tolist(), QUESTION_LENGTHS.tolist(), strict=True)):
        assert document[i, :n].any()
        assert question[i, :m].any()
        assert not document[i, n:].any()
        assert not features[i, n:].any()
        assert not question[i, m:].any()


def test_gradients_are_differences_of_scores() -> None:
    low = partial(SMALL, hidden_size=2)
    model = DocumentReader(2, 1, low, SMALL, ReaderLayers(2, 1), no_answer=True)
    model = model.double().eval()
    document, features, question = (
        torch.randn(2, steps, size, dtype=torch.float64, requires_grad=True)
        for steps, size in ((3, 2), (3, 1), (2, 2))
    )
    lengths, question_lengths = torch.tensor([3, 2]), torch.tensor([1, 2])

    def finite(document: Tensor, features: Tensor, question: Tensor, *_: Tensor) -> Tensor:
        start, end, none = model(document, lengths, features, question, question_lengths)
        return torch.cat((start[start > -math.inf], end[end > -math.inf], none))

    # Changing the parameters in place changes the model.
    inputs = (document, features, question, *model.parameters())
    assert finite(*inputs).shape == (5 + 5 + 2,)
    assert torch.autograd.gradcheck(finite, inputs)


def test_no_answer_depends_on_the_document_and_on_the_question_it_is_asked() -> None:
    model = reader().double().eval()
    inputs = random_inputs(learn=True)
    none = model(*inputs).none
    assert none.isfinite().all()
    gradients = torch.autograd.grad(none[0], (inputs.document, inputs.features, inputs.question))
    for gradient, length in zip(gradients, (6, 6, 2), strict=True):
        assert gradient[0, :length].any()
        assert not gradient[1:].any()


@every
def test_every_parameter_learns(make: EncoderFactory) -> None:
    model = reader(make)
    for parameter in model.parameters():
        if not parameter.any():  # a zero would hide the values that it multiplies
            torch.nn.init.normal_(parameter)
    loss(model(*random_inputs(torch.float32))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert parameter.grad.isfinite().all(), name


@every
def test_runs_in_half_precision(make: EncoderFactory) -> None:
    torch.manual_seed(1)
    model = reader(make).eval()
    inputs = random_inputs(torch.float32)
    exact = model(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(*inputs)
    loss(mixed).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    halves = [x.bfloat16() if x.is_floating_point() else x for x in inputs]
    half = model.bfloat16()(*halves)
    loss(half).backward()
    for rough in (mixed, half):
        for got, expected in zip(rough, exact, strict=True):
            assert got.dtype == torch.float32
            largest = expected[expected > -math.inf].abs().max().item()
            torch.testing.assert_close(got, expected, rtol=0, atol=0.05 * max(largest, 1))


def test_features_may_be_of_another_type() -> None:
    model = reader().eval()
    inputs = random_inputs(torch.float32)
    flags = inputs.features > 0
    expected = model(*inputs._replace(features=flags.float()))
    torch.testing.assert_close(model(*inputs._replace(features=flags)), expected, rtol=0, atol=0)


def test_there_is_an_answer_unless_told() -> None:
    model = reader(no_answer=False)
    assert model(*random_inputs(torch.float32)).none is None
    assert not any("none" in name for name, _ in model.named_parameters())


def test_document_and_question_may_have_encoders_of_different_sizes() -> None:
    model = reader(SMALL, partial(LSTM, hidden_size=7))
    assert model(*random_inputs(torch.float32)).start.shape == (3, 6)


def test_a_batch_may_be_empty() -> None:
    inputs = Inputs(*(part[:0] for part in random_inputs(torch.float32)))
    scores = reader()(*inputs)
    assert scores.start.shape == scores.end.shape == (0, 6)
    assert scores.none.shape == (0,)


def test_says_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"layers\.document must be at least 1, got 0"):
        ReaderLayers(document=0)
    with pytest.raises(InputError, match=r"layers\.question must be at least 1, got 0"):
        ReaderLayers(question=0)
    with pytest.raises(ValueError, match=r"dropout must be 0 to 1, got 1\.5"):
        StackedEncoder(4, Scaled, 1, dropout=1.5)


class Same(Encoder):
    """An encoder that returns its input."""

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
    for parameter in stack.parameters():  # a zero bias would hide its effect
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
    # Each dropout doubles the values that it keeps: twice for layer one, three times for two.
    for half, value, share in ((y[..., :4000], 4.0, 0.25), (y[..., 4000:], 8.0, 0.125)):
        assert set(half.unique().tolist()) == {0.0, value}
        # Five standard deviations of the share of 8000 draws.
        assert abs((half > 0).float().mean() - share) < 5 * (share * (1 - share) / 8000) ** 0.5


def test_nothing_is_dropped_when_not_training() -> None:
    x = torch.randn(2, 3, 4)
    y = StackedEncoder(4, Same, 2, dropout=0.5).eval()(x, torch.tensor([3, 3]))
    assert torch.equal(y, torch.cat((x, x), 2))


def test_dropout_draws_once_for_a_sequence() -> None:
    torch.manual_seed(0)
    y = StackedEncoder(50, Same, 1, dropout=0.5).train()(torch.ones(2, 7, 50), torch.tensor([7, 7]))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert not torch.equal(y[0], y[1])
    assert 0 < (y == 0).float().mean() < 1
