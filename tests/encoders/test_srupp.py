"""Properties of SRU++ that other encoders do not share."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from srulight import SRUpp
from srulight.encoders.band_attention import BandAttention
from srulight.encoders.srupp import SRUppLayer


def make(input_size: int = 5, hidden_size: int = 4, **options: object) -> SRUpp:
    """Creates a float64 encoder in evaluation mode whose attention is switched on."""
    encoder = SRUpp(input_size, hidden_size, **options).double().eval()  # type: ignore[arg-type]
    for name, parameter in encoder.named_parameters():
        if name.endswith("alpha") or "norm" in name:
            nn.init.normal_(parameter)
    return encoder


def layers_of(encoder: SRUpp) -> list[SRUppLayer]:
    return [layer for layer in encoder.layers if isinstance(layer, SRUppLayer)]


def plain_layer(
    layer: SRUppLayer, heads: int, reach: int, x: Tensor, older: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes a layer by its equations, in loops over heads and steps, given earlier inputs."""
    seen = torch.cat((older.detach(), x), dim=1) @ layer.projection.T
    z = seen[:, older.size(1) :]
    size = z.size(2) // heads
    if layer.attention is not None:
        k, v = (seen @ layer.attention.weight.T).chunk(2, dim=2)
        rows = []
        for t in range(older.size(1), seen.size(1)):
            row = []
            for columns in (slice(i * size, i * size + size) for i in range(heads)):
                keys = k[:, max(0, t - reach) : t + 1, columns]
                values = v[:, max(0, t - reach) : t + 1, columns]
                scores = (keys * seen[:, t : t + 1, columns]).sum(2) / math.sqrt(size)
                weights = scores.exp() / scores.exp().sum(1, keepdim=True)
                row.append((weights.unsqueeze(2) * values).sum(1))
            rows.append(torch.cat(row, dim=1))
        z = z + layer.attention.alpha * torch.stack(rows, dim=1)
    assert layer.norm is not None
    centered = z - z.mean(2, keepdim=True)
    deviation = (centered.square().mean(2, keepdim=True) + 1e-5).sqrt()
    inner = centered / deviation * layer.norm.weight + layer.norm.bias
    u = (inner @ layer.weight.T).unflatten(2, (-1, c.size(1))).unbind(2)
    skip = u[3] if len(u) == 4 else layer.scale * x
    h = []
    for t in range(x.size(1)):
        f = torch.sigmoid(u[1][:, t] + layer.peephole[0] * c + layer.bias[0])
        r = torch.sigmoid(u[2][:, t] + layer.peephole[1] * c + layer.bias[1])
        c = f * c + (1 - f) * u[0][:, t]
        h.append(r * c + (1 - r) * skip[:, t])
    return torch.stack(h, dim=1), c


@pytest.mark.parametrize("pieces", [[9], [5, 4], [1, 2, 6]], ids=str)
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("reach", [3, 20])
@pytest.mark.parametrize("input_size", [5, 4])
def test_equals_its_equations(
    pieces: list[int], heads: int, every: int, reach: int, input_size: int
) -> None:
    encoder = make(
        input_size,
        num_layers=3,
        projection_size=6,
        num_heads=heads,
        memory_size=reach,
        attention_every=every,
        rescale=True,
    )
    x = torch.randn(2, 9, input_size, dtype=torch.float64, requires_grad=True)
    leaves = [x, *encoder.parameters()]
    weights = torch.randn(2, 9, 4, dtype=torch.float64)

    state, outputs = None, []
    for piece in x.split(pieces, dim=1):
        y, state = encoder.forward_with_state(piece, state)
        outputs.append(y)
    found = torch.cat(outputs, dim=1)
    assert state is not None
    gradients = torch.autograd.grad((found * weights).sum() + state[..., :4].sum(), leaves)

    older = [x.new_empty(2, 0, layer.projection.size(1)) for layer in layers_of(encoder)]
    c = [x.new_zeros(2, 4) for _ in encoder.layers]
    outputs = []
    for piece in x.split(pieces, dim=1):
        y = piece
        for i, layer in enumerate(layers_of(encoder)):
            inputs = y
            y, c[i] = plain_layer(layer, heads, reach, inputs, older[i], c[i])
            older[i] = torch.cat((older[i], inputs), dim=1)
        outputs.append(y)
    expected = torch.cat(outputs, dim=1)
    wanted = torch.autograd.grad((expected * weights).sum() + torch.stack(c).sum(), leaves)

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(state[..., :4], torch.stack(c))
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want)


