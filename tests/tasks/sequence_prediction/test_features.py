"""Columns become features, the same ones whether they come whole or step by step."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import features
from srulight.tasks.sequence_prediction.features import (
    Carry,
    Features,
    describe_columns,
    describe_features,
)

NAN = np.nan
METADATA: dict[str, Any] = {
    "numbers": ["level", "speed"], "mean": [10.0, 0.0], "std": [2.0, 1.0], "masked": [0],
    "categories": {"mode": ["off", "on"]}, "intervals": [2.0, 0.5],
}  # fmt: skip


def words(*values: str) -> NDArray[Any]:
    return np.array(values, dtype=object)[:, None]


def none(steps: int) -> NDArray[Any]:
    return np.empty((steps, 0), dtype=object)


def describe(values: NDArray[Any], **options: Any) -> dict[str, Any]:  # noqa: ANN401
    given = {"categories": [], "words": none(len(values)), "times": None, **options}
    lengths = given.pop("lengths", np.array([len(values)]))
    return describe_features(
        [f"x{i}" for i in range(values.shape[1])], given["categories"], describe_columns(values),
        given["words"], given["times"], lengths,
    )  # fmt: skip


def test_features_by_hand() -> None:
    encoder = Features(METADATA)
    numbers = np.array([[NAN, 1.0], [12.0, NAN], [NAN, 3.0]])
    times = np.array([5.0, 7.0, 10.0])
    inputs, codes, carry = encoder.encode(numbers, words("on", "", "new"), times)
    # The level is the mean before it is known, then 12, which is one standard deviation more. The
    # interval is the mean at the first step, then 2 and 3. Last comes the mask of the level.
    assert inputs.tolist() == [[0, 1, 0, 0], [1, 1, 0, 1], [1, 3, 2, 0]]
    assert inputs.dtype == np.float32
    assert codes.tolist() == [[2], [0], [0]]
    assert encoder.size == inputs.shape[1]
    assert encoder.category_sizes == [3]
    assert carry.last.tolist() == [12, 3]
    assert carry.time == 10


def test_without_times_the_interval_is_the_mean() -> None:
    inputs, _, carry = Features(METADATA).encode(np.zeros((2, 2)), words("on", "on"), None)
    assert inputs[:, 2].tolist() == [0, 0]
    assert carry.time is None


@pytest.mark.parametrize("split", range(1, 64))
def test_pieces_have_the_features_of_the_whole(split: int) -> None:
    rng = np.random.default_rng(3)
    numbers = rng.normal(10, 2, (7, 2))
    numbers[rng.random((7, 2)) < 0.5] = NAN
    modes, times = words(*["on", "off", "on", "", "new", "off", "on"]), rng.random(7).cumsum()
    encoder = Features(METADATA)
    inputs, codes, carry = encoder.encode(numbers, modes, times)
    before: Carry | None = None
    found = []
    # Each bit of the number says whether there is a cut between two steps.
    cuts = [i for i in range(1, 7) if split >> (i - 1) & 1]
    for rows in np.split(np.arange(7), cuts):
        *piece, before = encoder.encode(numbers[rows], modes[rows], times[rows], before)
        found.append(piece)
    assert np.array_equal(np.concatenate([piece[0] for piece in found]), inputs)
    assert np.array_equal(np.concatenate([piece[1] for piece in found]), codes)
    assert before is not None
    assert np.array_equal(before.last, carry.last, equal_nan=True)
    assert before.time == carry.time


def test_no_steps_change_nothing() -> None:
    encoder = Features(METADATA)
    *_, before = encoder.encode(np.array([[12.0, 3.0]]), words("on"), np.array([4.0]))
    inputs, codes, after = encoder.encode(np.zeros((0, 2)), none(0).reshape(0, 1), None, before)
    assert inputs.shape == (0, 4)
    assert codes.shape == (0, 1)
    assert after.last.tolist() == [12, 3]
    assert after.time == 4


def test_no_feature_is_larger_than_ten_thousand() -> None:
    metadata = {**METADATA, "masked": [], "intervals": [1.0, 1e-9]}
    numbers, times = np.array([[1e30, -1e30], [10.0, 0.0]]), np.array([0.0, 1e9])
    inputs, *_ = Features(metadata).encode(numbers, words("on", "on"), times)
    assert inputs.tolist() == [[1e4, -1e4, 0], [0, 0, 1e4]]


def test_metadata_are_not_trusted() -> None:
    with pytest.raises(InputError, match=r"features in the metadata.*mean"):
        Features({**METADATA, "mean": ["x"]})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_are_measured_in_pieces(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_PIECE", 3 * 7)  # 7 rows at a time
    rng = np.random.default_rng(0)
    values: NDArray[Any] = rng.normal([5, 1e6, -3], [2, 1, 1e-3], (100, 3)).astype(dtype)
    values[rng.random((100, 3)) < 0.3] = NAN
    found = describe_columns(values)
    wide = values.astype(np.float64)
    assert found.known.tolist() == (~np.isnan(wide)).sum(0).tolist()
    np.testing.assert_allclose(found.mean, np.nanmean(wide, 0), rtol=1e-12)
    np.testing.assert_allclose(found.std, np.nanstd(wide, 0), rtol=1e-9)
    assert not found.constant.any()


@pytest.mark.filterwarnings("error")
def test_a_feature_that_never_changes_is_not_scaled() -> None:
    values = np.array([[0.1, NAN, 7.0, 1e-200], [0.1, NAN, NAN, 2e-200]] * 500)
    found = describe_columns(values)
    assert found.constant.tolist() == [True, True, True, False]
    assert found.std.tolist() == [1, 1, 1, 1]
    assert found.mean.tolist() == pytest.approx([0.1, 0, 7, 1.5e-200])
    inputs, *_ = Features(describe(values)).encode(values, none(1000), None)
    assert np.abs(inputs[:, :4]).max() < 1e-12


def test_a_corpus_has_refused_infinite_values() -> None:
    with pytest.raises(AssertionError, match="infinite"):
        describe_columns(np.array([[1.0], [np.inf]]))


def test_features_are_described_by_the_training_steps() -> None:
    values = np.array([[1.0, 4.0], [3.0, NAN], [5.0, 8.0]])
    # The time from the first sequence to the second is no interval.
    times, lengths = np.array([0.0, 4.0, 100.0, 106.0])[[0, 1, 3]], np.array([2, 1])
    found = describe(
        values, categories=["mode"], words=words("on", "", "off"), times=times, lengths=lengths
    )
    assert found == {
        "numbers": ["x0", "x1"], "mean": [3, 6], "std": [pytest.approx((8 / 3) ** 0.5), 2],
        "masked": [1], "categories": {"mode": ["off", "on"]}, "intervals": [4, 1],
    }  # fmt: skip
    assert describe(values)["intervals"] is None


def test_intervals_are_standardized() -> None:
    times, lengths = np.array([0.0, 1.0, 4.0, 10.0, 11.0]), np.array([3, 2])
    found = describe(np.zeros((5, 1)), times=times, lengths=lengths)
    # They are 1 and 3, then 1.
    assert found["intervals"] == pytest.approx([5 / 3, (8 / 9) ** 0.5])


def test_standardized_features_have_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(1).normal([5, -300], [0.1, 40], (500, 2)).astype(np.float32)
    inputs, *_ = Features(describe(values)).encode(values, none(500), None)
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(0), 1, atol=1e-5)
