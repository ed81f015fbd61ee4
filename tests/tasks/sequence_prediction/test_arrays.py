"""The arrays of a corpus are computed once, and are the same from files and in memory."""

import math
import multiprocessing
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.tasks.sequence_prediction import features
from srulight.tasks.sequence_prediction.arrays import Arrays, Recipe, load_arrays, target_names
from srulight.tasks.sequence_prediction.corpora.base import Part, Per, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.dataset import StepsDataset

NEW = Recipe((0,), intervals=False, trained=None)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def part(lengths: list[int], targets: Any, **columns: Any) -> Part:  # noqa: ANN401
    """Makes sequences whose step i, counted over all of them, has the feature i."""
    rows = sum(lengths)
    given = {
        "numbers": np.arange(rows, dtype=np.float32)[:, None],
        "categories": np.empty((rows, 0), dtype=object),
        "times": np.arange(rows, dtype=np.float64),
        **columns,
    }
    names = [str(i) for i in range(len(lengths))]
    return Part(
        names, np.array(lengths), **given, targets=np.array(targets), place=lambda row: str(row)
    )


class Given(SequenceCorpus):
    """Sequences that a test makes; ``reads`` counts how often they are read."""

    def __init__(
        self,
        train: Part,
        kind: Kind = "class",
        per: Per = "step",
        key: object = None,
        names: str = "ab",
        **columns: Any,  # noqa: ANN401
    ) -> None:
        self.kind, self.per = kind, per
        self.key = key
        self.sequences = Sequences(
            train,
            train,
            None,
            **{"numbers": ["x"], "categories": [], "targets": [*names]} | columns,
        )
        self.reads = 0

    def recipe(self, root: Path) -> object:
        return self.key

    def read(self, root: Path) -> Sequences:
        self.reads += 1
        return self.sequences


def load(corpus: SequenceCorpus, *horizons: int, **options: Any) -> Arrays:  # noqa: ANN401
    return load_arrays(corpus, Path(), NEW._replace(horizons=horizons or (0,), **options))


def targets(corpus: SequenceCorpus, *horizons: int) -> Tensor:
    return load(corpus, *horizons).parts["train"].targets


@pytest.mark.parametrize("key", [None, "x"])
def test_classes_some_steps_ahead(key: object) -> None:
    corpus = Given(part([4, 1, 3], [0, 1, 1, 0, 1, 0, 0, 1]), key=key)
    assert targets(corpus).tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    assert targets(corpus, 1).tolist() == [1, 1, 0, -100, -100, 0, 1, -100]
    assert targets(corpus, 2).tolist() == [1, 0, -100, -100, -100, 1, -100, -100]
    assert load(corpus, 2).metadata["target"]["counts"] == [1, 2]


def test_labels_at_several_horizons_lie_side_by_side() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0]], dtype=np.float32)
    corpus = Given(part([3, 1], labels), "labels")
    nan = math.nan
    expected = torch.tensor([[1, 1, 0, 0], [0, 0, nan, nan], [nan] * 4, [nan] * 4])
    torch.testing.assert_close(targets(corpus, 1, 2), expected, equal_nan=True)
    metadata = load(corpus, 1, 2).metadata
    assert metadata["target"]["names"] == ["a+1", "b+1", "a+2", "b+2"]
    assert metadata["target"]["totals"] == [2, 2, 1, 1]
    assert metadata["horizons"] == [1, 2]
    assert target_names(["a", "b"], [7]) == ["a", "b"]


def test_numbers_are_standardized_by_the_training_targets_that_there_are() -> None:
    numbers = np.array([[1.0], [3.0], [math.nan], [5.0], [90.0]], dtype=np.float32)
    corpus = Given(part([4, 1], numbers), "numbers", names="a")
    corpus.sequences = replace(corpus.sequences, val=part([2], [[1.0], [11.0]]))
    arrays = load(corpus, 1)  # the targets are 3, 5 and missing ones
    assert (arrays.metadata["target"]["mean"], arrays.metadata["target"]["std"]) == ([4], [1])
    assert arrays.parts["train"].targets[:3].flatten().tolist() == pytest.approx(
        [-1, math.nan, 1], nan_ok=True
    )
    assert arrays.parts["train"].targets[3:].isnan().all()
    assert arrays.parts["val"].targets[0].tolist() == [7]


