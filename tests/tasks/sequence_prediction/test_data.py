"""Sequences are read whole or in segments, with the same results."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor
from torch.optim import SGD

from srulight.data.resumable_loader import ResumableLoader
from srulight.encoders import CNN, GRU, LSTM, QRNN, SRU, EncoderFactory, SRUpp
from srulight.runtime.errors import InputError
from srulight.targets import Kind
from srulight.tasks.sequence_prediction import (
    SequencePrediction,
    SequencePredictionData,
    SyntheticSignals,
)
from srulight.tasks.sequence_prediction.batch import StepsBatch

ENCODERS: dict[str, EncoderFactory] = {
    cls.__name__: partial(cls, hidden_size=4, num_layers=2, dropout=0.0)
    for cls in (SRU, LSTM, GRU, QRNN)
} | {"SRUpp": partial(SRUpp, hidden_size=8, num_layers=2, dropout=0.0, memory_size=50)}


def signals(kind: Kind = "class", **options: Any) -> SyntheticSignals:  # noqa: ANN401
    given = {"per": "step", "train_size": 11, "val_size": 7, "test_size": 5, "steps": 24}
    return SyntheticSignals(kind, **{**given, "missing": 0.1, **options})


def made(segment_length: int | None = None, **options: Any) -> SequencePredictionData:  # noqa: ANN401
    corpus = options.pop("corpus", None) or signals()
    given = {"batch_size": 4, "eval_batch_size": 3, **options}
    data = SequencePredictionData(corpus, segment_length=segment_length, **given)
    data.setup()
    return data


def model(
    data: SequencePredictionData, encoder: EncoderFactory | None = None
) -> SequencePrediction:
    torch.manual_seed(1)
    task = SequencePrediction(
        dropout=0.0, encoder=encoder or ENCODERS["SRU"], optimizer=partial(SGD, lr=0.1)
    )
    task.metadata = data.metadata
    task.build(task.metadata)
    return task


def trainer(**options: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip


def loader(data: SequencePredictionData, split: str) -> ResumableLoader[StepsBatch]:
    found = data.loader(split)  # type: ignore[arg-type]
    assert isinstance(found, ResumableLoader)
    return found


def by_step(task: SequencePrediction, data: SequencePredictionData) -> dict[float, Tensor]:
    """Returns the outputs of all training steps by their features, which identify them."""
    found: dict[float, Tensor] = {}
    for batch in loader(data, "train"):
        outputs = task.outputs(batch, "train")
        assert outputs.shape[:2] == batch.inputs.shape[:2]
        for row, length in enumerate(batch.lengths.tolist()):
            keys = batch.inputs[row, :length].double().sum(-1).tolist()
            found.update(zip(keys, outputs[row, :length], strict=True))
    return found


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("segment_length", [1, 5, 100])
def test_segments_have_the_outputs_of_the_whole(encoder: str, segment_length: int) -> None:
    # Groups follow each other: each begins anew, whatever the state of the one before.
    whole, segments = made(), made(segment_length)
    task = model(whole, ENCODERS[encoder])
    expected, found = by_step(task, whole), by_step(task, segments)
    assert len(expected) == whole.datasets["train"].lengths.sum()
    assert found.keys() == expected.keys()
    for step, outputs in expected.items():
        torch.testing.assert_close(found[step], outputs, atol=1e-5, rtol=1e-4)


def test_gradients_end_at_the_start_of_a_segment() -> None:
    data = made(5)
    task = model(data)
    first, second, *_ = loader(data, "train")
    inputs = first.inputs.requires_grad_()
    task.outputs(first, "train")
    assert task.recurrent_state is not None
    assert not task.recurrent_state.requires_grad
    task.outputs(second, "train").sum().backward()
    assert inputs.grad is None
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_validation_between_two_segments_changes_nothing() -> None:
    data = made(5)
    task = model(data).eval()
    first, second, *_ = loader(data, "train")
    task.outputs(first, "train")
    expected = task.outputs(second, "train")
    task.outputs(first, "train")
    for batch in loader(data, "val"):
        task.outputs(batch, "val")
    assert torch.equal(task.outputs(second, "train"), expected)


def test_a_state_of_another_group_is_not_used() -> None:
    data = made(5)
    task = model(data).eval()
    _, second, *_ = loader(data, "train")
    fresh = task.outputs(second, "train")
    # A run that resumes with another batch size has a state of another size.
    for state in (torch.ones(2, len(second.lengths) + 1, 4), None):
        task.recurrent_state = state
        assert torch.equal(task.outputs(second, "train"), fresh)
    task.recurrent_state = torch.ones(2, len(second.lengths), 4)
    assert not torch.equal(task.outputs(second, "train"), fresh)


@pytest.mark.parametrize("kind", ["class", "labels", "numbers"])
def test_evaluation_does_not_depend_on_segments_and_batches(kind: Kind) -> None:
    corpus = signals(kind, val_size=13)
    task = model(made(corpus=corpus))
    found: list[dict[str, Any]] = []
    for segment_length, size in ((None, 3), (None, 13), (1, 13), (5, 3), (7, 2), (24, 1)):
        data = made(segment_length, corpus=corpus, eval_batch_size=size)
        (metrics,) = trainer().validate(task, data, verbose=False)
        found.append(dict(metrics))
    assert len(found[0]) > 2
    for metrics in found[1:]:
        assert metrics == pytest.approx(found[0], rel=1e-5, abs=1e-6)


def test_an_epoch_trains_on_every_segment_with_validation_in_between() -> None:
    data = made(5, horizon=2)
    task = model(data)
    before = task.head.weight.detach().clone()
    run = trainer(val_check_interval=2)
    run.fit(task, data)
    # 11 sequences in groups of 3, 4 and 4: at least 3 segments of 12 steps, at most 5 of 24.
    assert run.global_step == len(loader(data, "train")) == run.num_training_batches
    assert 9 <= run.global_step <= 15
    assert torch.isfinite(run.callback_metrics["train/loss"])
    assert not torch.equal(task.head.weight, before)


@pytest.mark.parametrize(
    "encoder",
    [partial(SRU, hidden_size=4, bidirectional=True), partial(CNN, channels=4)],
    ids=["bidirectional", "CNN"],
)
@pytest.mark.parametrize("doing", ["fit", "validate"])
def test_segments_need_an_encoder_that_carries_its_state(
    encoder: EncoderFactory, doing: str
) -> None:
    task = SequencePrediction(encoder=encoder)
    data = made(5)
    if doing == "validate":
        task = model(data, encoder)
    with pytest.raises(InputError, match="segment_length needs a recurrent encoder that is not"):
        getattr(trainer(), doing)(task, data)
    # Whole sequences are fine.
    getattr(trainer(), doing)(model(made(), encoder), made())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": -1}, "horizon must be at least 0, got -1"),
        ({"horizon": []}, r"horizon must be one or several different numbers, got \[\]"),
        ({"horizon": [1, 1]}, r"horizon must be one or several different numbers, got \[1, 1\]"),
        ({"horizon": [1, 2]}, r"horizon must be one number for classes, got \[1, 2\]"),
        ({"segment_length": 0}, "segment_length must be at least 1, got 0"),
        ({"corpus": signals(per="sequence"), "segment_length": 5}, "segment_length needs a target"),
        ({"corpus": signals(per="sequence"), "horizon": 1}, "horizon needs a target at each step"),
        ({"horizon": 24}, "horizon must be below 23, the number of steps of the longest train"),
        ({"intervals": True}, "intervals need the time of each step"),
    ],
)  # fmt: skip
def test_options_that_contradict_the_corpus_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        made(**options)


def test_the_checkpoint_decides_what_is_predicted() -> None:
    trained = made(corpus=signals("labels"), horizon=[2, 4]).metadata
    data = SequencePredictionData(signals("labels"))
    data.load_metadata(trained)
    data.setup()
    assert data.metadata == trained
    assert data.datasets["val"].targets.shape[1] == 6  # type: ignore[attr-defined]
    with pytest.raises(
        InputError, match=r"horizon must be \[2, 4\] as in the checkpoint, got \[2\]"
    ):
        SequencePredictionData(signals("labels"), horizon=2).load_metadata(trained)
    for other in (signals("numbers"), signals("labels", per="sequence")):
        with pytest.raises(InputError, match=r"targets of the checkpoint \(labels per step\), got"):
            SequencePredictionData(other).load_metadata(trained)


def test_other_processes_read_the_rest() -> None:
    found = []
    for rank in (0, 1):
        data = made(5, batch_size=2)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        found.append([(batch.is_first, len(batch.lengths)) for batch in loader(data, "train")])
    assert [first for first, _ in found[0]] == [first for first, _ in found[1]]
    data = made(5)
    assert [a + b for (_, a), (_, b) in zip(*found, strict=True)] == [
        len(batch.lengths) for batch in loader(data, "train")
    ]