def test_steps_one_by_one_equal_a_pass_far_longer_than_the_memory() -> None:
    encoder = make(memory_size=3, num_layers=3, attention_every=2)
    x = torch.randn(2, 40, 5, dtype=torch.float64)
    state, outputs, sizes = None, [], set()
    for step in x.split(1, dim=1):
        y, state = encoder.forward_with_state(step, state)
        outputs.append(y)
        sizes.add(state.shape)
    torch.testing.assert_close(torch.cat(outputs, dim=1), encoder(x))
    assert sizes == {(3, 2, 4 + 3 * 4 + 1)}


def test_sequences_under_way_for_different_times_share_a_batch() -> None:
    encoder = make(memory_size=3)
    x = torch.randn(3, 5, 5, dtype=torch.float64)
    states = [encoder.forward_with_state(x[i : i + 1, :n])[1] for i, n in ((0, 1), (1, 5))]
    states.append(torch.zeros_like(states[0]))  # a sequence that starts now
    alone = [encoder.forward_with_state(x[i : i + 1], states[i])[0] for i in range(2)]
    alone.append(encoder(x[2:]))
    together, _ = encoder.forward_with_state(x, torch.cat(states, dim=1))
    torch.testing.assert_close(together, torch.cat(alone))


def test_no_gradient_flows_into_the_memory() -> None:
    encoder = make(memory_size=3)
    x = torch.randn(2, 5, 5, dtype=torch.float64)
    state = encoder.forward_with_state(x)[1].detach().requires_grad_()
    y, after = encoder.forward_with_state(x[:, :1], state)
    (y.sum() + after.sum()).backward()
    assert state.grad is not None
    assert state.grad[..., :4].all()
    assert not state.grad[..., 4:].any()
    x.requires_grad_()
    encoder.forward_with_state(x)[1][..., 4:].sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_the_state_is_the_cells_the_memory_and_how_much_of_it_is_real() -> None:
    encoder = make(num_layers=1, memory_size=3)
    x = torch.randn(2, 5, 5, dtype=torch.float64)
    _, c = layers_of(encoder)[0](x)
    _, state = encoder.forward_with_state(x)
    expected = torch.cat((c, x[:, 2:].flatten(1), torch.full((2, 1), 3)), dim=1)
    torch.testing.assert_close(state, expected.unsqueeze(0))
    _, state = encoder.forward_with_state(x[:, :2])
    assert not state[0, :, 4:9].any()
    assert torch.equal(state[0, :, 9:19], x[:, :2].flatten(1))
    assert state[0, :, 19:].tolist() == [[2], [2]]


def test_draws_the_weights_of_the_paper() -> None:
    layer = layers_of(SRUpp(64, 128, dropout=0.5))[0]
    assert layer.attention is not None
    for weight, factor in (
        (layer.projection, 1.0),
        (layer.attention.weight, 1.0),
        (layer.weight, math.sqrt(0.5)),
    ):
        bound = factor * math.sqrt(6 / sum(weight.shape))
        torch.testing.assert_close(weight.max().item(), bound, rtol=0.01, atol=0)
    assert 0.9 < layer.peephole.max() < 1
    assert layer.bias.unique().tolist() == [-2, 0]
    assert layer.attention.alpha.tolist() == [0]


def test_starts_as_if_without_attention() -> None:
    encoder, without = SRUpp(5, 4), SRUpp(5, 4, attention_every=3)
    without.load_state_dict(encoder.state_dict(), strict=False)
    x = torch.randn(2, 6, 5)
    torch.testing.assert_close(encoder(x), without(x))


