"""Matrices of 4-bit indices, networks with them, and their training."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srulight.encoders import GRU, LSTM, QRNN, SRU, EncoderFactory, SRUpp
from srulight.ops.codebook import pack
from srulight.quantization import CodebookMatrix, QuantizedLinear, calibrate, quantize
from srulight.quantization import codebook_matrix as module

B, T, F = 3, 7, 9
ENCODERS: dict[str, EncoderFactory] = {
    "SRU both ways": partial(SRU, hidden_size=12, bidirectional=True, projection_size=8),
    "SRUpp": partial(SRUpp, hidden_size=12, memory_size=3),
    "QRNN": partial(QRNN, hidden_size=12, kernel_size=2),
    "LSTM": partial(LSTM, hidden_size=12),
    "GRU": partial(GRU, hidden_size=12),
}


def by_hand(fraction: int | None = 2, bits: int = 8) -> CodebookMatrix:
    """A matrix with the integers -52, -44, 60 and -60, -60, -36, and the scales 0.5 and 2."""
    return CodebookMatrix(
        pack(torch.tensor([[1, 2, 15], [0, 0, 3]])),
        torch.arange(-60, 68, 8, dtype=torch.int8)[None],
        torch.tensor([0.5, 2.0]),
        3,
        bits,
        None if fraction is None else torch.tensor(fraction),
    )


def test_it_stands_for_floats() -> None:
    matrix = by_hand()
    assert matrix.shape == (2, 3)
    assert matrix.integers.tolist() == [[-52, -44, 60], [-60, -60, -36]]
    assert matrix.dense().tolist() == [[-26, -22, 30], [-120, -120, -72]]
    rows = matrix.rows(torch.tensor([[1, 0], [1, 1]]))
    assert torch.equal(rows, matrix.dense()[torch.tensor([[1, 0], [1, 1]])])


@pytest.mark.parametrize("few", [0, 16])
def test_activations_are_rounded(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", few)
    # In quarters, the activations are 2, -4 and 9.4; 8 bits with f = 2 end at 31.75.
    x = torch.tensor([[[0.5, -1.0, 2.35]], [[100.0, 0.0, 0.0]]])
    bias = torch.tensor([1.0, -1.0])
    wanted = [[[612 / 8 + 1, -204 / 2 - 1]], [[31.75 * -26 + 1, 31.75 * -120 - 1]]]
    assert by_hand()(x, bias).tolist() == wanted
    dynamic = by_hand(None, 4)(x)  # f = 1 and 4 halves of 1/2, -1, 2.5; then f = -4 and 6 * 16
    first = [(0.5 * -26 + 22 + 2.5 * 30), (0.5 * -120 + 120 - 2.5 * 72)]
    assert dynamic.tolist() == [[first], [[96 * -26, 96 * -120]]]
    assert by_hand()(x.double()).dtype == torch.float64
    assert by_hand()(x.bfloat16()).dtype == torch.bfloat16
    assert by_hand()(torch.tensor([1.0, torch.nan, 0])).isnan().all()


def test_few_rows_and_many_rows_give_the_same() -> None:
    matrix, x = CodebookMatrix.of(torch.randn(20, 33), 2, 6), torch.randn(50, 33)
    few = torch.cat([matrix(row[None]) for row in x])
    torch.testing.assert_close(matrix(x), few, rtol=1e-5, atol=1e-5)
    assert len(matrix.codebook) == 10


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS.keys())
def test_an_encoder_stays_close(make: EncoderFactory) -> None:
    encoder = make(F).eval()
    for parameter in encoder.parameters():  # what starts at zero hides what it multiplies
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    quantized = copy.deepcopy(encoder)
    assert quantize(quantized, bits=4)
    x, lengths = torch.randn(B, T, F), torch.tensor([7, 4, 1])
    y, wanted = quantized(x, lengths), encoder(x, lengths)
    assert 0 < (y - wanted).norm() < 0.1 * wanted.norm()
    again = copy.deepcopy(encoder)
    quantize(again, bits=4)
    again.load_state_dict(quantized.state_dict())
    assert torch.equal(again(x, lengths), y)


def test_ranges_follow_batches() -> None:
    network = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
    quantize(network, bits=4, activation_bits=4)
    first, idle = network
    assert isinstance(first, QuantizedLinear)
    one = torch.zeros(128, 16)
    one[:, 0] = 0.75
    # 0.75 fits with f = 3; then 128 of 2048 numbers are 3.0, and f moves by 1 in each batch.
    found = calibrate(network, [one, one * 4, one * 4, one * 4, one * 4], first)
    assert found == (1, 5)
    assert isinstance(idle, QuantizedLinear)
    weight, unused = first.weight, idle.weight
    assert isinstance(weight, CodebookMatrix)
    assert isinstance(unused, CodebookMatrix)
    assert weight.fraction is not None
    assert int(weight.fraction) == 1
    assert unused.fraction is None
    assert not weight.observing
    y = first(torch.full((1, 16), 100.0))  # counts as 7 halves
    bias = first.bias
    assert bias is not None
    torch.testing.assert_close(y, 3.5 * weight.dense().sum(1)[None] + bias)


def test_the_gradient_of_an_entry_sums_over_its_weights() -> None:
    matrix = by_hand(fraction=None, bits=16)
    matrix.train_codebook()
    assert matrix.trained is not None
    x = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    matrix(x, torch.zeros(2)).sum().backward()
    wanted = torch.zeros(16)
    # Entry 0 is selected in row 1, by 1 and 2; the scales are 0.5 and 2.
    wanted[0], wanted[1], wanted[2] = (1 + 2) * 2, 1 * 0.5, 2 * 0.5
    wanted[3], wanted[15] = 3 * 2, 3 * 0.5
    grad = matrix.trained.grad
    assert grad is not None
    torch.testing.assert_close(grad, 127 * wanted[None])
    assert x.grad is not None
    torch.testing.assert_close(x.grad, matrix.dense().detach().sum(0)[None])
    with torch.no_grad():
        matrix.trained[0, 1] = -49.6 / 127
    assert matrix.dense()[0].tolist() == [-25, -22, 30]  # -50 * 0.5
    matrix.keep_codebook()
    assert matrix.trained is None
    assert matrix.codebook[0, :3].tolist() == [-60, -50, -44]
    assert torch.equal(matrix(x.detach()), x.detach() @ matrix.dense().T)


def test_activations_outside_the_range_have_no_gradient() -> None:
    matrix = by_hand(fraction=2, bits=4).eval()
    matrix.train_codebook()
    x = torch.tensor([[1.8, 2.0, -2.2]], requires_grad=True)  # -8 to 7 quarters
    matrix(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[-26 - 120, 0, 0]]


def test_ranges_follow_while_codebooks_are_trained() -> None:
    matrix, x = by_hand(fraction=2, bits=8), torch.full((1, 3), 40.0)
    matrix(x)
    matrix.train_codebook()
    matrix.eval()(x)
    assert int(matrix.fraction or 0) == 2
    matrix.train()(x)
    assert int(matrix.fraction or 0) == 1


@pytest.mark.parametrize("make", [ENCODERS["SRU both ways"], ENCODERS["LSTM"]])
def test_a_network_is_trained(make: EncoderFactory) -> None:
    encoder: Any = make(F)
    quantize(encoder, bits=4)
    matrices = [m for m in encoder.modules() if isinstance(m, CodebookMatrix)]
    x = torch.randn(B, T, F)
    target = torch.randn(B, T, encoder.output_size)
    encoder.eval()(x)  # may keep copies of what changes
    for matrix in matrices:
        matrix.train_codebook()
    optimizer = torch.optim.Adam([p for p in encoder.parameters() if p.requires_grad], lr=0.02)
    losses: list[Tensor] = []
    for _ in range(20):
        losses.append((encoder.train()(x) - target).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.97 * losses[0]
