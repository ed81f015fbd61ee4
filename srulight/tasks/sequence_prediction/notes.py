"""Describes the sequences of a corpus before training."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from srulight.data.summary import describe_lengths, leakage
from srulight.runtime.errors import listed
from srulight.targets.summary import describe_targets, suspicions
from srulight.tasks.sequence_prediction.corpora.base import Part, Sequences
from srulight.tasks.sequence_prediction.features import describe_columns, rows_per_piece

_SHOWN = 6


def describe_sequences(
    sequences: Sequences, targets: Mapping[str, Tensor], metadata: dict[str, Any]
) -> Iterator[str]:
    """Describes each part in one line, and points out what looks like a mistake.

    Args:
        sequences: The corpus.
        targets: Targets of each part, as ``describe_target`` takes them.
        metadata: ``target``, ``horizons`` and ``per`` of the metadata.

    Yields:
        Lines to log.
    """
    yield from sequences.notes
    kind, names = metadata["target"]["kind"], metadata["target"]["names"]
    examples = f"{metadata['per']}s"
    columns = {name: describe_columns(part.numbers) for name, part in sequences.parts.items()}
    for name, part in sequences.parts.items():
        line = f"{name}: {len(part.lengths):,} sequences, {part.lengths.sum():,} steps"
        if missing := part.numbers.size - int(columns[name].known.sum()):
            line += f", {missing / part.numbers.size:.1%} of the numbers missing"
        yield f"{line}; {describe_targets(kind, names, targets[name])}"
    train = sequences.train
    yield f"length of training sequences: {describe_lengths(train.lengths.tolist(), 'step')}"
    horizon = min(metadata["horizons"])
    for name, part in sequences.parts.items():
        if short := int((part.lengths <= horizon).sum()):
            yield (
                f"{short:,} of {len(part.lengths):,} {name} sequences have at most {horizon} "
                "steps, the horizon, so they have no target"
            )
    yield from suspicions(kind, names, targets["train"], examples)
    constant = [
        name
        for name, same in zip(sequences.numbers, columns["train"].constant, strict=True)
        if same
    ]
    if constant:
        yield (
            f"{len(constant):,} of {len(sequences.numbers):,} numeric features never change in the "
            f"training data: {listed(constant, _SHOWN)}; leave them out"
        )
    if repeated := leakage({k: _hashes(p) for k, p in sequences.parts.items()}, "sequences"):
        yield repeated


def _hashes(part: Part) -> list[bytes]:
    """Returns a hash of the features of each sequence."""
    size = rows_per_piece(part.numbers.shape[1])
    hashes = []
    for end, length in zip(np.cumsum(part.lengths).tolist(), part.lengths.tolist(), strict=True):
        digest = hashlib.blake2b(str(length).encode(), digest_size=16)
        for start in range(end - length, end, size):
            rows = slice(start, min(start + size, end))
            digest.update(np.ascontiguousarray(part.numbers[rows]).data)
            digest.update("\0".join(map(str, part.categories[rows].flat)).encode())
        hashes.append(digest.digest())
    return hashes