def test_the_projection_is_a_quarter_in_heads_of_eights() -> None:
    def size(hidden_size: int, **options: object) -> int:
        encoder = SRUpp(5, hidden_size, **options)  # type: ignore[arg-type]
        return layers_of(encoder)[0].projection.size(0)

    assert size(1024) == 256
    assert size(512, bidirectional=True) == 256
    assert size(4) == 8
    assert size(100, num_heads=3) == 48


def test_drops_only_while_training() -> None:
    for encoder in (make(dropout=0.5, num_layers=1), make(attention_dropout=0.5)):
        x = torch.randn(2, 6, 5, dtype=torch.float64)
        assert torch.equal(encoder(x), encoder(x))
        encoder.train()
        assert not torch.equal(encoder(x), encoder(x))


def test_a_unit_is_dropped_for_a_whole_sequence_but_not_in_the_last_layer() -> None:
    encoder = make(4, dropout=0.5, num_layers=2).train()
    for layer, droppable in zip(encoder.layers, (True, False), strict=True):
        x = torch.randn(50, 6, 4, dtype=torch.float64)
        passed_on = layer(x)[0] == x
        assert torch.equal(passed_on.all(1), passed_on.any(1))
        assert (0.3 < passed_on.double().mean() < 0.7) == droppable


@pytest.mark.parametrize("bidirectional", [False, True])
def test_runs_under_autocast(bidirectional: bool) -> None:
    encoder = make(memory_size=3, num_heads=2, bidirectional=bidirectional).float()
    x, lengths = torch.randn(2, 6, 5), torch.tensor([6, 4])
    with torch.autocast("cpu", torch.bfloat16):
        z = torch.randn(2, 6, 8, dtype=torch.bfloat16)
        attend = BandAttention(8, 2, 3, bidirectional, 0.0)
        assert attend(z, None, None, lengths).dtype == torch.bfloat16
        y = encoder(x, lengths)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), encoder(x, lengths).float())
        y.sum().backward()
        if not bidirectional:
            _, state = encoder.forward_with_state(x)
            again, state = encoder.forward_with_state(x[:, :1], state)
            assert (again.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y.float(), encoder(x, lengths), atol=0.05, rtol=0.05)


def test_a_half_type_keeps_its_state_in_float32() -> None:
    encoder = make(memory_size=3).bfloat16()
    x = torch.randn(2, 6, 5, dtype=torch.bfloat16)
    _, state = encoder.forward_with_state(x[:, :4])
    y, state = encoder.forward_with_state(x[:, 4:], state)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(y, encoder(x)[:, 4:], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_exports_with_any_batch_and_length(bidirectional: bool) -> None:
    encoder = make(memory_size=3, num_heads=2, bidirectional=bidirectional)
    batch, steps = Dim("batch"), Dim("steps")
    program = torch.export.export(
        encoder,
        (torch.randn(3, 7, 5, dtype=torch.float64), torch.tensor([7, 4, 1])),
        dynamic_shapes={"x": {0: batch, 1: steps}, "lengths": {0: batch}},
    )
    for sizes in ((4, 9), (2, 3)):
        x, lengths = torch.randn(*sizes, 5, dtype=torch.float64), torch.randint(1, 3, sizes[:1])
        torch.testing.assert_close(program.module()(x, lengths), encoder(x, lengths))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"memory_size": 0}, "memory_size must be at least 1, got 0"),
        ({"attention_every": 0}, "attention_every must be at least 1, got 0"),
        (
            {"projection_size": 6, "num_heads": 4},
            "projection_size must be 0 or a multiple of num_heads .4., got 6",
        ),
        (
            {"projection_size": -1},
            "projection_size must be 0 or a multiple of num_heads .1., got -1",
        ),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout must be at least 0"),
        ({"activation": "selu"}, "activation must be identity, tanh or relu, got 'selu'"),
    ],
)
def test_says_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SRUpp(5, **options)  # type: ignore[arg-type]
