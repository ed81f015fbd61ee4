"""Quantized matrices, the layers that hold them, and every encoder with them."""

import copy
import io
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from srulight.encoders import CNN, GRU, LSTM, QRNN, SRU, EncoderFactory, Recurrent, SRUpp
from srulight.ops.product import StoredMatrix
from srulight.quantization import Int8Matrix, QuantizedLinear, calibrate, quantize
from srulight.quantization import int8_matrix as module
from srulight.quantization.integer import levels

B, T, F = 3, 7, 9
integers = pytest.mark.skipif(not levels(), reason="needs integer products")
ENCODERS: dict[str, EncoderFactory] = {
    "SRU": partial(SRU, hidden_size=12),
    "SRU both ways": partial(SRU, hidden_size=12, bidirectional=True, projection_size=8),
    "SRU as wide as its input": partial(SRU, hidden_size=F, layer_norm="post"),
    "SRUpp": partial(SRUpp, hidden_size=12, memory_size=3),
    "SRUpp both ways": partial(SRUpp, hidden_size=12, bidirectional=True),
    "QRNN": partial(QRNN, hidden_size=12, kernel_size=2),
    "QRNN both ways": partial(QRNN, hidden_size=12, highway=True, bidirectional=True),
    "LSTM": partial(LSTM, hidden_size=12),
    "LSTM both ways": partial(LSTM, hidden_size=12, bidirectional=True),
    "GRU": partial(GRU, hidden_size=12),
    "GRU both ways": partial(GRU, hidden_size=12, bidirectional=True),
}
every = pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS.keys())


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes small products with integers as well."""
    monkeypatch.setattr(module, "FEW", 0)


def made(make: EncoderFactory) -> tuple[nn.Module, nn.Module]:
    """An encoder, and its quantized copy."""
    encoder = make(F).eval()
    for parameter in encoder.parameters():  # what starts at zero hides what it multiplies
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    quantized = copy.deepcopy(encoder)
    assert quantize(quantized)
    return encoder, quantized


def bound(x: Tensor, weight: Tensor) -> Tensor:
    """How far a product may be from the exact one if each factor is off by half a step."""
    dx = x.abs().amax(-1, keepdim=True) / levels() / 2
    dw = weight.abs().amax(1) / 127 / 2
    width = weight.size(1)
    return dx * weight.abs().sum(1) + x.abs().sum(-1, keepdim=True) * dw + width * dx * dw


@integers
@pytest.mark.usefixtures("always")
def test_a_product_is_within_the_steps_of_its_factors() -> None:
    layer, x = nn.Linear(100, 20), torch.randn(4, 5, 100)
    quantized = nn.Sequential(copy.deepcopy(layer))
    quantize(quantized)
    error = (quantized(x) - layer(x)).abs()
    assert (error <= bound(x, layer.weight)).all()
    assert (error > bound(x, layer.weight) / 1000).any()  # it is rounded at all
    assert quantized(x.bfloat16()).dtype == torch.bfloat16


@integers
@pytest.mark.usefixtures("always")
def test_rows_do_not_affect_each_other() -> None:
    matrix = Int8Matrix.of(torch.randn(20, 64))
    x = torch.randn(6, 64) * torch.logspace(-2, 2, 6)[:, None]
    alone = torch.cat([matrix(row[None]) for row in x])
    torch.testing.assert_close(matrix(x), alone, rtol=1e-6, atol=1e-6)


def test_small_products_use_floats() -> None:
    matrix, x = Int8Matrix.of(torch.randn(20, 64)), torch.randn(6, 64)
    weight = matrix.values.double() * matrix.scale.double()[:, None]
    torch.testing.assert_close(matrix(x).double(), x.double() @ weight.T, rtol=1e-5, atol=1e-5)
    assert matrix(x.double()).dtype == torch.float64
    assert torch.equal(matrix.rows(torch.tensor([[3, 3, 19]]))[0, 2], matrix.dense()[19])


@integers
@pytest.mark.usefixtures("always")
def test_what_is_packed_follows_the_numbers() -> None:
    first, second = (Int8Matrix.of(torch.randn(16, 64)) for _ in range(2))
    x = torch.randn(6, 64)
    wanted = second(x)
    assert not torch.allclose(first(x), wanted)
    twin = copy.deepcopy(first)
    file = io.BytesIO()
    torch.save(first, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), first(x))
    first.load_state_dict(second.state_dict())
    assert torch.equal(first(x), wanted)
    assert not torch.allclose(twin(x), wanted)


@integers
@pytest.mark.usefixtures("always")
@every
def test_an_encoder_stays_close(make: EncoderFactory) -> None:
    encoder, quantized = made(make)
    x, lengths = torch.randn(B, T, F), torch.tensor([7, 4, 1])
    y, wanted = quantized(x, lengths), encoder(x, lengths)
    assert 0 < (y - wanted).norm() < 0.06 * wanted.norm()
    assert not any(y[b, n:].any() for b, n in enumerate(lengths.tolist()))
    assert not any(parameter.requires_grad for parameter in quantized.parameters())


@integers
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("make", [ENCODERS["SRU"], ENCODERS["SRUpp"], ENCODERS["QRNN"]])
def test_pieces_give_what_the_whole_gives(make: EncoderFactory) -> None:
    _, quantized = made(make)
    assert isinstance(quantized, Recurrent)
    x = torch.randn(B, T, F)
    head, state = quantized.forward_with_state(x[:, :3])
    tail, _ = quantized.forward_with_state(x[:, 3:], state)
    torch.testing.assert_close(torch.cat((head, tail), 1), quantized(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_torch_runs_step_by_step(name: str) -> None:
    encoder, quantized = made(ENCODERS[name])
    assert isinstance(quantized, Recurrent)
    x, state, steps = torch.randn(B, T, F), None, []
    with torch.no_grad():
        for t in range(T):
            y, state = quantized.forward_with_state(x[:, t : t + 1], state)
            steps.append(y)
        wanted = encoder(x)
    assert (torch.cat(steps, 1) - wanted).norm() < 0.06 * wanted.norm()


@pytest.mark.parametrize("make", [ENCODERS["SRU"], ENCODERS["SRUpp"], ENCODERS["LSTM"]])
def test_an_exported_program_has_floats(make: EncoderFactory) -> None:
    encoder, quantized = made(make)
    x = torch.randn(B, T, F)
    with torch.no_grad():
        program = torch.export.export(quantized, (x,)).module()
        # The same rounded weights in a network of floats.
        state = quantized.state_dict()
        for name, parameter in encoder.named_parameters():
            if f"{name}.values" in state:
                parameter.copy_(state[f"{name}.values"] * state[f"{name}.scale"][:, None])
        torch.testing.assert_close(program(x), encoder(x), rtol=1e-4, atol=1e-5)


def test_shared_matrices_stay_shared() -> None:
    embedding, head = nn.Embedding(30, 16, padding_idx=0), nn.Linear(16, 30)
    head.weight = embedding.weight
    network = nn.ModuleDict({"embedding": embedding, "head": head, "again": embedding})
    assert quantize(network) == ["embedding.weight", "head.weight"]
    assert network["embedding"] is network["again"]
    assert network["embedding"].weight is network["head"].weight
    tokens = torch.tensor([[0, 5]])
    rows = network["embedding"](tokens)
    assert not rows[0, 0].any()
    step = embedding.weight[5].abs().max() / 127
    assert ((rows[0, 1] - embedding.weight[5]).abs() <= step / 2 * 1.001).all()


def test_some_matrices_keep_their_floats() -> None:
    network = nn.ModuleList([nn.Linear(7, 50), CNN(16), nn.LayerNorm(16)])
    before = {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()}
    assert quantize(network) == []
    assert before == {n: id(tensor) for n, tensor in network.state_dict(keep_vars=True).items()}


@integers
def test_ranges_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.ModuleList([nn.Linear(16, 16) for _ in range(3)])
    quantize(network)
    first, second, idle = network
    assert isinstance(first, QuantizedLinear)
    batches = [torch.randn(4, 16).clamp(-2, 1.5) for _ in range(3)]
    batches[1][2, 3], batches[2][0, 0] = 3.5, -2.5
    found = calibrate(network, batches, lambda batch: second(first(batch).relu()))
    assert found == (2, 3)
    assert first.state_dict()["weight.range"].tolist() == [-2.5, 3.5]
    assert second.state_dict()["weight.range"][0] == 0
    assert "weight.range" not in idle.state_dict()
    monkeypatch.setattr(module, "FEW", 0)
    x, step = batches[0], 6 / (2 * levels() + 1)
    weight = first.weight.dense()
    error = (first(x) - nn.functional.linear(x, weight, first.bias)).abs()
    assert (error <= step / 2 * weight.abs().sum(1) + 1e-5).all()
    assert error.any()
    beyond = first(torch.full((1, 16), 50.0))  # counts as the end of the range
    torch.testing.assert_close(beyond, first(torch.full((1, 16), 3.5)))


def test_a_stored_matrix_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        StoredMatrix()  # type: ignore[abstract]
