"""Sparse backward products equal dense products of a gradient that is masked by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.ops import SparseProducts, SparseSettings, sparse_linear
from srulight.runtime.errors import InputError

SETTINGS = [
    SparseSettings("rows", share=0.5),
    SparseSettings("rows", threshold=1.0),
    SparseSettings("units", share=0.3),
    SparseSettings("units", threshold=1.0),
    SparseSettings("elements", threshold=0.8),
]


def masked(grad: Tensor, settings: SparseSettings) -> Tensor:
    """Sets to zero what sparse products leave out of a gradient, (N, G)."""
    dims = {"rows": [1], "units": [0], "elements": []}[settings.kind]
    norms = grad.abs() if not dims else grad.square().sum(dims, keepdim=True).sqrt()
    found = sorted((n for n in norms.flatten().tolist() if n > 0), reverse=True)
    if settings.share < 1:
        least = found[math.ceil(settings.share * len(found)) - 1]
    else:
        least = settings.threshold * math.sqrt(sum(n * n for n in found) / len(found))
    return torch.where(norms >= least, grad, 0)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_products_of_the_largest_parts(settings: SparseSettings) -> None:
    # More rows than fit into a block of _unit_norms, some of which are zero, like padding.
    grad = torch.randn(150, 12, dtype=torch.float64) * torch.rand(12, dtype=torch.float64)
    grad[::3] = 0
    x, weight = torch.randn(150, 5).double(), torch.randn(12, 5).double()
    onto = torch.randn(150, 5, dtype=torch.float64)
    kept = masked(grad, settings)
    assert 0 < kept.count_nonzero() < 0.6 * grad.count_nonzero()
    sparse = SparseProducts(settings)
    for base in (None, onto):
        before = 0 if base is None else base.clone()
        grad_x, grad_weight = sparse(grad, x, weight, onto=base)
        torch.testing.assert_close(grad_x, before + kept @ weight)
        torch.testing.assert_close(grad_weight, kept.T @ x)
    assert sparse(grad, x, weight, (False, False)) == (None, None)
    dims = {"rows": 1, "units": 0}.get(settings.kind)
    count = [int((g if dims is None else g.any(dims)).count_nonzero()) for g in (kept, grad)]
    assert [sparse.kept, sparse.total] == [3 * n for n in count]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradients_that_are_zero_or_no_numbers(settings: SparseSettings) -> None:
    x, weight = torch.randn(6, 3), torch.randn(4, 3)
    for rows in (6, 0):
        zeros = SparseProducts(settings)(torch.zeros(rows, 4), x[:rows], weight)
        assert all(part is not None and not part.any() for part in zeros)
    grad = torch.randn(6, 4)
    grad[2, 1] = math.nan  # a run that diverges must not look as if it did not
    grad_x, grad_weight = SparseProducts(settings)(grad, x, weight)
    assert grad_x is not None
    assert grad_weight is not None
    assert grad_x[2].isnan().all()
    assert grad_weight[1].isnan().all()


def gradients(sparse: SparseProducts | None, *leaves: Tensor) -> list[Tensor]:
    y = sparse_linear(leaves[0], leaves[1], leaves[2], sparse)
    return list(torch.autograd.grad(y.sin().sum(), leaves))


def test_a_linear_map_has_a_dense_gradient_of_the_bias() -> None:
    leaves = [torch.randn(s).double().requires_grad_() for s in ((2, 7, 3), (4, 3), (4,))]
    x, weight, _ = leaves
    sparse = SparseProducts(SETTINGS[0])
    grad = F.linear(*leaves).cos().detach().view(14, 4)
    kept = masked(grad, SETTINGS[0])
    expected = [(kept @ weight).view_as(x), kept.T @ x.view(14, 3), grad.sum(0)]
    torch.testing.assert_close(gradients(sparse, *leaves), expected)
    dense = gradients(None, *leaves)
    for inactive in (SparseProducts(SETTINGS[0]).eval(), SparseProducts(SETTINGS[0])):
        if inactive.training:
            inactive.active = False
        assert all(map(torch.equal, gradients(inactive, *leaves), dense))
        assert inactive.total == 0


def test_half_precision_computes_in_it() -> None:
    leaves = [torch.randn(s).requires_grad_() for s in ((16, 3), (4, 3), (4,))]
    sparse = SparseProducts(SparseSettings(threshold=1e-6))
    with torch.autocast("cpu", torch.bfloat16):
        found, dense = gradients(sparse, *leaves), gradients(None, *leaves)
    assert (sparse.kept, sparse.total) == (16, 16)
    for one, other in zip(found, dense, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"share": 0.0}, "share must be above 0"),
        ({"share": 1.5}, "share must be 0 to 1, got 1.5"),
        ({"threshold": -1.0}, "threshold must be at least 0, got -1"),
        ({"kind": "columns"}, "kind must be rows, units or elements, got 'columns'"),
        ({"share": 0.5, "threshold": 0.1}, "either a share below 1 or a threshold above 0"),
        ({"kind": "elements", "share": 0.5}, "share must be 1 for kind=elements, got 0.5"),
    ],
)
def test_says_what_is_wrong(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SparseSettings(**arguments)
