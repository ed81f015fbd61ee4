"""Ranges of settings to search, as text: ``model.dropout=0.0..0.6``."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srulight.commands.configurations import read_config
from srulight.runtime.errors import InputError
from srulight.runtime.files import read_text

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | float | int

SYNTAX = (
    "LOW..HIGH, log:LOW..HIGH, int:LOW..HIGH or log:int:LOW..HIGH, each with :STEP unless it is "
    "logarithmic, or A|B|C"
)

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTERVAL = re.compile(rf"((?:(?:log|int):)*)({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?", re.ASCII)
_KEY = re.compile(r"(?:model|data|trainer)(?:\.\w+)*|seed_everything", re.ASCII)
_LARGEST = 1 << 53  # the database stores numbers as float64
_OWN = (
    "trainer.default_root_dir", "trainer.fast_dev_run", "trainer.enable_checkpointing",
    "trainer.logger",
)  # fmt: skip


@dataclass(frozen=True)
class Range:
    """The values that a search may give to a setting.

    Attributes:
        key: Name of the setting, with dots between its parts.
        text: The range as the user wrote it.
        low: Smallest value; an integer if all values are integers.
        high: Largest value, of the same type.
        step: Distance between two values, of the same type; None if every value in between is
            allowed.
        is_log: Whether the logarithm of the value is searched uniformly, rather than the value.
        choices: The values to choose from, as text, in place of numbers; empty for numbers.
    """

    key: str
    text: str
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    is_log: bool = False
    choices: tuple[str, ...] = ()

    def distribution(self) -> "BaseDistribution":
        """Returns the range for Optuna."""
        from optuna import distributions as kinds

        if self.choices:
            return kinds.CategoricalDistribution(self.choices)
        if isinstance(self.low, int):
            return kinds.IntDistribution(
                self.low, int(self.high), log=self.is_log, step=int(self.step or 1)
            )
        return kinds.FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)

    def values(self) -> list[Value]:
        """Returns all values.

        Raises:
            InputError: If there are infinitely many.
        """
        if self.choices:
            return list(self.choices)
        step = 1 if self.step is None and isinstance(self.low, int) else self.step
        if step is None or self.is_log:
            raise InputError(
                f"--sampler=grid needs a finite number of values, got {self.key}={self.text}; "
                "write a step, as in 0.0..0.6:0.1, or values, as in 0.1|0.2, or choose another "
                "sampler"
            )
        first, width = Decimal(str(self.low)), Decimal(str(step))
        count = int((Decimal(str(self.high)) - first) / width) + 1
        return [type(self.low)(first + i * width) for i in range(count)]

    def example(self, number: int) -> Value:
        """Returns a value to try before the search: the smallest, the largest or another choice.

        Args:
            number: Number of the example, from 0; different choices have different numbers.
        """
        if self.choices:
            return self.choices[number % len(self.choices)]
        return self.low if number % 2 == 0 else self.high


def parse(given: str) -> Range:
    """Parses a range.

    Args:
        given: Text such as ``model.dropout=0.0..0.6``.

    Raises:
        InputError: If the text is not a range.
    """
    key, equals, text = given.partition("=")
    if not equals:
        raise InputError(
            f"range: expected KEY=RANGE, got {given!r}; write, for example, model.dropout=0.0..0.6"
        )
    return parse_range(key.strip().removeprefix("--"), text.strip())


def parse_range(key: str, text: str) -> Range:
    """Parses the range of a setting.

    Args:
        key: Name of the setting, such as model.dropout.
        text: The range, such as 0.0..0.6.

    Raises:
        InputError: If the text is not a range, or the setting cannot be searched.
    """
    _check_key(key)
    if match := _INTERVAL.fullmatch(text):
        return _interval(key, text, *match.groups())
    if "|" in text:
        return _choice(key, text, [part.strip() for part in text.split("|")])
    raise InputError(f"range of {key}: expected {SYNTAX}, got {text!r}")


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InputError(
            f"range: expected a setting of the model, the data or the trainer, such as "
            f"model.dropout, or seed_everything, got {key!r}"
        )
    if key in _OWN:
        raise InputError(f"range: sweep sets {key} itself; remove this range")


def _interval(key: str, text: str, kinds: str, low: str, high: str, step: str | None) -> Range:
    names = kinds.split(":")[:-1]
    is_log = "log" in names
    if len({*names}) < len(names):
        raise InputError(f"range of {key}: expected log: and int: once each, got {text!r}")
    parts = [low, high] if step is None else [low, high, step]
    if "int" in names:
        if not all(
            re.fullmatch(r"[-+]?\d{1,16}", part) and abs(int(part)) < _LARGEST for part in parts
        ):
            raise InputError(
                f"range of {key}: expected whole numbers below 2**53 after int:, got {text!r}"
            )
        numbers: list[float] = [int(part) for part in parts]
    else:
        numbers = [float(part) for part in parts]
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"range of {key}: expected finite numbers, got {text!r}")
    least, most = numbers[:2]
    if least >= most:
        raise InputError(
            f"range of {key}: expected the smaller number first, and a larger one after it, got "
            f"{text!r}"
        )
    if is_log and least <= 0:
        raise InputError(
            f"range of {key}: expected numbers above 0 for a logarithmic range, got {text!r}; "
            "start at a small number, such as 1e-6"
        )
    if step is not None:
        _check_step(key, text, is_log, [Decimal(part) for part in parts])
    return Range(key, text, least, most, numbers[2] if step else None, is_log)


def _check_step(key: str, text: str, is_log: bool, numbers: list[Decimal]) -> None:
    low, high, step = numbers
    if is_log:
        raise InputError(
            f"range of {key}: expected no step in a logarithmic range, got {text!r}; list the "
            "values, as in 16|32|64"
        )
    if step <= 0 or (high - low) % step != 0:
        raise InputError(
            f"range of {key}: expected a step that divides {high - low}, which is the largest "
            f"minus the smallest number, got {text!r}"
        )


def _choice(key: str, text: str, choices: Sequence[str]) -> Range:
    if not all(choices) or len({*choices}) < len(choices) or len(choices) < 2:
        raise InputError(f"range of {key}: expected at least two different values, got {text!r}")
    return Range(key, text, choices=tuple(choices))


def read_ranges(path: Path) -> list[Range]:
    """Reads ranges from a YAML file.

    Args:
        path: A file with a line for each setting: its name, a colon, and either a range as on the
            command line, or a list of values. A value may be anything that a configuration has
            there, such as a class with its arguments.

    Raises:
        InputError: If the file cannot be read, or is not like that.
    """
    found = read_config(path)
    if not isinstance(found, Mapping) or not found:
        raise InputError(
            f"{path}: expected lines such as 'model.dropout: 0.0..0.6', got {_short(found)}"
        )
    # YAML keeps the last of several values for a key, and says nothing about the others.
    keys = re.findall(r"^([\w.]+)[ \t]*:", read_text(path), re.MULTILINE)
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise InputError(f"{path}: expected {twice} once, got it twice; remove one of the lines")
    ranges = []
    for key, value in found.items():
        try:
            ranges.append(_from_yaml(str(key), value))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return ranges


def _from_yaml(key: str, value: Any) -> Range:  # noqa: ANN401
    if isinstance(value, str):
        return parse_range(key, value)
    _check_key(key)
    if isinstance(value, list):
        texts = [one if isinstance(one, str) else json.dumps(one) for one in value]
        return _choice(key, " | ".join(texts), texts)
    raise InputError(f"range of {key}: expected {SYNTAX}, or a list of values, got {_short(value)}")


def _short(value: Any) -> str:  # noqa: ANN401
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_once(ranges: Sequence[Range], options: Sequence[str]) -> None:
    """Raises InputError if a setting has two ranges, or both a range and a value.

    Args:
        ranges: The ranges.
        options: Options of ``fit``.
    """
    keys = [one.key for one in ranges]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"range of {key}: expected one range, got several; remove the others")
        if any(option.split("=")[0] == f"--{key}" for option in options):
            raise InputError(f"{key} has both a range and a value; remove --{key} or the range")


def as_options(ranges: Sequence[Range], values: Mapping[str, Value]) -> list[str]:
    """Returns the options of ``fit`` that set the values.

    Args:
        ranges: The ranges.
        values: A value for each of them, by the name of the setting.
    """
    # A class comes before its arguments, because choosing a class drops arguments that another
    # class had.
    keys = sorted((one.key for one in ranges), key=lambda key: (key.count("."), key))
    return [f"--{key}={values[key]}" for key in keys]


def examples(ranges: Sequence[Range]) -> Iterator[dict[str, Value]]:
    """Yields values to try before the search: each end of each range, and each choice.

    Args:
        ranges: The ranges.
    """
    for number in range(max(2, *(len(one.choices) for one in ranges), 2)):
        yield {one.key: one.example(number) for one in ranges}


def grid(ranges: Sequence[Range], most: int = 10_000) -> list[dict[str, Value]]:
    """Returns all combinations of values.

    Args:
        ranges: The ranges.
        most: Largest number of combinations.

    Raises:
        InputError: If there are more.
    """
    values = [one.values() for one in ranges]
    if (count := math.prod(map(len, values))) > most:
        raise InputError(
            f"--sampler=grid allows {most:,} combinations of values, got {count:,}; narrow the "
            "ranges, or choose another sampler"
        )
    keys = [one.key for one in ranges]
    return [dict(zip(keys, one, strict=True)) for one in itertools.product(*values)]
