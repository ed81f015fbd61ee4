"""The model of sequences trains with every encoder, and predicts whatever else is in the batch."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer

from srulight import load
from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import task as module
from srulight.tasks.sequence_prediction.corpora import SyntheticSignals
from srulight.tasks.sequence_prediction.data import SequencePredictionData
from srulight.tasks.sequence_prediction.features import Features
from srulight.tasks.sequence_prediction.task import SequencePrediction
from tests.tasks.sequence_prediction.models import OFFLINE, ONLINE, given, make, metadata

ENCODERS = {**ONLINE, **OFFLINE}
every_encoder = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
LENGTHS = [9, 1, 30, 17, 2]
SIGNAL = np.arange(30.0).reshape(10, 3) % 7


def probabilities(answers: Any) -> list[Any]:  # noqa: ANN401
    """The probabilities of answers, or of lists of answers."""
    return [
        probabilities(answer) if isinstance(answer, list) else answer.probabilities
        for answer in answers
    ]


def assert_same(found: Any, expected: Any, atol: float = 1e-5) -> None:  # noqa: ANN401
    """Compares probabilities, or lists of them of any length."""
    assert len(found) == len(expected)
    for own, other in zip(probabilities(found), probabilities(expected), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=atol)


@every_encoder
@pytest.mark.parametrize("per", ["step", "sequence"])
def test_a_step_of_training_reduces_the_loss(encoder: Any, per: Any) -> None:  # noqa: ANN401
    corpus = SyntheticSignals("class", per, 8, 1, 1, steps=20)
    data = SequencePredictionData(corpus)
    data.setup("fit")
    task = SequencePrediction(dropout=0.0, encoder=encoder)
    task.build(data.metadata)
    (batch,) = data.datasets["train"].__getitems__([*range(8)])
    optimizer = torch.optim.Adam(task.parameters(), 0.01)
    losses = []
    for _ in range(3):
        loss = task.training_step(batch, 0)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
        optimizer.step()
    assert losses[2] < losses[0]


@every_encoder
@pytest.mark.parametrize("per", ["step", "sequence"])
def test_padding_changes_no_answer(encoder: Any, per: str) -> None:  # noqa: ANN401
    task = make(metadata(per=per), encoder=encoder)
    inputs, codes = torch.randn(2, 9, task.features.size), torch.randint(0, 3, (2, 9, 1))
    lengths = torch.tensor([9, 5])
    batch = task(inputs, codes, lengths)
    inputs[1, 5:] = 7.0
    padded = task(inputs, codes, lengths)
    alone = task(inputs[1:, :5], codes[1:, :5], lengths[1:])
    if per == "step":
        batch, padded = batch[:, :5], padded[:, :5]
    torch.testing.assert_close(padded, batch)
    torch.testing.assert_close(padded[1:], alone)


@every_encoder
@pytest.mark.parametrize("per", ["step", "sequence"])
def test_answers_do_not_depend_on_the_batch(encoder: Any, per: str) -> None:  # noqa: ANN401
    task = make(metadata(per=per), encoder=encoder)
    sequences = [given(length) for length in LENGTHS]
    alone = [task.predict(sequence)[0] for sequence in sequences]
    for size in (1, 2, 64):
        assert_same(task.predict(sequences, size), alone)
    if per == "step":
        assert [len(answers) for answers in alone] == LENGTHS
    assert task.predict([]) == []


@every_encoder
@pytest.mark.parametrize("pooling", ["auto", "last", "mean", "max"])
def test_answers_are_those_of_the_whole_network(encoder: Any, pooling: Any) -> None:  # noqa: ANN401
    for per in ("step", "sequence"):
        task = make(metadata(per=per), encoder=encoder, pooling=pooling)
        sequence = given(23)
        numbers = np.stack([sequence["temperature"], sequence["pressure"]], axis=1)
        words = np.array(sequence["color"], dtype=object)[:, None]
        inputs, codes, _ = task.features.encode(numbers, words, sequence["time"])
        with torch.no_grad():
            outputs = task(
                *(torch.from_numpy(x)[None] for x in (inputs, codes)), torch.tensor([23])
            )
        (found,) = task.predict(sequence)
        found = found if per == "step" else [found]
        expected = outputs.softmax(-1).view(-1, 3)
        np.testing.assert_allclose(probabilities(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ONLINE.values(), ids=ONLINE)
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_long_sequences_are_read_in_pieces(
    encoder: Any,  # noqa: ANN401
    pooling: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for per in ("step", "sequence"):
        task = make(metadata(per=per), encoder=encoder, pooling=pooling)
        sequences = [given(length) for length in LENGTHS]
        whole = task.predict(sequences)
        seen: list[int] = []
        encode = Features.encode

        def spy(self: Features, *args: Any, seen: Any = seen, encode: Any = encode) -> Any:  # noqa: ANN401
            seen.append(len(args[0]))
            return encode(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(module, "PIECE", 20)
            patch.setattr(Features, "encode", spy)
            assert_same(task.predict(sequences), whole)
        assert max(seen) == 4


def test_a_mean_of_many_steps_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make(metadata(per="sequence", intervals=False, words=False), pooling="mean")
    inputs = np.random.default_rng(0).normal([20, 1000], [5, 50], (20_000, 2))
    (expected,) = task.predict(inputs)
    monkeypatch.setattr(module, "PIECE", 1000)
    (found,) = task.predict(inputs)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-6)


def test_sequences_come_in_many_forms() -> None:
    task = make(metadata(intervals=False, words=False))
    columns = given(12)
    array = np.stack([columns["temperature"], columns["pressure"]], axis=1)
    (expected,) = task.predict(array)
    named = {name: columns[name] for name in ("pressure", "temperature")}
    # A missing value may be None; columns that training knew but the model does not read may stay.
    listed = {name: [None if np.isnan(v) else v for v in named[name]] for name in named}
    more = {**named, "machine": ["m"] * 12, "state": [*"aaaabbbbcccc"], "time": columns["time"]}
    for other in (torch.from_numpy(array), array.tolist(), named, listed, more):
        assert_same(task.predict([other])[0], expected)
    assert_same(task.predict(array.astype(np.float32))[0], expected)
    half = torch.from_numpy(array).bfloat16()
    assert_same(task.predict([half])[0], task.predict([half.float()])[0])
    assert len(task.predict(np.stack([array, array]))) == 2
    pandas = pytest.importorskip("pandas")
    assert_same(task.predict(pandas.DataFrame(named))[0], expected)
    frame = pandas.DataFrame(given(12)).astype({"color": "category"})
    full = make()
    assert_same(full.predict(frame), full.predict(given(12)))


def test_times_may_be_dates() -> None:
    task = make()
    seconds = [1.5, 2.0, 4.25]
    expected = task.predict({**given(3), "time": seconds})
    texts = [f"2026-03-01 00:00:0{second}" for second in seconds]
    dates = np.array(texts, dtype="datetime64[ns]")
    pandas = pytest.importorskip("pandas")
    for times in (texts, dates, pandas.Series(dates), [datetime.fromisoformat(t) for t in texts]):
        assert_same(task.predict({**given(3), "time": times}), expected)
        stream = task.stream()
        steps = pandas.DataFrame({**given(3), "time": times}).to_dict("records")
        assert_same([answer for step in steps for answer in stream.accept(step)], expected[0])
    with pytest.raises(InputError, match="step 1: expected a time, got nan"):
        task.predict({**given(3), "time": [dates[0], np.datetime64("NaT"), dates[2]]})
    with pytest.raises(InputError, match="a number or an ISO 8601 date in column 'time', got 'x'"):
        task.predict({**given(3), "time": [*"xyz"]})


def test_a_single_feature_needs_no_second_dimension() -> None:
    data = metadata(intervals=False, words=False)
    data["features"] |= {"numbers": ["load"], "mean": [0.0], "std": [1.0], "masked": []}
    task = make(data)
    values = np.arange(5.0)
    assert_same(task.predict(values)[0], task.predict({"load": values})[0])


def bad(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {**given(3), **changes}


@pytest.mark.parametrize(
    ("sequence", "says"),
    [
        (np.zeros((3, 2)), "expected a mapping from columns to values, because the model also"),
        ({"temperature": [1.0]}, "expected a column 'pressure', got the columns temperature; the"),
        ({}, "expected a column 'temperature', got the columns none"),
        (bad(humidity=[1, 2, 3]), "got 'humidity' as well; remove it"),
        (bad(pressure=[1, 2]), "got 3 values in 'temperature' and 2 in 'pressure'"),
        (bad(pressure=np.zeros((3, 1))), "one value per step in 'pressure', got the shape (3, 1)"),
        (bad(pressure=[1, np.inf, 2]), "step 1: expected a finite number in 'pressure', got inf"),
        (bad(pressure=["a", "b", "c"]), "column 'pressure': expected numbers, got ['a', 'b', 'c']"),
        (bad(time=[1, 2, 2]), "step 2: expected a time after 2, that of the step before, got 2;"),
        (bad(time=[1, np.nan, 2]), "step 1: expected a time, got nan; each step needs one"),
        (given(0), "expected at least one step, got none"),
    ],
)
def test_what_cannot_be_read_is_refused(sequence: Any, says: str) -> None:  # noqa: ANN401
    task = make()
    with pytest.raises(InputError) as error:
        task.predict([given(3), sequence])
    assert str(error.value).startswith("inputs[1]")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sequence", "says"),
    [
        (np.zeros((3, 4)), "expected the shape (T, 2), with a column for each of temperature, pr"),
        (np.zeros(2), "expected the shape (T, 2)"),
        (np.zeros((0, 2)), "expected at least one step, got none"),
        (np.full((1, 2), -np.inf), "step 0: expected a finite number in 'temperature', got -inf"),
        ([[1, 2], [3]], "expected numbers, got [[1, 2], [3]]"),
        ("data.csv", "expected numbers, got 'data.csv'"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(sequence: Any, says: str) -> None:  # noqa: ANN401
    task = make(metadata(intervals=False, words=False))
    with pytest.raises(InputError) as error:
        task.predict([sequence])
    assert f"inputs[0], {says}" in str(error.value) or f"inputs[0]: {says}" in str(error.value)


def test_a_batch_has_at_least_one_sequence() -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        make().predict(given(2), 0)


@every_encoder
def test_strange_values_give_finite_answers(encoder: Any) -> None:  # noqa: ANN401
    task = make(encoder=encoder)
    nothing = {**given(4), "temperature": [None] * 4, "pressure": [np.nan] * 4, "color": [None] * 4}
    large = {
        **given(4),
        "temperature": [1e300, -1e300, 1e38, 0],
        "time": [-1e300, 0, 1e-300, 1e300],
    }
    assert np.isfinite(probabilities(task.predict([nothing, large]))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("encoder", ["SRU", "LSTM", "QRNN", "SRUpp", "CNN"])
def test_models_of_other_precisions_predict(dtype: torch.dtype, encoder: str) -> None:
    for kind, per in (("class", "step"), ("class", "sequence"), ("labels", "sequence")):
        task = make(metadata(kind, per), encoder=ENCODERS[encoder])
        expected = task.predict([given(9), given(4)])
        found = task.to(dtype).predict([given(9), given(4)])
        assert_same(found, expected, atol=0.05)
        if task.is_online:
            steps = task.stream().accept(given(9))
            last = [steps] if per == "step" else [steps[-1]]
            assert_same(last, found[:1], atol=0.05)


def test_numbers_have_the_units_of_the_data() -> None:
    task = make(metadata("numbers", "sequence"))
    torch.nn.init.zeros_(task.head.weight)
    task.head.bias.data = torch.tensor([1.0, -2.0, 0.5])
    (answer,) = task.predict(given(4))
    # mean + output * standard deviation
    assert answer.values == [1.0, 80.0, 6.0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model of signals with missing values."""
    folder = tmp_path_factory.mktemp("trained")
    data = SequencePredictionData(
        SyntheticSignals("labels", train_size=40, val_size=8, test_size=8, missing=0.2)
    )
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, max_epochs=1,
    )  # fmt: skip
    task = SequencePrediction()
    trainer.fit(task, data)
    trainer.save_checkpoint(folder / "x.ckpt")
    torch.save([[*answer] for answer in task.predict(SIGNAL)[0]], folder / "answers.pt")
    return folder / "x.ckpt"


