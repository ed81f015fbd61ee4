"""Computes the arrays that training reads, once, and keeps them in files that are mapped."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.runtime.cache import cache_key, cached, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.targets import Kind
from srulight.targets.statistics import describe_target, standardize
from srulight.targets.summary import check_targets
from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.dataset import StepsDataset
from srulight.tasks.sequence_prediction.features import (
    Carry,
    Features,
    describe_columns,
    describe_features,
    rows_per_piece,
)
from srulight.tasks.sequence_prediction.notes import describe_sequences

_VERSION = 2  # Version of the cached files; raise it when their content changes.
_ABOUT = "about.json"
_FEW = 500  # Up to this many pieces need no progress bar.


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

    A model that was trained on the corpus finds the arrays of its training.

    Args:
        corpus: The corpus.
        root: Folder of its files.
        recipe: What to compute.

    Raises:
        InputError: If the corpus cannot be read, or does not match the checkpoint.
    """
    key = corpus.recipe(root)
    read = cache(partial(_read, corpus, root, recipe))
    describe = partial(_describe, corpus, recipe, read)
    if key is None:
        metadata = recipe.trained or describe()
        return Arrays(
            _compute(corpus, read(), metadata), metadata, _notes(corpus, read(), metadata)
        )
    kind = f"{type(corpus).__module__}.{type(corpus).__qualname__}"
    own = (_VERSION, kind, corpus.kind, corpus.per, key, recipe.horizons, recipe.intervals)
    metadata = recipe.trained or cached_json("sequence_features", cache_key(*own), describe)
    name = cache_key(*own, metadata["features"], metadata["target"])
    folder = cached("sequences", name, partial(_write, corpus, metadata, read))
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    parts = {
        name: StepsDataset(
            _map(folder / f"{name}-inputs.bin", torch.float32, shapes["inputs"]),
            _map(folder / f"{name}-codes.bin", torch.int32, shapes["codes"]),
            _map(folder / f"{name}-targets.bin", _dtype(corpus.kind), shapes["targets"]),
            _map(folder / f"{name}-lengths.bin", torch.int64, shapes["lengths"]),
            corpus.per == "step",
        )
        for name, shapes in about["shapes"].items()
    }
    return Arrays(parts, metadata, about["notes"])


def _dtype(kind: Kind) -> torch.dtype:
    return torch.int32 if kind == "class" else torch.float32


def _map(path: Path, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    if 0 in shape:
        return torch.zeros(shape, dtype=dtype)
    size = math.prod(shape)
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype).view(*shape)


def _read(corpus: SequenceCorpus, root: Path, recipe: Recipe) -> Sequences:
    """Reads the corpus, and checks that it has what the model needs."""
    sequences = corpus.read(root)
    if recipe.intervals and any(part.times is None for part in sequences.parts.values()):
        raise InputError(
            "intervals need the time of each step, got a corpus without times; remove "
            "--data.intervals=true, or use a corpus with times"
        )
    inputs = {*sequences.numbers, *sequences.categories}
    told = [name for name in sequences.target_columns if name in inputs]
    if told and 0 in recipe.horizons:
        raise InputError(
            f"features must not be targets at --data.horizon=0, got {told[0]!r} in both; set "
            "--data.horizon to the number of steps ahead, or remove it from one of the two"
        )
    for name, part in sequences.parts.items():
        longest = int(part.lengths.max())
        if max(recipe.horizons) >= longest:
            raise InputError(
                f"--data.horizon must be below {longest}, the number of steps of the longest "
                f"{name} sequence, got {max(recipe.horizons)}; lower it"
            )
    if recipe.trained is not None:
        target, features = recipe.trained["target"], recipe.trained["features"]
        names = target_names(sequences.targets, recipe.horizons)
        _refuse_other("targets", names, target["names"])
        _refuse_other("numeric features", sequences.numbers, features["numbers"])
        _refuse_other("categorical features", sequences.categories, list(features["categories"]))
    return sequences


def _refuse_other(what: str, own: Sequence[str], trained: Sequence[str]) -> None:
    if list(own) != list(trained):
        raise InputError(
            f"the {what} must be those of the checkpoint ({', '.join(trained)}), got "
            f"{', '.join(own)}; use data with the same columns, or train a new model"
        )


def _describe(
    corpus: SequenceCorpus, recipe: Recipe, read: Callable[[], Sequences]
) -> dict[str, Any]:
    """Returns the metadata of a new model."""
    sequences = read()
    train = sequences.train
    names = target_names(sequences.targets, recipe.horizons)
    targets = _shifted(train, corpus, recipe.horizons)
    check_targets(corpus.kind, names, targets, f"{corpus.per}s")
    return {
        "features": describe_features(
            sequences.numbers, sequences.categories, describe_columns(train.numbers),
            train.categories, train.times if recipe.intervals else None, train.lengths,
        ),
        "target": describe_target(corpus.kind, names, sequences.target_columns, targets),
        "per": corpus.per,
        "horizons": list(recipe.horizons),
        "sequence_column": sequences.sequence_column,
        "time_column": sequences.time_column,
    }  # fmt: skip


