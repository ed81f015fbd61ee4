"""The integer arithmetic against exact integers."""

import pytest
import torch
from torch import Tensor

from srulight.quantization.integer import (
    Rounded,
    levels,
    multiply,
    packed,
    round_rows,
    round_to_range,
    round_weight,
)

if not levels():  # only processors that oneDNN has integer products for
    pytest.skip("needs integer products", allow_module_level=True)


def exact(x: Rounded, weight: Tensor, scale: Tensor) -> Tensor:
    """The product in int64, scaled in float64."""
    sums = (x.values.to(torch.int64) - x.zero) @ weight.to(torch.int64).T
    return sums.double() * x.step * scale.double()


def test_a_weight_is_rounded_row_by_row() -> None:
    weight = torch.tensor([[127.0, -63.0, 2.4, -2.6], [0.0] * 4, [-0.5, 0.25, 0.0, 0.5]])
    values, scale = round_weight(weight)
    assert values.tolist() == [[127, -63, 2, -3], [0] * 4, [-127, 64, 0, 127]]
    torch.testing.assert_close(scale, torch.tensor([1.0, 0.0, 0.5 / 127]))


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize(("features", "outputs"), [(8, 3), (130, 33), (1024, 16)])
def test_products_are_those_of_integers(rows: int, features: int, outputs: int) -> None:
    top = 2 * levels() + 1
    values = torch.randint(0, top + 1, (rows, features), dtype=torch.uint8)
    values[0] = top  # the largest sums of all, in both directions
    weight = torch.randint(-127, 128, (outputs, features), dtype=torch.int8)
    weight[0], weight[1] = 127, -127
    x = Rounded(values, 1.0, levels() + 1)
    got = multiply(x, packed(weight), torch.ones(outputs))
    # float32 has all integers up to 2 ** 24.
    small = exact(x, weight, torch.ones(outputs)).abs() <= 2**24
    assert small.any()
    assert torch.equal(got[small].double(), exact(x, weight, torch.ones(outputs))[small])
    scale, bias = torch.rand(outputs), torch.randn(outputs)
    got = multiply(Rounded(values, 0.03, 7), packed(weight), scale, bias)
    wanted = exact(Rounded(values, 0.03, 7), weight, scale) + bias.double()
    torch.testing.assert_close(got.double(), wanted, rtol=1e-6, atol=1e-4)


def test_each_row_has_its_own_step() -> None:
    x = torch.randn(6, 40) * torch.tensor([1e-6, 1e-3, 1, 1e3, 1e6, 0])[:, None]
    weight = torch.randint(-127, 128, (5, 40), dtype=torch.int8)
    rounded = round_rows(x)
    restored = (rounded.values.double() - rounded.zero) * rounded.step
    largest = x.abs().amax(1, keepdim=True).double()
    assert ((restored - x).abs() <= largest / levels() / 2 * 1.0001).all()
    scale, bias = torch.rand(5), torch.randn(5)
    wanted = exact(rounded, weight, scale) + bias.double()
    got = multiply(rounded, packed(weight), scale, bias)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


def test_a_range_limits_what_is_outside() -> None:
    top = 2 * levels() + 1
    low, high = -1.0, top - 1.0  # a step of 1
    x = torch.tensor([[-7.0, -1.0, 0.0, 3.4, top - 1.0, 500.0]])
    values, step, zero = round_to_range(x, low, high)
    assert (step, zero) == (1.0, 1)
    assert values.tolist() == [[0, 0, 1, 4, top, top]]


def test_eight_bits_are_used_only_where_they_are_exact() -> None:
    top = 2 * levels() + 1
    x = Rounded(torch.full((3, 96), top, dtype=torch.uint8), 1.0, 0)
    weight = torch.full((4, 96), 127, dtype=torch.int8)
    assert (multiply(x, packed(weight), torch.ones(4)) == top * 127 * 96).all()
