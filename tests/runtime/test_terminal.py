"""Text for a terminal."""

import math

import pytest

from srulight.runtime.terminal import decimal, printable, shortened, width


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\t\u202ec\ud800é日") == "a?[2Jb???c?é日"


def test_width_is_in_columns() -> None:
    assert width("abc") == 3
    assert width("日本") == 4
    assert width("e\u0301") == 1


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghijk", 10, "abcde…hijk"),
        ("abcdefghijk", 3, "a…k"),
        ("日本語日本語", 7, "日…語"),
    ],
)
def test_long_text_keeps_both_ends(text: str, limit: int, expected: str) -> None:
    assert shortened(text, limit) == expected
    assert width(expected) <= limit


def test_measures_have_four_decimals_unless_these_would_say_nothing() -> None:
    shown = {0.0: "0.0000", 0.98765: "0.9877", 123.4: "123.4000", 0.00012346: "0.0001235"}
    shown |= {-2.5e-9: "-2.5e-09", 12345678.0: "1.235e+07", math.inf: "inf"}
    assert {value: decimal(value) for value in shown} == shown
    assert decimal(math.nan) == "nan"
