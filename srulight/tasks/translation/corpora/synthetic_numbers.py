"""A generated parallel corpus: numbers in English and German words."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

from srulight.runtime.errors import InputError, check_range
from srulight.tasks.translation.corpora.base import Pair, Pairs, ParallelCorpus, ParallelSplits

_LARGEST = 999_999
_ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_ENGLISH_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_GERMAN = (
    *("null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"),
    *("elf", "zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn"),
    *("achtzehn", "neunzehn"),
)
_GERMAN_TENS = (
    *("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"),
)


class SyntheticNumbers(ParallelCorpus):
    """Generates numbers in English words and their German translations; needs no files.

    For example, ``four hundred thirty seven`` becomes ``vier hundert sieben und dreißig``. The
    German words are separated, which keeps the vocabulary small, and the word order differs, so
    that a model needs attention. Every number occurs once. Numbers with one digit are as frequent
    as those with two, three and so on, as long as there are enough. Zero is always a training
    example, because its words occur in no other number.

    Args:
        train_size: Number of training pairs, at least 1.
        val_size: Number of validation pairs, at least 1.
        test_size: Number of test pairs, 0 or more. With 0 there is no test set.
        largest: Largest number to generate, from 1 to 999999.
        seed: Seed for the choice of the numbers.

    Raises:
        InputError: If an argument is out of range, or there are fewer numbers than pairs.
    """

    languages = ("en", "de")

    def __init__(
        self,
        train_size: int = 4000,
        val_size: int = 200,
        test_size: int = 200,
        largest: int = _LARGEST,
        seed: int = 1,
    ) -> None:
        check_range(1, train_size=train_size, val_size=val_size)
        check_range(0, test_size=test_size)
        check_range(1, _LARGEST, largest=largest)
        total = train_size + val_size + test_size
        if total > largest + 1:
            raise InputError(
                "train_size, val_size and test_size must sum to at most largest + 1 "
                f"({largest + 1}), got {total}; raise largest, or make the splits smaller"
            )
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
        self.largest = largest
        self.seed = seed

    def read(self, root: Path) -> ParallelSplits:
        held_size = self.val_size + self.test_size
        # The held-out numbers should not depend on train_size: every tenth number drawn is held
        # out, or more if largest is small.
        step = min(10, self.largest // held_size)
        size = max(held_size * step, self.train_size + held_size - 1)
        drawn = _draw(self.largest, size, random.Random(self.seed))
        held = drawn[: held_size * step : step]
        rest = set(held)
        train = [0, *(number for number in drawn if number not in rest)][: self.train_size]
        # The first numbers drawn tend to have fewer digits, because short numbers run out.
        random.Random(self.seed).shuffle(held)
        val, test = held[: self.val_size], held[self.val_size :]
        return ParallelSplits(
            _Numbers("train", train),
            _Numbers("val", val),
            _Numbers("test", test) if test else None,
        )


class _Numbers(Pairs):
    def __init__(self, split: str, numbers: list[int]) -> None:
        self.pairs = [
            Pair(english_words(number), german_words(number), f"{split} number {place}")
            for place, number in enumerate(numbers, start=1)
        ]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    @property
    def key(self) -> str:
        texts = [(pair.source, pair.target) for pair in self.pairs]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _draw(largest: int, size: int, generator: random.Random) -> list[int]:
    """Draws distinct numbers above 0: first the count of digits, then a number of that length."""
    starts = [10**digits for digits in range(len(str(largest)))]
    left = [min(10 * start, largest + 1) - start for start in starts]
    # A sparse Fisher-Yates shuffle, which stores only the positions that moved.
    moved: list[dict[int, int]] = [{} for _ in starts]
    numbers: list[int] = []
    while len(numbers) < size:
        kind = generator.choice([kind for kind, count in enumerate(left) if count])
        place = generator.randrange(left[kind])
        left[kind] -= 1
        numbers.append(starts[kind] + moved[kind].get(place, place))
        moved[kind][place] = moved[kind].get(left[kind], left[kind])
    return numbers


def english_words(number: int) -> str:
    """Spells out a number in English.

    Args:
        number: 0 to 999999.

    Returns:
        Words separated by single spaces, without "and", as in American English.
    """
    thousands, rest = divmod(number, 1000)
    words = [*_english_below_1000(thousands), "thousand"] if thousands else []
    return " ".join([*words, *_english_below_1000(rest)]) or _ENGLISH[0]


def _english_below_1000(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_ENGLISH[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_ENGLISH_TENS[rest // 10 - 2])
        rest %= 10
    return [*words, _ENGLISH[rest]] if rest else words


def german_words(number: int) -> str:
    """Spells out a number in German.

    Args:
        number: 0 to 999999.

    Returns:
        Words separated by single spaces, which standard German writes as one word.
    """
    thousands, rest = divmod(number, 1000)
    words = [*_german_below_1000(thousands), "tausend"] if thousands else []
    words += _german_below_1000(rest)
    if words and words[-1] == _GERMAN[1]:
        words[-1] = "eins"
    return " ".join(words) or _GERMAN[0]


def _german_below_1000(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_GERMAN[hundreds], "hundert"] if hundreds else []
    if rest >= 20:
        tens, units = divmod(rest, 10)
        words += [_GERMAN[units], "und"] if units else []
        words.append(_GERMAN_TENS[tens - 2])
    elif rest:
        words.append(_GERMAN[rest])
    return words
