"""Computes the arrays that training reads, once, and keeps them in files that are mapped."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.runtime.cache import cache_key, cached
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.targets import Kind
from srulight.targets.statistics import describe_target, standardize
from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.dataset import StepsDataset
from srulight.tasks.sequence_prediction.features import Features, describe_features

_VERSION = 1  # Version of the cached files; raise it when their content changes.
_ABOUT = "about.json"
_PIECE = 1 << 16  # Number of steps that are computed at a time.
_FEW = 2000  # Up to this many sequences need no progress bar.


class Recipe(NamedTuple):
    """What determines the arrays, besides the corpus.

    Attributes:
        horizons: Number of steps that the targets lie ahead; several for several steps ahead.
        intervals: Whether the time between steps is a feature.
        trained: Metadata of the checkpoint that the arrays are for; None for a new model.
    """

    horizons: tuple[int, ...]
    intervals: bool
    trained: dict[str, Any] | None


class Arrays(NamedTuple):
    """The arrays of a corpus.

    Attributes:
        parts: Datasets of "train", "val" and, if the corpus has it, "test".
        metadata: ``features``, ``target``, ``per``, ``horizons`` and the names of the columns.
        notes: Lines about the data, to log before training.
    """

    parts: dict[str, StepsDataset]
    metadata: dict[str, Any]
    notes: list[str]


def load_arrays(corpus: SequenceCorpus, root: Path, recipe: Recipe) -> Arrays:
    """Returns the arrays of a corpus, and computes them if the cache lacks them.

    Args:
        corpus: The corpus.
        root: Folder of its files.
        recipe: What to compute.

    Raises:
        InputError: If the corpus cannot be read, or does not match the checkpoint.
    """
    key = corpus.recipe(root)
    if key is None:
        sequences = corpus.read(root)
        metadata, notes = _describe(corpus, sequences, recipe)
        parts = {}
        for name, part in sequences.parts.items():
            pieces = zip(*_pieces(part, metadata), strict=True)
            inputs, codes = (torch.from_numpy(np.concatenate(one)) for one in pieces)
            targets = _standard(part, corpus, metadata)
            lengths = torch.from_numpy(part.lengths)
            parts[name] = StepsDataset(inputs, codes, targets, lengths, corpus.per == "step")
        return Arrays(parts, metadata, notes)
    kind = f"{type(corpus).__module__}.{type(corpus).__qualname__}"
    name = cache_key(_VERSION, kind, corpus.kind, corpus.per, key, recipe)
    folder = cached("sequences", name, partial(_build, corpus, root, recipe))
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    metadata = about["metadata"]
    parts = {
        name: StepsDataset(
            _map(folder / f"{name}-inputs.bin", torch.float32, shapes["inputs"]),
            _map(folder / f"{name}-codes.bin", torch.int64, shapes["codes"]),
            _map(folder / f"{name}-targets.bin", _dtype(corpus.kind), shapes["targets"]),
            _map(folder / f"{name}-lengths.bin", torch.int64, shapes["lengths"]),
            corpus.per == "step",
        )
        for name, shapes in about["shapes"].items()
    }
    return Arrays(parts, metadata, about["notes"])


def _dtype(kind: Kind) -> torch.dtype:
    return torch.int64 if kind == "class" else torch.float32


def _map(path: Path, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    if 0 in shape:
        return torch.zeros(shape, dtype=dtype)
    size = math.prod(shape)
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype).view(*shape)


def _build(corpus: SequenceCorpus, root: Path, recipe: Recipe, folder: Path) -> None:
    sequences = corpus.read(root)
    metadata, notes = _describe(corpus, sequences, recipe)
    shapes = {}
    for name, part in sequences.parts.items():
        width = 0
        with (
            (folder / f"{name}-inputs.bin").open("wb") as file,
            (folder / f"{name}-codes.bin").open("wb") as code_file,
        ):
            for inputs, codes in _pieces(part, metadata, f"computing the features of {name}"):
                file.write(inputs.tobytes())
                code_file.write(codes.tobytes())
                width = inputs.shape[1]
        targets = _standard(part, corpus, metadata)
        (folder / f"{name}-targets.bin").write_bytes(targets.numpy().tobytes())
        (folder / f"{name}-lengths.bin").write_bytes(part.lengths.astype(np.int64).tobytes())
        shapes[name] = {
            "inputs": [len(part.numbers), width],
            "codes": part.categories.shape,
            "targets": targets.shape,
            "lengths": part.lengths.shape,
        }
    about = {"metadata": metadata, "notes": notes, "shapes": shapes}
    (folder / _ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _pieces(
    part: Part, metadata: dict[str, Any], text: str = ""
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yields the numeric features and the codes of all steps, in pieces."""
    features = Features(metadata["features"])
    start = 0
    for length in progress(part.lengths.tolist(), text, len(part.lengths), _FEW):
        carry = None
        for first in range(start, start + length, _PIECE):
            rows = slice(first, min(first + _PIECE, start + length))
            times = None if part.times is None else part.times[rows]
            inputs, codes, carry = features.encode(
                part.numbers[rows], part.categories[rows], times, carry
            )
            yield inputs, codes
        start += length


