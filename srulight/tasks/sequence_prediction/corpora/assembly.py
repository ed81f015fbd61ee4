"""Checks sequences, and joins them to the parts of a corpus."""

import math
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.data.base import IGNORED
from srulight.data.hold_out import hold_out
from srulight.runtime.cache import cache_folder
from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.targets import Kind
from srulight.targets.cells import sorted_names
from srulight.tasks.sequence_prediction.corpora.base import Part, Per

_PIECE = 1 << 16  # Number of steps that are checked at a time, because they may be mapped.
_LARGEST = 1 << 30  # Number of bytes up to which joined sequences are kept in memory.


class OneSequence(NamedTuple):
    """A sequence of T steps.

    Attributes:
        name: Name of the sequence.
        numbers: Features, (T, F) float32 or float64; NaN where missing.
        times: Times of the steps, (T,) float64; None if they have none.
        targets: Target of the sequence, () or (K,), or of its steps, (T,) or (T, K).
        place: Returns the place of a step for messages.
    """

    name: str
    numbers: NDArray[Any]
    times: NDArray[np.float64] | None
    targets: NDArray[Any]
    place: Callable[[int], str]


def floats(array: NDArray[Any], place: str) -> NDArray[Any]:
    """Converts numbers of any type to float32 or, if they have more digits, to float64.

    Args:
        array: Any array; returned unchanged, and still mapped, if it has the right type.
        place: Place of the array, for messages.

    Raises:
        InputError: If the array does not contain real numbers.
    """
    if array.dtype.kind not in "biuf":
        raise InputError(f"{place}: expected real numbers, got {array.dtype}; convert them")
    digits = np.result_type(array.dtype, np.float32)
    return np.asanyarray(array, dtype=np.float32 if digits == np.float32 else np.float64)


def _check(sequence: OneSequence) -> None:
    """Checks the numbers and the times of a sequence.

    Args:
        sequence: The sequence.

    Raises:
        InputError: If a number is infinite, or a time is not later than the one before it.
    """
    numbers, times, place = sequence.numbers, sequence.times, sequence.place
    for start in range(0, len(numbers), _PIECE):
        infinite = np.isinf(numbers[start : start + _PIECE]).any(axis=1)
        if infinite.any():
            step = start + int(infinite.argmax())
            value = numbers[step][np.isinf(numbers[step])][0]
            raise InputError(
                f"{place(step)}: expected finite numbers, got {value}; correct it, or mark it as "
                "missing by NaN"
            )
    if times is not None:
        # Written so that NaN is refused, too.
        wrong = ~np.isfinite(times) | ~(np.diff(times, prepend=-np.inf) > 0)
        if wrong.any():
            step = int(wrong.argmax())
            before = f" ({times[step - 1]:.12g})" if step else ""
            raise InputError(
                f"{place(step)}: expected a time after that of the step before{before}, got "
                f"{times[step]:.12g}; sort the steps"
            )


class Parts(NamedTuple):
    """The parts of a corpus with encoded targets.

    Attributes:
        parts: Parts by name: "train", "val" and, if the corpus has it, "test".
        targets: Names of the classes; for labels and numbers, those that ``assemble`` was given.
    """

    parts: dict[str, Part]
    targets: list[str]


def assemble(
    found: Mapping[str, list[OneSequence]], kind: Kind, per: Per, targets: Sequence[str] | None
) -> Parts:
    """Joins sequences to parts, and encodes their targets.

    Args:
        found: Sequences by part: "train", "val" if the corpus has it, and "test" if it has that.
            Without "val", a fixed tenth of the training sequences is held out.
        kind: Kind of the targets.
        per: Whether each sequence has a target, or each of its steps.
        targets: Names of the classes, labels or numbers; if None, the classes are those of the
            training data.

    Raises:
        InputError: If a sequence has another number of features than the first, or a target is not
            as expected.
    """
    train, val = (found["train"], found["val"]) if "val" in found else hold_out(found["train"])
    named = {"train": train, "val": val, "test": found.get("test")}
    parts = {key: _join(sequences, train[0], per) for key, sequences in named.items() if sequences}
    if kind == "class":
        return Parts(*_encode_classes(parts, per, targets))
    assert targets is not None
    return Parts(
        {key: _encode_values(part, per, kind, len(targets)) for key, part in parts.items()},
        list(targets),
    )


