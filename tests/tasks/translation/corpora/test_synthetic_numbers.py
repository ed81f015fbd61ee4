"""Tests of numbers in English and German words."""

from collections import Counter
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.translation.corpora.base import Pair, Pairs, ParallelSplits
from srulight.tasks.translation.corpora.synthetic_numbers import (
    SyntheticNumbers,
    english_words,
    german_words,
)

ROOT = Path("nowhere")
SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
VALUES = dict(zip((*SMALL, *TENS), (*range(20), *range(20, 100, 10)), strict=True))

# Written by hand.
WORDS = {
    0: ("zero", "null"),
    1: ("one", "eins"),
    7: ("seven", "sieben"),
    10: ("ten", "zehn"),
    11: ("eleven", "elf"),
    12: ("twelve", "zwölf"),
    16: ("sixteen", "sechzehn"),
    17: ("seventeen", "siebzehn"),
    20: ("twenty", "zwanzig"),
    21: ("twenty one", "ein und zwanzig"),
    30: ("thirty", "dreißig"),
    45: ("forty five", "fünf und vierzig"),
    66: ("sixty six", "sechs und sechzig"),
    77: ("seventy seven", "sieben und siebzig"),
    98: ("ninety eight", "acht und neunzig"),
    100: ("one hundred", "ein hundert"),
    101: ("one hundred one", "ein hundert eins"),
    111: ("one hundred eleven", "ein hundert elf"),
    437: ("four hundred thirty seven", "vier hundert sieben und dreißig"),
    880: ("eight hundred eighty", "acht hundert achtzig"),
    1000: ("one thousand", "ein tausend"),
    2001: ("two thousand one", "zwei tausend eins"),
    12601: ("twelve thousand six hundred one", "zwölf tausend sechs hundert eins"),
    21000: ("twenty one thousand", "ein und zwanzig tausend"),
    50013: ("fifty thousand thirteen", "fünfzig tausend dreizehn"),
    101000: ("one hundred one thousand", "ein hundert ein tausend"),
    101101: (
        "one hundred one thousand one hundred one",
        "ein hundert ein tausend ein hundert eins",
    ),
    999999: (
        "nine hundred ninety nine thousand nine hundred ninety nine",
        "neun hundert neun und neunzig tausend neun hundert neun und neunzig",
    ),
}


def everything(splits: ParallelSplits) -> list[list[Pair]]:
    return [list(split) for split in splits if split is not None]


def value(english: str) -> int:
    """Converts words back to a number."""
    thousands, total = 0, 0
    for word in english.split():
        if word == "thousand":
            thousands, total = total * 1000, 0
        elif word == "hundred":
            total *= 100
        else:
            total += VALUES[word]
    return thousands + total


def numbers(pairs: Pairs | None) -> list[int]:
    assert pairs is not None
    return [value(pair.source) for pair in pairs]


@pytest.mark.parametrize("number", WORDS)
def test_numbers_are_said_as_they_are_by_hand(number: int) -> None:
    assert (english_words(number), german_words(number)) == WORDS[number]


def test_a_pair_says_the_same_number_twice_and_where_it_is() -> None:
    train, val, test = everything(SyntheticNumbers(20, 5, 5).read(ROOT))
    for pair in (*train, *val, *test):
        assert pair.target == german_words(value(pair.source))
    assert [pair.where for pair in train] == [f"train number {n}" for n in range(1, 21)]
    assert (val[4].where, test[0].where) == ("val number 5", "test number 1")


@pytest.mark.parametrize("sizes", [(60, 20, 20), (1, 50, 49), (98, 1, 1)])
def test_every_number_can_be_used_and_none_comes_twice(sizes: tuple[int, int, int]) -> None:
    splits = SyntheticNumbers(*sizes, largest=99).read(ROOT)
    drawn = [numbers(split) for split in splits]
    assert tuple(len(split) for split in drawn) == sizes
    assert sorted(number for split in drawn for number in split) == list(range(100))


def test_the_splits_share_no_number_and_have_all_counts_of_digits() -> None:
    splits = SyntheticNumbers().read(ROOT)
    train, val, test = (numbers(split) for split in splits)
    assert (len(set(train)), len(set(val)), len(set(test))) == (4000, 200, 200)
    assert len({*train, *val, *test}) == 4400
    for split in (train, val, test):
        counts = Counter(len(str(number)) for number in split)
        assert all(counts[digits] > len(split) / 8 for digits in (3, 4, 5, 6))
        assert counts[2]
    # There are ten numbers with one digit and ninety with two; nearly all are in training.
    assert set(range(100)) <= {*train, *val, *test}
    assert sum(number < 100 for number in train) >= 80


@pytest.mark.parametrize("seed", range(20))
def test_zero_is_always_learned_from(seed: int) -> None:
    assert 0 in numbers(SyntheticNumbers(2, 4, 4, largest=9, seed=seed).read(ROOT).train)


def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    first, again, other = (SyntheticNumbers(50, 5, 5, seed=seed).read(ROOT) for seed in (1, 1, 2))
    assert everything(first) == everything(again)
    assert list(first.train) == list(first.train)
    assert [split.key for split in first if split] == [split.key for split in again if split]
    assert numbers(first.train) != numbers(other.train)
    keys = {split.key for splits in (first, other) for split in splits if split}
    assert len(keys) == 6
    assert all(len(bytes.fromhex(key)) == 32 for key in keys)


def test_what_is_reported_stays_as_it_is_with_more_to_train_on() -> None:
    few, many = (SyntheticNumbers(size, 20, 10).read(ROOT) for size in (50, 500))
    assert everything(few)[1:] == everything(many)[1:]
    assert set(numbers(few.train)) < set(numbers(many.train))


def test_without_test_pairs_there_is_no_test() -> None:
    assert SyntheticNumbers(5, 5, 0).read(ROOT).test is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 0}, "train_size must be at least 1, got 0"),
        ({"val_size": 0}, "val_size must be at least 1, got 0"),
        ({"test_size": -1}, "test_size must be at least 0, got -1"),
        ({"largest": 0}, "largest must be 1 to 999999, got 0"),
        ({"largest": 1_000_000}, "largest must be 1 to 999999, got 1000000"),
        ({"largest": 4398}, r"at most largest \+ 1 \(4399\), got 4400; raise largest"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SyntheticNumbers(**settings)
