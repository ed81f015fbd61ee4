"""A converted SRU++ of the published package computes the same as the original."""

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.compat import Projected, from_srupp
from srulight.encoders import SRUpp
from tests.test_compat import import_published

pytestmark = pytest.mark.filterwarnings("ignore:Running SRU on CPU")

F, D, P, M, B = 8, 8, 4, 5, 3
FOLDER = Path(sys.prefix) / "sru-3"

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "narrower input": {"input_size": 5},
    "two heads": {"num_heads": 2},
    "attention in every second layer": {"attention_every_n_layers": 2},
    "no attention": {"attention_every_n_layers": 9},
    "no norm": {"attn_layer_norm": False},
    "highway bias, rescaled": {"highway_bias": -1.0, "rescale": True},
    "input projected first": {"input_size": 5, "proj_input_to_hidden_first": True},
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
close = partial(torch.testing.assert_close, rtol=1e-11, atol=1e-11)


@pytest.fixture(scope="module")
def published() -> ModuleType:
    if not FOLDER.is_dir():
        pytest.skip(f"pip install --no-deps --target {FOLDER} sru==3.0.0.dev6")
    names = [name for name in sys.modules if name.split(".")[0] == "sru"]
    others = {name: sys.modules.pop(name) for name in names}
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(FOLDER))
    sru = import_published()
    patch.undo()
    for name in [name for name in sys.modules if name.split(".")[0] == "sru"]:
        del sys.modules[name]
    sys.modules.update(others)
    return sru


def build(sru: ModuleType, options: dict[str, Any]) -> Any:  # noqa: ANN401
    arguments = {"input_size": F, "hidden_size": D, "proj_size": P, "num_layers": 4, **options}
    module = sru.SRUpp(**arguments).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def band(before: int, steps: int) -> Tensor:
    """Their mask, to be added: each step sees itself and M before it."""
    query = torch.arange(steps).unsqueeze(1)
    key = torch.arange(-before, steps)
    return torch.where((key <= query) & (key >= query - M), 0.0, -1e4).double()


@every
def test_same_outputs_states_and_gradients(published: ModuleType, options: dict[str, Any]) -> None:
    theirs = build(published, options)
    ours = from_srupp(theirs, M)
    assert isinstance(ours, Projected if "proj_input_to_hidden_first" in options else SRUpp)
    state = c = memory = None
    for x in torch.randn(3, B, M, theirs.input_size, dtype=torch.float64).requires_grad_():
        seed = torch.randn(B, M, D, dtype=torch.float64)
        mask = band(0 if memory is None else M, M)
        h, c, bank = theirs(x.transpose(0, 1), c, attn_mask=mask, memory=memory)
        memory, expected = [past.detach() for past in bank["saved_inputs"]], h.transpose(0, 1)
        got, state = ours.forward_with_state(x, state)
        close(got, expected)
        close(state[..., :D], c)
        gradients = [torch.autograd.grad(y, x, seed, retain_graph=True)[0] for y in (got, expected)]
        close(*gradients)
        theirs.zero_grad()
        ours.zero_grad()
        torch.autograd.backward([got, expected], [seed, seed])
        state, c = state.detach(), c.detach()
        same_gradients(theirs, ours)


def same_gradients(theirs: Any, ours: SRUpp | Projected) -> None:  # noqa: ANN401
    """Converting the gradients as if they were weights puts them in our layout."""
    kept = [parameter.data for parameter in theirs.parameters()]
    for parameter in theirs.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    for got, expected in zip(ours.parameters(), from_srupp(theirs, M).parameters(), strict=True):
        close(got.grad, expected.data)
    for parameter, data in zip(theirs.parameters(), kept, strict=True):
        parameter.data = data


@pytest.mark.parametrize("heads", [1, 2])
def test_same_both_ways(published: ModuleType, heads: int) -> None:
    theirs = build(published, {"bidirectional": True, "num_heads": heads})
    ours = from_srupp(theirs, 20)
    x, lengths = torch.randn(B, 7, F, dtype=torch.float64), torch.tensor([7, 4, 1])
    pad = torch.arange(7).unsqueeze(1) >= lengths
    expected = theirs(x.transpose(0, 1), mask_pad=pad)[0].transpose(0, 1)
    close(ours(x, lengths), expected)


def test_same_first_weights(published: ModuleType) -> None:
    theirs = published.SRUpp(300, 400, 100, 2, dropout=0.3, highway_bias=-1.0)
    converted = from_srupp(theirs, M)
    ours = SRUpp(300, 400, projection_size=100, dropout=0.3, highway_bias=-1.0)
    for name, parameter in ours.named_parameters():
        expected = converted.get_parameter(name).detach()
        spreads = [p.detach().std(correction=0) for p in (parameter, expected)]
        torch.testing.assert_close(*spreads, rtol=0.1, atol=0)
        torch.testing.assert_close(parameter.max(), expected.max(), rtol=0.02, atol=0)


def test_refuses_what_it_cannot_convert(published: ModuleType) -> None:
    with pytest.raises(ValueError, match="must not use layer_norm"):
        from_srupp(build(published, {"layer_norm": True}), M)
    with pytest.raises(ValueError, match=r"every k-th layer, got layers \[1, 2, 3"):
        from_srupp(build(published, {"attention_last_n_layers": 3}), M)