def _notes(corpus: SequenceCorpus, sequences: Sequences, metadata: dict[str, Any]) -> list[str]:
    targets = {
        name: _shifted(part, corpus, metadata["horizons"]) for name, part in sequences.parts.items()
    }
    return list(describe_sequences(sequences, targets, metadata))


def _compute(
    corpus: SequenceCorpus, sequences: Sequences, metadata: dict[str, Any]
) -> dict[str, StepsDataset]:
    parts = {}
    for name, part in sequences.parts.items():
        pieces = zip(*_encoded(part, metadata, name), strict=True)
        inputs, codes = (torch.from_numpy(np.concatenate(one)) for one in pieces)
        targets = torch.cat(list(_standardized(part, corpus, metadata)))
        lengths = torch.tensor(part.lengths)
        parts[name] = StepsDataset(inputs, codes, targets, lengths, corpus.per == "step")
    return parts


def _write(
    corpus: SequenceCorpus, metadata: dict[str, Any], read: Callable[[], Sequences], folder: Path
) -> None:
    sequences = read()
    width = Features(metadata["features"]).size
    shapes = {}
    for name, part in sequences.parts.items():
        with (
            (folder / f"{name}-inputs.bin").open("wb") as inputs_file,
            (folder / f"{name}-codes.bin").open("wb") as codes_file,
            (folder / f"{name}-targets.bin").open("wb") as targets_file,
        ):
            for inputs, codes in _encoded(part, metadata, name):
                inputs_file.write(inputs.data)
                codes_file.write(codes.data)
            for targets in _standardized(part, corpus, metadata):
                targets_file.write(targets.numpy().data)
        (folder / f"{name}-lengths.bin").write_bytes(part.lengths.astype(np.int64).tobytes())
        shapes[name] = {
            "inputs": (len(part.numbers), width),
            "codes": part.categories.shape,
            "targets": (len(part.targets), *targets.shape[1:]),
            "lengths": part.lengths.shape,
        }
    about = {"notes": _notes(corpus, sequences, metadata), "shapes": shapes}
    (folder / _ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _encoded(
    part: Part, metadata: dict[str, Any], name: str
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Yields the numeric features and the codes of all steps, in pieces."""
    features = Features(metadata["features"])
    size = rows_per_piece(features.size)
    ends = np.cumsum(part.lengths).tolist()
    pieces = [
        (first == end - length, first, min(first + size, end))
        for end, length in zip(ends, part.lengths.tolist(), strict=True)
        for first in range(end - length, end, size)
    ]
    carry: Carry | None = None
    for is_first, start, stop in progress(
        pieces, f"computing the features of {name}", len(pieces), _FEW
    ):
        rows = slice(start, stop)
        times = None if part.times is None else part.times[rows]
        inputs, codes, carry = features.encode(
            part.numbers[rows], part.categories[rows], times, None if is_first else carry
        )
        yield inputs, codes.astype(np.int32)


def _standardized(part: Part, corpus: SequenceCorpus, metadata: dict[str, Any]) -> Iterator[Tensor]:
    """Yields the targets as the model predicts them, in pieces."""
    targets = _shifted(part, corpus, metadata["horizons"])
    for piece in targets.split(rows_per_piece(math.prod(targets.shape[1:]))):
        yield standardize(piece, metadata["target"]).to(_dtype(corpus.kind))


def _shifted(part: Part, corpus: SequenceCorpus, horizons: Sequence[int]) -> Tensor:
    """Returns the targets ``horizons`` steps ahead; the last steps of a sequence have none.

    Targets of several horizons lie side by side: those of the first horizon come first.
    """
    is_class = corpus.kind == "class"
    # A copy, because torch warns of arrays that cannot be written to, such as mapped files.
    targets = np.array(part.targets, dtype=np.int64 if is_class else np.float32)
    if tuple(horizons) == (0,):  # always so with one target per sequence
        return torch.from_numpy(targets)
    shifted = np.full(
        (len(targets), len(horizons), *targets.shape[1:]),
        IGNORED if is_class else math.nan,
        dtype=targets.dtype,
    )
    ends = np.cumsum(part.lengths).tolist()
    for end, length in zip(ends, part.lengths.tolist(), strict=True):
        start = end - length
        for i, horizon in enumerate(horizons):
            shifted[start : max(start, end - horizon), i] = targets[start + horizon : end]
    found = torch.from_numpy(shifted)
    return found[:, 0] if is_class else found.flatten(1)


def target_names(names: Sequence[str], horizons: Sequence[int]) -> list[str]:
    """Returns the names of the outputs: with several horizons, one per name and horizon.

    Args:
        names: Names of the classes, labels or numbers.
        horizons: Numbers of steps ahead.
    """
    if len(horizons) == 1:
        return list(names)
    return [f"{name}+{horizon}" for horizon in horizons for name in names]