def test_a_target_per_sequence() -> None:
    corpus = Given(part([2, 3], [1, 0]), per="sequence")
    assert targets(corpus).tolist() == [1, 0]
    assert not load(corpus).parts["train"].per_step


@pytest.mark.parametrize("horizon", [4, 5, 400])
def test_a_horizon_beyond_every_sequence_is_refused(horizon: int) -> None:
    corpus = Given(part([2, 4], [0, 1] * 3))
    with pytest.raises(InputError, match=rf"horizon must be below 4, .* train .*, got {horizon}"):
        load(corpus, 1, horizon)


def test_times_are_needed_for_intervals() -> None:
    with pytest.raises(InputError, match="intervals need the time of each step"):
        load(Given(part([4], [0, 1, 0, 1], times=None)), intervals=True)
    arrays = load(Given(part([4], [0, 1, 0, 1])), intervals=True)
    assert arrays.metadata["features"]["intervals"] == [1, 1]


def test_no_targets_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="expected training steps with a target, got 4 without"):
        load(Given(part([4], [-100] * 4)))


def everything() -> Part:
    """Makes a part with columns of every kind."""
    rng = np.random.default_rng(0)
    lengths = [5, 1, 13, 2, 30]
    numbers = rng.normal(size=(51, 3)).astype(np.float32)
    numbers[rng.random((51, 3)) < 0.4] = math.nan
    modes = rng.choice(np.array(["on", "off", ""], dtype=object), (51, 2))
    times = rng.random(51).cumsum()
    return part(lengths, rng.normal(size=(51, 2)), numbers=numbers, categories=modes, times=times)


def every_column(key: object) -> Given:
    columns: dict[str, Any] = {"numbers": [*"xyz"], "categories": ["mode", "state"]}
    return Given(everything(), "numbers", key=key, **columns)


def assert_same(one: Arrays, other: Arrays) -> None:
    assert one.metadata == other.metadata
    assert one.notes == other.notes
    assert one.parts.keys() == other.parts.keys()
    for name, data in one.parts.items():
        for attribute in ("inputs", "codes", "targets", "lengths"):
            found = getattr(data, attribute), getattr(other.parts[name], attribute)
            torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


def test_files_are_the_arrays_in_memory_in_pieces_or_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = load(every_column(None), 1, 3, intervals=True)
    assert at_once.parts["train"].inputs.shape == (51, 3 + 1 + 3)
    assert_same(load(every_column("x"), 1, 3, intervals=True), at_once)
    monkeypatch.setattr(features, "_PIECE", 16)  # two steps of seven features
    pieces = load(every_column("y"), 1, 3, intervals=True)
    torch.testing.assert_close(pieces.parts["train"].inputs, at_once.parts["train"].inputs)
    assert torch.equal(pieces.parts["train"].codes, at_once.parts["train"].codes)


def test_a_corpus_is_read_once_for_training_and_for_the_trained_model(tmp_path: Path) -> None:
    corpus = every_column("x")
    first = load(corpus, 2)
    assert corpus.reads == 1
    trained = NEW._replace(horizons=(2,), trained=first.metadata)
    for recipe in (NEW._replace(horizons=(2,)), trained):
        assert_same(load_arrays(corpus, Path(), recipe), first)
    assert corpus.reads == 1
    assert len(list((tmp_path / "cache" / "sequences").glob("*/about.json"))) == 1
    # Everything else is computed anew.
    load(corpus, 3)
    load(corpus, 2, intervals=True)
    load(every_column("y"), 2)
    mean = {**first.metadata["features"], "mean": [0.0, 0.0, 0.0]}
    load_arrays(corpus, Path(), trained._replace(trained={**first.metadata, "features": mean}))
    assert corpus.reads == 4


@pytest.mark.parametrize("name", ["about.json", "train-inputs.bin", "val-targets.bin"])
def test_damaged_files_are_computed_again(name: str, tmp_path: Path) -> None:
    corpus = every_column("x")
    first = load(corpus)
    clones = [data.inputs.clone() for data in first.parts.values()]
    (path,) = (tmp_path / "cache" / "sequences").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    again = load(corpus)
    assert corpus.reads == 2
    assert again.metadata == first.metadata
    for clone, data in zip(clones, again.parts.values(), strict=True):
        assert torch.equal(clone, data.inputs)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    corpus = every_column("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write to .*set SRULIGHT_CACHE="):
            load(corpus)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [p for p in (tmp_path / "cache" / "sequences").glob("*") if p.suffix != ".lock"]
    assert_same(load(corpus), load(every_column(None)))