def _join(sequences: Sequence[OneSequence], first: OneSequence, per: Per) -> Part:
    """Joins sequences to a part; all must have as many features as the first training sequence."""
    size = first.numbers.shape[1]
    for sequence in sequences:
        _check(sequence)
        if sequence.numbers.shape[1] != size:
            raise InputError(
                f"{sequence.place(0)}: expected {size} features as in {first.place(0)}, got "
                f"{sequence.numbers.shape[1]}; remove the sequence, or correct it"
            )
        own = sequence.targets.shape[per == "step" :]
        if own != (expected := first.targets.shape[per == "step" :]):
            raise InputError(
                f"{sequence.place(0)}: expected targets of shape {expected} as in "
                f"{first.place(0)}, got {own}; remove the sequence, or correct it"
            )
    lengths = np.array([len(sequence.numbers) for sequence in sequences], dtype=np.int64)
    ends = np.cumsum(lengths).tolist()
    times = [sequence.times for sequence in sequences if sequence.times is not None]
    targets = [sequence.targets for sequence in sequences]

    def place(row: int) -> str:
        index = bisect_right(ends, row)
        return sequences[index].place(row - ends[index] + int(lengths[index]))

    return Part(
        names=[sequence.name for sequence in sequences],
        lengths=lengths,
        numbers=_concatenated([sequence.numbers for sequence in sequences]),
        categories=np.empty((ends[-1], 0), dtype=object),
        times=np.concatenate(times) if times else None,
        targets=np.concatenate(targets) if per == "step" else np.stack(targets),
        place=place,
    )


def _concatenated(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenates arrays in memory, or in a temporary file if they are large."""
    if len(arrays) == 1:
        return arrays[0]
    dtype = np.result_type(*{array.dtype for array in arrays})
    shape = (sum(len(array) for array in arrays), arrays[0].shape[1])
    if math.prod(shape) * dtype.itemsize <= _LARGEST:
        return np.concatenate(arrays)
    cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        joined = np.memmap(file, dtype, "w+", shape=shape)
    return np.concatenate(arrays, out=joined)


def _encode_classes(
    parts: Mapping[str, Part], per: Per, names: Sequence[str] | None
) -> tuple[dict[str, Part], list[str]]:
    """Replaces classes by their indices; integers are indices into the names, if there are any."""
    found = {key: _values(part, per) for key, part in parts.items()}
    by_index = names is not None
    if names is None:
        names = sorted_names({*found["train"][0]} - {""})
        wanted = f"a class of the training data ({', '.join(names)})"
    else:
        wanted = f"one of the classes ({', '.join(names)})"
    encoded = {}
    for key, part in parts.items():
        values, inverse = found[key]
        indices = {name: index for index, name in enumerate(names)} | {"": IGNORED}
        if by_index and part.targets.dtype.kind in "iuf":
            indices = {str(index): index for index in range(len(names))} | {"": IGNORED}
        unknown = np.array([value not in indices for value in values])
        faults = Faults()
        for index in np.flatnonzero(unknown[inverse]).tolist():
            faults.add(
                f"{_place(part, per, index)}: expected {wanted}, got {values[inverse[index]]!r}; "
                "correct it, or remove the sequence"
            )
        faults.refuse()
        codes = np.array([indices.get(value, IGNORED) for value in values], dtype=np.int64)
        encoded[key] = replace(part, targets=codes[inverse])
    return encoded, list(names)


def _values(part: Part, per: Per) -> tuple[list[str], NDArray[np.int64]]:
    """Returns the different values of the targets as text, and the index of each target."""
    targets = part.targets
    if targets.ndim != 1:
        raise InputError(
            f"{part.place(0)}: expected one class per {per}, got {math.prod(targets.shape[1:])}; "
            "set --data.corpus.kind=labels for several labels at once"
        )
    values, inverse = np.unique(targets, return_inverse=True)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        whole = np.isnan(values) | (values == np.round(values))
        if not whole.all():
            index = int((~whole)[inverse].argmax())
            raise InputError(
                f"{_place(part, per, index)}: expected a class as a string or an integer, got "
                f"{targets[index]}; set --data.corpus.kind=numbers for numbers"
            )
        values = np.nan_to_num(values, nan=IGNORED)
    if values.dtype.kind in "iuf":
        return ["" if value == IGNORED else f"{value:.0f}" for value in values.tolist()], inverse
    return [str(value).strip() for value in values.tolist()], inverse


def _encode_values(part: Part, per: Per, kind: Kind, count: int) -> Part:
    """Converts labels or numbers to float32, (..., K), and checks them."""
    targets = floats(part.targets, part.place(0))
    targets = targets.reshape(len(targets), -1)
    if targets.shape[1] != count:
        raise InputError(
            f"{part.place(0)}: expected {count} {kind} per {per}, got {targets.shape[1]}; correct "
            "the targets, or their names"
        )
    with np.errstate(over="ignore"):
        targets = targets.astype(np.float32)
    if kind == "labels":
        right, wanted = np.isnan(targets) | (targets == 0) | (targets == 1), "labels of 0 or 1"
    else:
        right, wanted = ~np.isinf(targets), "finite numbers as targets"
    faults = Faults()
    for index in np.flatnonzero(~right.all(axis=1)).tolist():
        value = targets[index][~right[index]][0]
        faults.add(
            f"{_place(part, per, index)}: expected {wanted}, got {value:g}; correct it, or mark "
            "it as missing by NaN"
        )
    faults.refuse()
    return replace(part, targets=targets)


def _place(part: Part, per: Per, index: int) -> str:
    return part.place(index if per == "step" else int(part.lengths[:index].sum()))