def test_a_checkpoint_is_all_one_needs(checkpoint: Path) -> None:
    task = load(checkpoint)
    assert isinstance(task, SequencePrediction)
    assert task.metadata is not None
    assert task.metadata["features"]["masked"] == [0, 1, 2]
    expected = torch.load(checkpoint.parent / "answers.pt")
    assert [[*answer] for answer in task.predict(SIGNAL)[0]] == expected


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("features", None, "features must be of type dict"),
        ("features.numbers", ["a", 1], r"features\.numbers\[1\] must be of type str"),
        ("features.mean", [0.0], r"mean must be one finite number per name \(3\), got \[0\.0\]"),
        ("features.std", [1.0, float("nan"), 1.0], "std must be one finite number per name"),
        ("features.std", [1.0, 0.0, 1.0], "standard deviations above 0, got 0.0"),
        ("features.masked", [3], r"masked must be indices below 3, got \[3\]"),
        ("features.intervals", [1.0], r"intervals must be a mean and a standard deviation"),
        ("features.intervals", ["a", "b"], r"intervals\[0\] must be of type float"),
        ("features.categories", {"x": [["a"]]}, r"categories\.x\[0\] must be of type str"),
        ("features.categories", {"x": ["a", "b"]}, "differ in name or shape, such as"),
        ("features.numbers", ["a", "b"], r"mean must be one finite number per name \(2\)"),
        ("target.kind", "color", r"target in the metadata\.kind must be class, labels, numbers"),
        ("target.counts", [1], "counts must have one item per name"),
        ("target.names", [*"abcd"], "counts must have one item per name"),
        ("per", "week", "per in the metadata must be sequence or step, got 'week'"),
        ("horizons", ["now"], r"horizons\[0\] must be of type int"),
        ("sequence_column", ["m"], "sequence_column must be of type str or NoneType"),
        ("time_column", 3, "time_column must be of type str or NoneType"),
    ],
)
def test_metadata_of_another_structure_are_refused(
    checkpoint: Path, tmp_path: Path, part: str, value: object, says: str
) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    inner = contents["metadata"]
    *path, last = part.split(".")
    for name in path:
        inner = inner[name]
    inner[last] = value
    torch.save(contents, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=says):
        load(tmp_path / "x.ckpt")