def _load_and_count(queue: Any) -> None:  # noqa: ANN401
    corpus = every_column("x")
    arrays = load(corpus)
    queue.put((corpus.reads, float(arrays.parts["train"].inputs.sum())))


def test_of_two_processes_one_computes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    started = [context.Process(target=_load_and_count, args=(queue,)) for _ in range(2)]
    for process in started:
        process.start()
    found = [queue.get() for _ in started]
    for process in started:
        process.join(30)
    total = float(load(every_column(None)).parts["train"].inputs.sum())
    assert [value for _, value in found] == [total, total]
    # The other one may read the corpus, too, if it is the first to need the arrays.
    assert 1 <= sum(reads for reads, _ in found) <= 2
    assert len(list((tmp_path / "cache" / "sequences").glob("*/about.json"))) == 1


def test_files_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def map_file(path: str, shared: bool, size: int, dtype: torch.dtype) -> Tensor:
        mapped.append(Path(path).name)
        return from_file(path, shared=shared, size=size, dtype=dtype)

    mapped: list[str] = []
    from_file = torch.from_file
    monkeypatch.setattr(torch, "from_file", map_file)
    data = load(Given(part([4], [0, 1, 0, 1]), key="x")).parts["train"]
    # There is nothing to map for categories.
    assert sorted(mapped)[:3] == ["train-inputs.bin", "train-lengths.bin", "train-targets.bin"]
    assert isinstance(data, StepsDataset)
    assert data.codes.shape == (4, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"targets": ["a", "c"]}, r"the targets must be .* \(a, b\), got a, c"),
        ({"numbers": ["y"]}, r"the numeric features must be .* \(x\), got y"),
        ({"categories": ["mode"]}, r"the categorical features must be .* got mode"),
    ],
)
def test_other_columns_than_the_checkpoints_are_refused(
    changed: dict[str, list[str]], message: str
) -> None:
    corpus = Given(part([4], [0, 1, 0, 1]))
    metadata = load(corpus).metadata
    corpus.sequences = replace(corpus.sequences, **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        load(corpus, trained=metadata)


def test_the_data_are_described() -> None:
    numbers = np.array([[1, 5, math.nan]] * 4 + [[2, 5, 3.0]] * 2, dtype=np.float32)
    train = part([4, 1, 1], [0, 1, 1, -100, 0, 1], numbers=numbers)
    corpus = Given(train, numbers=[*"xyz"])
    corpus.sequences = replace(corpus.sequences, val=part([1], [0], numbers=numbers[4:5]))
    assert load(corpus).notes == [
        "train: 3 sequences, 6 steps, 22.2% of the numbers missing; classes: b 60.0%, a 40.0%; "
        "1 missing",
        "val: 1 sequences, 1 steps; classes: a 100.0%",
        "length of training sequences: median 1 step, 95% at most 4, longest 4",
        "2 of 3 numeric features never change in the training data: y, z; leave them out",
        "1 of 1 val sequences are also in the training data, so the scores will be too good; "
        "remove them from one of the two",
    ]


def test_sequences_too_short_for_the_horizon_are_counted() -> None:
    corpus = Given(part([1, 2, 3, 5], [0, 1] * 5 + [0]))
    assert "2 of 4 train sequences have at most 2 steps, the horizon, so they have no target" in (
        load(corpus, 2).notes
    )
    assert not [note for note in load(corpus, 0).notes if "horizon" in note]


def test_sequences_with_other_categories_differ() -> None:
    modes = np.array([["on"], ["off"]], dtype=object)
    corpus = Given(part([2], [0, 1], numbers=np.zeros((2, 0)), categories=modes), numbers=[])
    corpus.sequences = replace(
        corpus.sequences,
        categories=["mode"],
        val=part([2], [0, 1], numbers=np.zeros((2, 0)), categories=modes[::-1]),
    )
    assert not [note for note in load(corpus).notes if "also in" in note]
