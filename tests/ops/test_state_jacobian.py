"""The state Jacobian equals the derivatives of the recurrence."""

import pytest
import torch

from srulight.ops import sru, state_jacobian


@pytest.mark.parametrize("planes", [3, 4])
@pytest.mark.parametrize("starts", [False, True])
def test_slopes_are_the_derivatives_of_each_state_by_the_last(planes: int, starts: bool) -> None:
    u = torch.randn(2, 6, planes, 5, dtype=torch.float64)
    v, b = torch.randn(2, 2, 5, dtype=torch.float64).mul(2)
    c0 = torch.randn(2, 5, dtype=torch.float64) if starts else None
    found = state_jacobian(u, v, b, c0)
    c = torch.zeros(2, 5, dtype=torch.float64) if c0 is None else c0
    for t in range(6):
        before = c.detach().requires_grad_()
        _, c = sru(u[:, t : t + 1], None, v, b, before)
        (expected,) = torch.autograd.grad(c.sum(), before)
        torch.testing.assert_close(found[:, t], expected)
    assert (found.abs() > 1).any()


def test_half_types_are_measured_in_float32_without_a_graph() -> None:
    u = torch.randn(2, 3, 3, 4, dtype=torch.bfloat16, requires_grad=True)
    v, b = torch.randn(2, 2, 4)
    found = state_jacobian(u, v, b, None)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, state_jacobian(u.float(), v, b, None))


def test_no_steps_have_no_slopes() -> None:
    assert (
        state_jacobian(torch.randn(2, 0, 3, 4), torch.randn(2, 4), torch.randn(2, 4), None).numel()
        == 0
    )
