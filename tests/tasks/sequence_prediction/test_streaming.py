"""A stream gives the answers of the whole sequence, step by step."""

from typing import Any

import numpy as np
import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import streaming
from tests.tasks.sequence_prediction.models import OFFLINE, ONLINE, given, make, metadata

every_encoder = pytest.mark.parametrize("encoder", ONLINE.values(), ids=ONLINE)


def part(columns: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: values[start:stop] for name, values in columns.items()}


def probabilities(answers: list[Any]) -> Any:  # noqa: ANN401
    return np.array([answer.probabilities for answer in answers])


def assert_same(found: list[Any], expected: list[Any]) -> None:
    np.testing.assert_allclose(probabilities(found), probabilities(expected), rtol=1e-4, atol=1e-5)


@every_encoder
@pytest.mark.parametrize("sizes", [(1,), (3, 1, 7)], ids=["step", "several steps"])
def test_a_stream_equals_the_whole(encoder: Any, sizes: tuple[int, ...]) -> None:  # noqa: ANN401
    task = make(metadata("labels"), encoder=encoder)
    stream = task.stream()
    for seed in (0, 1):  # the second sequence knows nothing of the first
        columns = given(33, seed)
        found: list[Any] = []
        while len(found) < 33:
            size = sizes[len(found) % len(sizes)]
            answers = stream.accept(part(columns, len(found), len(found) + size))
            assert len(answers) == min(size, 33 - len(found))
            found += answers
        assert_same(found, task.predict(columns)[0])
        stream.reset()


@every_encoder
@pytest.mark.parametrize("pooling", ["auto", "mean", "max"])
def test_one_answer_per_sequence_is_that_of_the_steps_so_far(
    encoder: Any,  # noqa: ANN401
    pooling: Any,  # noqa: ANN401
) -> None:
    task = make(metadata("labels", "sequence"), encoder=encoder, pooling=pooling)
    columns, stream = given(12), task.stream()
    found = [*stream.accept(part(columns, 0, 5)), *stream.accept(part(columns, 5, 6))]
    found += stream.accept(part(columns, 6, 12))
    assert_same(found, task.predict([part(columns, 0, i + 1) for i in range(12)]))


@every_encoder
def test_many_steps_at_once_are_read_in_pieces(
    encoder: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = make(encoder=encoder)
    expected = task.predict(given(20))[0]
    monkeypatch.setattr(streaming, "PIECE", 6)
    assert_same(task.stream().accept(given(20)), expected)


@every_encoder
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_what_a_stream_keeps_does_not_grow(encoder: Any, pooling: Any) -> None:  # noqa: ANN401
    stream = make(metadata(per="sequence"), encoder=encoder, pooling=pooling).stream()
    columns, sizes = given(30), set()
    for start, stop in [(0, 1), (1, 2), (2, 9), (9, 30)]:
        stream.accept(part(columns, start, stop))
        memory = stream._memory
        assert memory is not None
        assert memory.pooled is not None
        assert not memory.state.requires_grad
        kept = [memory.state.untyped_storage(), memory.pooled.untyped_storage()]
        sizes.add(sum(storage.nbytes() for storage in kept))
        assert all(carry.last.base is None for carry in memory.carries)
    assert len(sizes) == 1


def test_a_step_may_be_an_array_or_a_mapping() -> None:
    task = make(metadata(intervals=False, words=False))
    steps = np.array([[20.0, 1100.0], [np.nan, 900.0], [25.0, np.nan]])
    expected = task.predict(steps)[0]
    forms: list[list[Any]] = [
        [*steps],
        steps.tolist(),
        [*torch.from_numpy(steps)],
        [steps[:2], steps[2:]],
        [{"temperature": a, "pressure": b} for a, b in steps],
        [{"pressure": [b], "temperature": [a]} for a, b in steps],
    ]
    for form in forms:
        stream = task.stream()
        assert_same([answer for step in form for answer in stream.accept(step)], expected)
    (answer,) = (
        make().stream().accept({"temperature": 1, "pressure": None, "color": "red", "time": 5})
    )
    assert answer.label in "abc"


@pytest.mark.parametrize("encoder", OFFLINE.values(), ids=OFFLINE)
def test_an_encoder_that_reads_later_steps_cannot_stream(encoder: Any) -> None:  # noqa: ANN401
    says = r"streaming needs a recurrent encoder with bidirectional=False, got (a bidirectional )?"
    with pytest.raises(InputError, match=says + r"(SRU|LSTM|\w*CNN); train such an encoder"):
        make(encoder=encoder).stream()


def test_a_model_without_weights_cannot_stream() -> None:
    from srulight.tasks.sequence_prediction.task import SequencePrediction

    with pytest.raises(RuntimeError, match=r"load a checkpoint with srulight\.load"):
        SequencePrediction().stream()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"time": 3.0}, "inputs, step 0: expected a time after 3, that of the step before, got 3;"),
        ({"time": 2.5}, "expected a time after 3, that of the step before, got 2.5; sort"),
        ({"time": None}, "inputs, step 0: expected a time, got nan"),
        ({"pressure": np.inf}, "inputs, step 0: expected a finite number in 'pressure', got inf"),
        ({"wind": 1}, "got 'wind' as well; remove it"),
        ({"pressure": [1, 2]}, "got 1 values in 'temperature' and 2 in 'pressure'"),
    ],
)
def test_a_step_that_is_refused_changes_nothing(changes: dict[str, Any], says: str) -> None:
    def step(time: float) -> dict[str, Any]:
        return {"temperature": 20.0 + time, "pressure": 1000.0, "color": "red", "time": time}

    task = make()
    stream = task.stream()
    found = [*stream.accept(step(1.0)), *stream.accept(step(3.0))]
    with pytest.raises(InputError) as error:
        stream.accept({**step(4.0), **changes})
    assert says in str(error.value)
    found += stream.accept(step(4.0))
    steps = [step(time) for time in (1.0, 3.0, 4.0)]
    whole = {name: [one[name] for one in steps] for name in steps[0]}
    assert_same(found, task.predict(whole)[0])
    stream.reset()
    stream.accept(step(0.5))  # another sequence has times of its own
