"""Fraction lengths that follow counts of overflows, worked out by hand."""

import torch

from srulight.quantization.overflow import followed, overflows

# Of 2048 numbers, 2 may overflow. With 4 bits and the fraction length 0, integers are -8 to 7.
COUNT = 2048


def numbers(*heaps: tuple[int, float]) -> torch.Tensor:
    found = torch.zeros(COUNT)
    place = 0
    for count, value in heaps:
        found[place : place + count] = value
        place += count
    return found.view(2, 4, -1)


def test_overflows_are_counted_after_rounding() -> None:
    x = torch.tensor([7.4, 7.5, 7.6, -8.5, -8.6, torch.inf, torch.nan])
    # 7.5 and -8.5 go to the even integers 8 and -8.
    assert overflows(x, 0, 4) == 4
    assert overflows(x[:1], 1, 4) == 1


def test_too_many_overflows_double_the_range() -> None:
    assert followed(numbers((3, 9.0), (9, 5.0)), 0, 4) == -1
    assert followed(numbers((3, 9.0), (9, 5.0)), -1, 4) == -1  # 9 / 2 fits, and 9 does not


def test_few_overflows_change_nothing() -> None:
    assert followed(numbers((2, 9.0), (9, 5.0)), 0, 4) == 0  # 9 numbers would be 10


def test_room_halves_the_step() -> None:
    assert followed(numbers((2, 9.0), (9, 3.0)), 0, 4) == 1  # 6 still fits
    assert followed(numbers((2, 9.0), (9, 3.0)), 1, 4) == 1  # 12 does not


def test_the_first_batch_fits() -> None:
    assert followed(numbers((1, 9.0)), None, 4) == -1  # 9 = 0.5625 * 2^4
    assert followed(numbers((1, 0.3)), None, 4) == 4  # 0.3 = 0.6 * 2^-1


def test_a_jump_takes_several_batches() -> None:
    x, fraction = numbers((1000, 100.0)), 3
    seen = []
    for _ in range(9):
        fraction = followed(x, fraction, 8)
        seen.append(fraction)
    # 100 * 2^0 is below 127, and 100 * 2^1 is not.
    assert seen == [2, 1, 0, 0, 0, 0, 0, 0, 0]
    assert followed(x * 0, 100, 8) == 100
