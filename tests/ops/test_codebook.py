"""Fixed-point numbers, and products by indices into codebooks, against 64-bit integers."""

import pytest
import torch
from torch import Tensor

from srulight.ops import codebook as module
from srulight.ops.codebook import codebook_linear, entries, groups, pack, unpack
from srulight.ops.fixed_point import row_fractions, to_fixed_point


def test_numbers_are_rounded_to_fixed_point() -> None:
    x = torch.tensor([[0.3, -0.3, 1.0, 1.9, -5.0], [0.125, 0.375, 0.625, -torch.inf, torch.inf]])
    integers, step = to_fixed_point(x, 2, 4)  # a step of 1/4, and integers from -8 to 7
    assert integers.tolist() == [[1, -1, 4, 7, -8], [0, 2, 2, -8, 7]]
    assert step.tolist() == [[0.25], [0.25]]
    integers, step = to_fixed_point(torch.tensor([[40.0, -100.0], [torch.nan, 1.0]]), -4, 4)
    assert integers.tolist() == [[2, -6], [0, 0]]  # 2.5 goes to 2, and -6.25 to -6
    assert step[0] == 16
    assert step[1].isnan()


def test_each_row_has_the_largest_fraction_length() -> None:
    x = torch.tensor([[0.75, 0.1], [-1.0, 0.0], [5.0, 7.9], [0.0, -100.0], [0, 0], [torch.inf, 5]])
    assert row_fractions(x, 4).flatten().tolist() == [3, 2, 0, -4, 3, 3]
    assert row_fractions(torch.tensor([[1e-38], [3e38]]), 16).flatten().tolist() == [100, -113 + 13]
    integers, step = to_fixed_point(x[:4], None, 4)
    assert integers.tolist() == [[6, 1], [-4, 0], [5, 7], [0, -6]]
    assert step.flatten().tolist() == [1 / 8, 1 / 4, 1, 16]


def test_two_indices_share_a_byte() -> None:
    indices = torch.tensor([[1, 2, 15], [0, 9, 3]])
    assert pack(indices).tolist() == [[0x21, 0x0F], [0x90, 0x03]]
    assert torch.equal(unpack(pack(indices), 3), indices.to(torch.uint8))
    assert groups(10, 4, torch.device("cpu")).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


def test_a_product_is_that_of_integers() -> None:
    table = torch.arange(-60, 68, 8, dtype=torch.int8)[None]  # entry i is 8 i - 60
    indices, x = pack(torch.tensor([[1, 2, 15], [0, 0, 3]])), torch.tensor([[0.5, -1.0, 2.25]])
    # The activations are 2, -4 and 9 quarters: 2 * -52 + 4 * 44 + 9 * 60 = 612 and
    # 2 * -60 + 4 * 60 - 9 * 36 = -204.
    y = codebook_linear(x, indices, table, torch.tensor([0.5, 2.0]), 2, 8)
    assert y.tolist() == [[612 * 0.5 / 4, -204 * 2.0 / 4]]


def drawn(rows: int, features: int, outputs: int, codebooks: int) -> tuple[Tensor, ...]:
    """Activations, some of which overflow, and a matrix."""
    x = 3 * torch.randn(rows, features)
    x[0, 0] = torch.inf
    x[-1] = 0
    return (
        x, pack(torch.randint(0, 16, (outputs, features))),
        torch.randint(-127, 128, (codebooks, 16), dtype=torch.int8), torch.rand(outputs),
    )  # fmt: skip


SIZES = [(1, 64, 8, 8), (2, 63, 10, 4), (3, 128, 5, 1), (5, 130, 33, 2), (7, 1, 5, 5), (4, 2, 3, 3)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("fraction", [None, 3, -2, 100])
def test_kernel_equals_reference(
    sizes: tuple[int, int, int, int], bits: int, fraction: int | None
) -> None:
    x, indices, codebook, scale = drawn(*sizes)
    got = codebook_linear(x, indices, codebook, scale, fraction, bits)
    integers, step = to_fixed_point(x, fraction, bits)
    sums = integers.long() @ entries(indices, codebook, sizes[1]).long().t()
    assert torch.equal(got, sums.float() * (scale * step))
    assert torch.equal(got, module._reference(x, indices, codebook, scale, fraction, bits))


@pytest.mark.parametrize("features", [4096, 9001])
def test_the_largest_sums_do_not_overflow(features: int) -> None:
    x = torch.full((5, features), -1e30)  # rounded to -2^15
    indices = pack(torch.randint(0, 16, (3, features)))
    codebook = torch.full((2, 16), -127, dtype=torch.int8)
    y = codebook_linear(x, indices, codebook, torch.ones(3), 0, 16)
    assert torch.equal(y, torch.full((5, 3), float(features * 127 * 2**15)))


def test_nan_affects_its_row_only() -> None:
    x, indices, codebook, scale = drawn(6, 70, 9, 3)
    wanted = codebook_linear(x, indices, codebook, scale, None, 16)
    x[2, 5] = torch.nan
    got = codebook_linear(x, indices, codebook, scale, None, 16)
    assert got[2].isnan().all()
    others = torch.tensor([0, 1, 3, 4, 5])
    assert torch.equal(got[others], wanted[others])
    assert torch.equal(
        got.isnan(), module._reference(x, indices, codebook, scale, None, 16).isnan()
    )


def test_threads_and_strides_change_nothing() -> None:
    x, indices, codebook, scale = drawn(3, 256, 1000, 100)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted = codebook_linear(x, indices, codebook, scale, 4, 8)
        torch.set_num_threads(3)
        assert torch.equal(codebook_linear(x, indices, codebook, scale, 4, 8), wanted)
    finally:
        torch.set_num_threads(before)
    wide = x.repeat_interleave(2, 1)[:, ::2]
    turned = indices.t().contiguous().t()
    assert torch.equal(codebook_linear(wide, turned, codebook, scale, 4, 8), wanted)


def test_the_operator_can_be_traced() -> None:
    x, indices, codebook, scale = drawn(3, 20, 6, 6)
    arguments = (x, indices, codebook, scale, None, 8)
    torch.library.opcheck(torch.ops.srulight.codebook_linear.default, arguments)
    empty = codebook_linear(x[:0], indices, codebook, scale, None, 8)
    assert empty.shape == (0, 6)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(2, 20, dtype=torch.float64), "x must be a float32 matrix"),
        (0, torch.zeros(20), "x must be a float32 matrix"),
        (1, torch.zeros(6, 9, dtype=torch.uint8), "indices must be a uint8 matrix with 10 columns"),
        (
            2,
            torch.zeros(7, 16, dtype=torch.int8),
            "codebook must be an int8 matrix with 16 col",
        ),
        (
            2,
            torch.zeros(2, 15, dtype=torch.int8),
            "codebook must be an int8 matrix with 16 col",
        ),
        (3, torch.zeros(5), "scale must have 6 numbers of float32"),
        (4, 101, "fraction must be -100 to 100, got 101"),
        (5, 17, "bits must be 4 to 16, got 17"),
    ],
)
def test_says_what_is_wrong(place: int, value: object, message: str) -> None:
    arguments: list[object] = [*drawn(2, 20, 6, 2), 0, 8]
    arguments[place] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.srulight.codebook_linear(*arguments)
