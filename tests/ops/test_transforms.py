"""Derivatives for which the kernels have no formula are right as well."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from srulight.encoders import QRNN, SRU, EncoderFactory, SRUpp
from srulight.ops import sru

pytestmark = [
    pytest.mark.usefixtures("device"),
    # A warning of torch about operations of its own.
    pytest.mark.filterwarnings("ignore:There is a performance drop.*aten::"),
]

MAKERS: dict[str, EncoderFactory] = {
    "SRU": SRU,
    "SRU both ways": partial(SRU, bidirectional=True, activation="tanh"),
    "SRU as wide as its input": partial(SRU, hidden_size=4),
    "QRNN": QRNN,
    "SRUpp": partial(SRUpp, num_heads=2),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def recurrence(operator: bool) -> Callable[[Tensor], Tensor]:
    skip, v, b, c0 = (torch.randn(*s).double() for s in ((2, 5, 4), (2, 4), (2, 4), (2, 4)))

    def run(u: Tensor) -> Tensor:
        if operator:
            return torch.ops.srulight.sru(u, skip, v, b, c0, None, None, 1.3, 1, False, True)[0]
        return sru(u, skip, v, b, c0, scale=1.3, activation="tanh")[0]

    return run


def slope(run: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    """Returns a directional derivative, computed by a finite difference."""
    with torch.no_grad():
        return (run(x + 1e-6 * tangent) - run(x - 1e-6 * tangent)) / 2e-6


@pytest.mark.parametrize("operator", [False, True])
def test_forward_mode(operator: bool) -> None:
    run, u, tangent = recurrence(operator), *torch.randn(2, 2, 5, 3, 4).double()
    expected = slope(run, u, tangent)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(jvp(run, (u,), (tangent,))[1], expected, rtol=0, atol=1e-7)
    with forward_ad.dual_level():
        got = forward_ad.unpack_dual(run(forward_ad.make_dual(u, tangent))).tangent
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("operator", [False, True])
def test_functions_of_torch_func(operator: bool) -> None:
    run, u = recurrence(operator), torch.randn(2, 5, 3, 4).double()
    leaf = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(recurrence_sum(run)(leaf), leaf)
    torch.testing.assert_close(grad(recurrence_sum(run))(u), expected)
    torch.testing.assert_close(vmap(grad(recurrence_sum(run)))(u[None])[0], expected)
    # The Hessian is symmetric and equals the derivative of the gradient.
    found = hessian(recurrence_sum(run))(u).reshape(u.numel(), -1)
    torch.testing.assert_close(found, found.T)
    tangent = torch.randn_like(u)
    expected = slope(grad(recurrence_sum(run)), u, tangent)
    torch.testing.assert_close((found @ tangent.flatten()).view_as(u), expected, rtol=0, atol=1e-7)


def recurrence_sum(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda u: run(u).square().sum()


@pytest.mark.parametrize("frozen", [False, True])
@every
def test_encoders_in_forward_mode(make: EncoderFactory, frozen: bool) -> None:
    encoder = make(4).double().requires_grad_(not frozen)
    for x in torch.randn(2, 3, 5, 4).double(), torch.randn(2, 3, 1, 4).double():
        one, tangent = x
        # The fast attention of torch has no forward mode.
        with torch.set_grad_enabled(not frozen), sdpa_kernel(SDPBackend.MATH):
            got = jvp(encoder, (one,), (tangent,))[1]
        torch.testing.assert_close(got, slope(encoder, one, tangent), rtol=0, atol=1e-7)


@every
def test_gradients_of_each_sequence(make: EncoderFactory) -> None:
    encoder, x = make(4).double(), torch.randn(3, 5, 4).double()
    parameters = {name: p.detach() for name, p in encoder.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(encoder, parameters, (x.unsqueeze(0),)).square().sum()

    got = vmap(grad(loss), (None, 0))(parameters, x)
    for index, sequence in enumerate(x):
        encoder.zero_grad()
        encoder(sequence.unsqueeze(0)).square().sum().backward()
        for name, parameter in encoder.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(got[name][index], expected)


def test_a_matrix_of_derivatives() -> None:
    encoder, x = SRU(4, 3, 1).double(), torch.randn(1, 4, 4).double()
    expected = torch.autograd.functional.jacobian(encoder, x)
    torch.testing.assert_close(jacrev(encoder)(x), expected)