def _standard(part: Part, corpus: SequenceCorpus, metadata: dict[str, Any]) -> Tensor:
    """Returns the targets as the model predicts them."""
    targets = torch.from_numpy(_shifted(part, corpus, metadata["horizons"]))
    return standardize(targets, metadata["target"])


def _shifted(part: Part, corpus: SequenceCorpus, horizons: Sequence[int]) -> NDArray[Any]:
    """Returns the targets ``horizons`` steps ahead; the last steps of a sequence have none."""
    dtype = np.int64 if corpus.kind == "class" else np.float32
    targets = np.ascontiguousarray(part.targets, dtype=dtype)
    if corpus.per == "sequence" or tuple(horizons) == (0,):
        return targets
    missing = IGNORED if corpus.kind == "class" else math.nan
    ends = np.repeat(np.cumsum(part.lengths), part.lengths)
    shifted = []
    for horizon in horizons:
        places = np.arange(len(targets)) + horizon
        inside = places < ends
        moved = targets[np.minimum(places, len(targets) - 1)]
        moved[~inside] = missing
        shifted.append(moved)
    return shifted[0] if len(shifted) == 1 else np.concatenate(shifted, axis=-1)


def target_names(names: Sequence[str], horizons: Sequence[int]) -> list[str]:
    """Returns the names of the outputs: with several horizons, one per name and horizon.

    Args:
        names: Names of the classes, labels or numbers.
        horizons: Numbers of steps ahead.
    """
    if len(horizons) == 1:
        return list(names)
    return [f"{name}+{horizon}" for horizon in horizons for name in names]


def _describe(
    corpus: SequenceCorpus, sequences: Sequences, recipe: Recipe
) -> tuple[dict[str, Any], list[str]]:
    """Returns the metadata, and lines about the data."""
    trained = recipe.trained
    names = target_names(sequences.targets, recipe.horizons)
    train = sequences.train
    if trained is None:
        described = _shifted(train, corpus, recipe.horizons)
        target = describe_target(
            corpus.kind,
            names,
            sequences.target_columns,
            torch.from_numpy(described).flatten(0, -2)
            if corpus.kind != "class"
            else torch.from_numpy(described).flatten(),
        )
        features = describe_features(
            sequences.numbers, sequences.categories, train.numbers, train.categories,
            train.times if recipe.intervals else None, train.lengths,
        )  # fmt: skip
    else:
        target, features = trained["target"], trained["features"]
        _refuse_other("targets", names, target["names"])
        _refuse_other("numeric features", sequences.numbers, features["numbers"])
        _refuse_other("categorical features", sequences.categories, list(features["categories"]))
    if recipe.intervals and train.times is None:
        raise InputError(
            "--data.intervals=true needs times, got a corpus without them; remove the option, or "
            "name the column of the times with --data.corpus.time"
        )
    metadata = {
        "features": features,
        "target": target,
        "per": corpus.per,
        "horizons": list(recipe.horizons),
        "sequence_column": sequences.sequence_column,
        "time_column": sequences.time_column,
    }
    return metadata, list(_notes(sequences, metadata))


def _refuse_other(what: str, own: Sequence[str], trained: Sequence[str]) -> None:
    if list(own) != list(trained):
        raise InputError(
            f"the {what} must be those of the checkpoint ({', '.join(trained)}), got "
            f"{', '.join(own)}; use data with the same columns, or train a new model"
        )


def _notes(sequences: Sequences, metadata: dict[str, Any]) -> Iterator[str]:
    """Yields a line about each part, and warnings about what looks like a mistake."""
    hashes = {name: _hashes(part) for name, part in sequences.parts.items()}
    for name, part in sequences.parts.items():
        lengths = part.lengths
        median, most = (int(q) for q in np.quantile(lengths, [0.5, 0.95], method="lower"))
        line = (
            f"{name}: {len(lengths):,} sequences, {lengths.sum():,} steps; lengths: median "
            f"{median:,}, 95 % up to {most:,}, longest {lengths.max():,}"
        )
        if missing := float(np.isnan(part.numbers).mean()) if part.numbers.size else 0.0:
            line += f"; {missing:.1%} of the numbers are missing"
        yield line
        if name != "train" and (twice := sum(one in hashes["train"] for one in hashes[name])):
            yield (
                f"warning: {twice:,} of the {len(lengths):,} {name} sequences are also in the "
                "training data; remove them from one of the two"
            )


def _hashes(part: Part) -> set[bytes]:
    ends = np.cumsum(part.lengths)
    return {
        hashlib.blake2b(
            np.ascontiguousarray(part.numbers[end - length : end]).tobytes(), digest_size=16
        ).digest()
        for end, length in zip(ends.tolist(), part.lengths.tolist(), strict=True)
    }
