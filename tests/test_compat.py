"""A converted SRU of the published package computes the same as the original."""

import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.compat import from_sru

T, B, F, H = 6, 3, 5, 4

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "as wide as its input": {"hidden_size": F},
    "one layer": {"num_layers": 1},
    "two ways": {"bidirectional": True},
    "two ways, as wide": {"bidirectional": True, "hidden_size": 3, "input_size": 6},
    "projection": {"projection_size": 3},
    "tanh": {"use_tanh": True},
    "pre norm": {"layer_norm": True},
    "post norm": {"layer_norm": True, "normalize_after": True},
    "highway bias": {"highway_bias": -2.0},
    "no skip": {"has_skip_term": False},
    "rescale": {"rescale": True, "highway_bias": -1.0, "hidden_size": F},
    "rescale, fourth gate": {"rescale": True, "highway_bias": -1.0},
    "no skip, rescale": {"has_skip_term": False, "rescale": True},
    "first version": {"v1": True},
    "input projected first": {"proj_input_to_hidden_first": True},
    "initial peephole": {"weight_c_init": 0.3},
    "returns like nn.RNN": {"nn_rnn_compatible_return": True},
    "half recurrence": {"amp_recurrence_fp16": True},
    "everything": {
        "bidirectional": True,
        "projection_size": 3,
        "use_tanh": True,
        "layer_norm": True,
        "normalize_after": True,
        "highway_bias": -1.0,
        "rescale": True,
        "num_layers": 3,
    },
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def import_published() -> ModuleType:
    """Imports the package without the half minute of compilation it starts at import.

    Its compiled forward is for inference alone; what trains, and what is compared here, is Python.
    """
    import torch.utils.cpp_extension as cpp

    patch = pytest.MonkeyPatch()
    patch.setattr(cpp, "load", lambda **_: None)
    patch.setattr(torch.jit, "script", lambda function: function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sru = pytest.importorskip("sru", reason="pip install --no-deps sru==2.6.0")
    patch.undo()
    return sru


@pytest.fixture(scope="module")
def published() -> ModuleType:
    return import_published()


def build(sru: ModuleType, options: dict[str, Any]) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = sru.SRU(**{"input_size": F, "hidden_size": H, **options}).double()
    return module


def run(module: Any, x: Tensor, c0: Tensor | None, pad: Tensor | None) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(x, c0, pad)


@every
def test_same_outputs_and_gradients(published: ModuleType, options: dict[str, Any]) -> None:
    theirs = build(published, options)
    ours = from_sru(theirs)
    x = torch.randn(T, B, theirs.input_size, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 4, 1])
    pad = torch.arange(T).unsqueeze(1) >= lengths
    expected, _ = run(theirs, x, None, pad)
    # Post norm turns the zeros of padded steps into its bias there; here they stay zeros.
    expected = expected * ~pad.unsqueeze(-1)
    got = ours(x.transpose(0, 1), lengths).transpose(0, 1)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)

    seed = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, [x, *ours.parameters()], seed)[0],
        torch.autograd.grad(expected, x, seed)[0],
        rtol=1e-12,
        atol=1e-12,
    )


@every
def test_same_gradients_of_parameters(published: ModuleType, options: dict[str, Any]) -> None:
    theirs = build(published, options)
    ours = from_sru(theirs)
    x = torch.randn(T, B, theirs.input_size, dtype=torch.float64)
    seed = torch.randn(T, B, theirs.output_size, dtype=torch.float64)
    run(theirs, x, None, None)[0].backward(seed)
    ours(x.transpose(0, 1)).backward(seed.transpose(0, 1))
    # Converting the gradients as if they were weights puts them in our layout.
    for parameter in theirs.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    for got, expected in zip(ours.parameters(), from_sru(theirs).parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.data, rtol=1e-11, atol=1e-11)


@every
def test_same_states(published: ModuleType, options: dict[str, Any]) -> None:
    if options.get("bidirectional"):
        pytest.skip("does not resume")
    theirs = build(published, options)
    ours = from_sru(theirs)
    x = torch.randn(T, B, theirs.input_size, dtype=torch.float64)
    c0 = torch.randn(theirs.num_layers, B, theirs.output_size, dtype=torch.float64)
    expected_h, expected_c = run(theirs, x, c0, None)
    h, c = ours.forward_with_state(x.transpose(0, 1), c0)
    torch.testing.assert_close(h.transpose(0, 1), expected_h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(c, expected_c, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["dropout", "rnn_dropout"])
def test_same_dropout(published: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed masks in place of drawn ones: each drops the same place in both."""

    def fixed(like: Tensor) -> Tensor:
        return (torch.arange(like.numel()) % 3).reshape(like.shape).to(like) / 2

    theirs = build(published, {name: 0.5, "num_layers": 3})
    ours = from_sru(theirs)
    monkeypatch.setattr(
        published.SRUCell,
        "get_dropout_mask_",
        lambda self, size, p: fixed(self.bias.new_empty(size)),
    )
    monkeypatch.setattr("srulight.encoders.sru._mask", lambda like, p: fixed(like))
    x = torch.randn(T, B, F, dtype=torch.float64)
    expected, _ = run(theirs, x, None, None)
    torch.testing.assert_close(ours(x.transpose(0, 1)).transpose(0, 1), expected)
    assert (ours.eval()(x.transpose(0, 1)).transpose(0, 1) - expected).abs().max() > 1e-3


def test_same_variance_of_first_weights(published: ModuleType) -> None:
    from srulight import SRU

    options: dict[str, Any] = {
        "input_size": 300,
        "hidden_size": 200,
        "dropout": 0.4,
        "highway_bias": -1.0,
    }
    theirs = from_sru(build(published, {**options, "rescale": True}))
    for name, parameter in SRU(**options).named_parameters():
        expected = theirs.get_parameter(name).detach().float()
        if "bias" in name:
            torch.testing.assert_close(parameter.detach(), expected)
        else:  # each gate's rows have a spread of their own
            rows = 200 if "weight" in name else 1
            spreads = [p.unflatten(0, (-1, rows)).flatten(1).std(1) for p in (parameter, expected)]
            torch.testing.assert_close(*spreads, rtol=0.15, atol=0)


def test_refuses_what_it_cannot_convert(published: ModuleType) -> None:
    with pytest.raises(ValueError, match="custom_m"):
        from_sru(build(published, {"custom_m": torch.nn.Linear(F, 3 * H), "num_layers": 1}))


def test_takes_the_scale_of_the_skip_as_it_is(published: ModuleType) -> None:
    theirs = build(published, {"rescale": True, "hidden_size": F, "highway_bias": -1.0})
    theirs.rnn_lst[0].scale_x.fill_(1.25)
    x = torch.randn(T, B, F, dtype=torch.float64)
    got = from_sru(theirs)(x.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(got, run(theirs, x, None, None)[0], rtol=1e-12, atol=1e-12)
