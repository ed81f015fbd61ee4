"""With sparse backward products, every encoder has the gradient that the mask by hand gives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight.encoders import GRU, LSTM, QRNN, SRU, Encoder, SRUpp, _torch_recurrent, qrnn
from srulight.encoders import sru as sru_encoder
from srulight.encoders import srupp as srupp_encoder
from srulight.ops import ACTIVATIONS, SparseProducts, SparseSettings, reference
from tests.ops.test_sparse import SETTINGS, masked

B, T, D = 3, 7, 5
LENGTHS = torch.tensor([7, 3, 5])
MAKERS: dict[str, Callable[..., Encoder]] = {
    "SRU": partial(SRU, D, D),
    "SRU both ways": partial(SRU, D, 4, bidirectional=True, layer_norm="post"),
    "SRU projected": partial(SRU, D, 8, projection_size=3),
    "SRU++": partial(SRUpp, D, 8, attention_every=2),
    "QRNN": partial(QRNN, D, 4, kernel_size=2),
    "QRNN both ways": partial(QRNN, D, 4, bidirectional=True, highway=True),
    "LSTM": partial(LSTM, D, 4),
    "LSTM both ways": partial(LSTM, D, 4, bidirectional=True),
    "GRU": partial(GRU, D, 4),
    "GRU both ways": partial(GRU, D, 4, bidirectional=True),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def gradients(encoder: Encoder, x: Tensor, lengths: Tensor | None) -> list[Tensor]:
    loss = encoder(x, lengths).sin().sum()
    return [loss, *torch.autograd.grad(loss, [x, *encoder.parameters()])]


def pair(make: Callable[..., Encoder], settings: SparseSettings) -> tuple[Encoder, Encoder]:
    """Returns a sparse and a dense encoder with the same weights, in float64."""
    sparse, dense = make(sparse_backward=settings).double(), make().double()
    for parameter in sparse.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    dense.load_state_dict(sparse.state_dict())
    return sparse, dense


@every
def test_all_of_the_gradient_is_the_dense_one(make: Callable[..., Encoder]) -> None:
    x = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    for settings in (SparseSettings(share=1.0), SparseSettings("elements", threshold=0.0)):
        sparse, dense = pair(make, settings)
        assert not any(isinstance(part, SparseProducts) for part in sparse.modules())
        expected = gradients(dense, x, LENGTHS)
        assert all(map(torch.equal, gradients(sparse, x, LENGTHS), expected))
    # Dense epochs of a sparse encoder.
    sparse, dense = pair(make, SETTINGS[0])
    expected = gradients(dense, x, LENGTHS)
    products = [part for part in sparse.modules() if isinstance(part, SparseProducts)]
    assert len(products) == 2  # one per layer
    for part in products:
        part.active = False
    assert all(map(torch.equal, gradients(sparse, x, LENGTHS), expected))
    # A threshold that keeps all.
    sparse, dense = pair(make, SparseSettings(threshold=1e-100))
    torch.testing.assert_close(gradients(sparse, x, LENGTHS), gradients(dense, x, LENGTHS))


def hooked(u: Tensor, settings: SparseSettings) -> Tensor:
    """Masks the gradient of u by hand, (..., G)."""
    u.register_hook(lambda grad: masked(grad.reshape(-1, grad.size(-1)), settings).view_as(grad))
    return u


def layer_by_hand(
    x: Tensor, weight: Tensor, skip: Tensor | None, v: Tensor | None, b: Tensor,
    *rest: Tensor | None, scale: float, activation: str, bidirectional: bool,
    time_parallel: str, sparse: SparseProducts,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Does what ``sru_layer`` does; ``rest`` are c0, mask and lengths."""
    u = hooked(F.linear(x, weight), sparse.settings).unflatten(-1, (-1, b.size(1)))
    c0, mask, lengths = rest
    number = ACTIVATIONS.index(activation)
    assert time_parallel == "auto"
    h, last, _ = reference.sru(
        u, skip, v, b, c0, mask, lengths, scale, number, bidirectional, False
    )
    return h, last


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", [n for n in MAKERS if not n.startswith(("LSTM", "GRU"))])
def test_one_product_for_all_steps(
    name: str, settings: SparseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, _ = pair(MAKERS[name], settings)
    x = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    found = gradients(encoder, x, LENGTHS)
    parts = [part for part in encoder.modules() if isinstance(part, SparseProducts)]
    assert all(0 < part.kept < part.total for part in parts)
    monkeypatch.setattr(sru_encoder, "sru_layer", layer_by_hand)
    monkeypatch.setattr(srupp_encoder, "sru_layer", layer_by_hand)
    monkeypatch.setattr(
        qrnn, "sparse_linear", lambda x, w, b, s: hooked(F.linear(x, w), s.settings) + b
    )
    torch.testing.assert_close(found, gradients(encoder, x, LENGTHS))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_two_products_of_a_recurrent_layer(
    kind: type[LSTM | GRU], settings: SparseSettings
) -> None:
    encoder = kind(D, 4, 1, sparse_backward=settings).double()
    x = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    y = encoder(x)
    found = torch.autograd.grad(y.sin().sum(), [x, *encoder.parameters()])
    w_ih, w_hh, b_ih, b_hh = (p.detach() for p in encoder.parameters())
    # A layer of torch whose input is that of the gates has their gradient as that of its input.
    gates = x.detach() @ w_ih.T + b_ih
    torch_kind = nn.LSTM if kind is LSTM else nn.GRU
    layer = torch_kind(len(w_ih), 4, batch_first=True).double()
    weights = (torch.eye(len(w_ih)), w_hh, torch.zeros(len(w_ih)), b_hh)
    with torch.no_grad():
        for own, value in zip(layer.parameters(), weights, strict=True):
            own.copy_(value)
    outputs = layer(gates.requires_grad_())[0]
    torch.testing.assert_close(outputs, y)
    (through_x,) = torch.autograd.grad(outputs.sin().sum(), gates)
    h = torch.cat((torch.zeros(B, 1, 4), outputs[:, :-1].detach()), 1)
    through_h = through_x.clone()
    if kind is GRU:  # the reset gate scales the recurrent part of the candidate
        reset = (gates + h @ w_hh.T + b_hh)[..., :4].sigmoid().detach()
        through_h[..., 8:] *= reset
    through_x, through_h = through_x.flatten(0, 1), through_h.flatten(0, 1)
    kept_x, kept_h = masked(through_x, settings), masked(through_h, settings)
    assert 0 < kept_h.count_nonzero() < through_h.count_nonzero()
    expected = [
        (kept_x @ w_ih).view_as(x),
        kept_x.T @ x.detach().flatten(0, 1),
        kept_h.T @ h.flatten(0, 1),
        through_x.sum(0),
        through_h.sum(0),
    ]
    torch.testing.assert_close(list(found), expected)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_states_and_dropout_of_recurrent_layers(kind: type[LSTM | GRU]) -> None:
    make = partial(kind, D, 4, 2, dropout=0.5)
    sparse, dense = pair(make, SparseSettings(threshold=1e-100))
    assert isinstance(sparse, LSTM | GRU)
    assert isinstance(dense, LSTM | GRU)
    x = torch.randn(B, T, D, dtype=torch.float64)
    state = torch.randn(2, B, 4 * kind.states, dtype=torch.float64, requires_grad=True)
    results = []
    for encoder in (sparse, dense):
        torch.manual_seed(2)
        y, last = encoder.forward_with_state(x, state)
        loss = y.sin().sum() + last.cos().sum()
        results.append([y, last, *torch.autograd.grad(loss, [state, *encoder.parameters()])])
    torch.testing.assert_close(*results)
    assert sparse.sparse[0].total == 2 * B * T


@every
def test_half_precision_is_close_to_what_it_replaces(
    make: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_torch_recurrent, "SLOW_TYPES", ())
    sparse, dense = (one.float() for one in pair(make, SparseSettings(threshold=1e-6)))
    x = torch.randn(B, T, D, requires_grad=True)
    # Not every processor has dense LSTM layers in bfloat16.
    with torch.autocast("cpu", torch.bfloat16, enabled=not isinstance(dense, LSTM | GRU)):
        expected = gradients(dense, x, LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(sparse, x, LENGTHS)
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.05 * other.norm()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which a compiler reads
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SRU", "QRNN", "LSTM"])
def test_compiled_code_breaks_at_sparse_layers(name: str) -> None:
    encoder = MAKERS[name](sparse_backward=SETTINGS[0]).double()
    x = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    parts = [part for part in encoder.modules() if isinstance(part, SparseProducts)]
    torch.compiler.reset()
    compiled: Any = torch.compile(encoder, backend="eager", dynamic=True)
    for active in (True, False, True):
        for part in parts:
            part.active = active
            part.kept = part.total = 0
        expected = gradients(encoder, x, LENGTHS)
        counts = [(part.kept, part.total) for part in parts]
        assert all((0 < kept < total) == active for kept, total in counts)
        torch.testing.assert_close(gradients(compiled, x, LENGTHS), expected)
        twice = [(2 * kept, 2 * total) for kept, total in counts]
        assert [(part.kept, part.total) for part in parts] == twice
