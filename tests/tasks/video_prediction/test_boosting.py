"""Boosted networks: gradients, line search, and what a committee leaves in its checkpoint."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn

from srulight import GRU, SRU, load
from srulight.cli import main
from srulight.ops import extension
from srulight.runtime.errors import InputError
from srulight.tasks.video_prediction import (
    BoostedVideoPrediction,
    SyntheticTools,
    VideoPredictionData,
)
from srulight.tasks.video_prediction.committee import Phase, phases
from srulight.tasks.video_prediction.line_search import STEPS
from srulight.video.batch import ClipBatch
from tests.tasks.video_prediction.models import RESNET, metadata, video

CONFIG = Path(__file__).parents[3] / "configs" / "video_boosted.yaml"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def made(**options: Any) -> BoostedVideoPrediction:  # noqa: ANN401
    task = BoostedVideoPrediction(
        **{"frames": RESNET, "encoder": partial(SRU, hidden_size=4, num_layers=1), **options}
    )
    task.metadata = metadata("labels")
    task.build(task.metadata)
    return task


def batch_of(*lengths: int) -> ClipBatch:
    longest = max(lengths)
    frames = torch.stack([torch.from_numpy(video(longest, seed=i)) for i in range(len(lengths))])
    targets = torch.randint(2, (len(lengths), longest, 3)).float()
    for row, length in zip(targets, lengths, strict=True):
        row[length:] = torch.nan
    return ClipBatch(
        frames.unsqueeze(2),
        torch.tensor(lengths),
        targets,
        torch.ones(len(lengths), 2),
        True,
        False,
    )


def test_order_of_the_phases() -> None:
    assert phases(2, 1, 2) == [
        Phase("cnn", 0, False, False), Phase("cnn", 0, False, True),
        Phase("rnn", 0, False, False), Phase("rnn", 0, False, True),
        Phase("cnn", 1, False, False), Phase("cnn", 1, True, True),
    ]  # fmt: skip
    steps = STEPS.tolist()
    assert (len(steps), steps[0], steps[1], steps[-1]) == (22, 0, 1 / 32, 32)
    assert steps[11] == 1


def test_the_wanted_change_is_the_negative_gradient_of_the_whole_loss() -> None:
    torch.manual_seed(0)
    task = made().double().eval()
    task.beta[:] = torch.tensor([1.0, 0.5])
    batch = batch_of(4, 2)
    x = torch.randn(2, 4, 3, dtype=torch.float64)

    def loss(x: Tensor) -> float:
        return float(task.target.loss(task.sequence_outputs(x, batch.lengths), batch.targets)[0])

    found = task.descent(batch, x, lambda x: task.sequence_outputs(x, batch.lengths))
    with torch.no_grad():
        for place in ((0, 0, 0), (0, 3, 2), (1, 1, 1), (1, 3, 0)):
            change = torch.zeros_like(x)
            change[place] = 1e-5
            slope = (loss(x + change) - loss(x - change)) / 2e-5
            assert float(found[place]) == pytest.approx(-slope, abs=1e-7)
    assert found[1, 2:].abs().max() == 0  # padding
    residual = task.descent(batch, x, lambda x: x)
    expected = (batch.targets - x.sigmoid()).nan_to_num()
    torch.testing.assert_close(residual, expected)


class Given(nn.Module):
    """Gives the same outputs for all frames."""

    def __init__(self, output: float) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.full((*x.shape[: 1 if lengths is None else 2], 3), self.output)


class Scaled(nn.Module):
    """Multiplies the outputs of the CNNs."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.factor * x


@pytest.mark.parametrize(
    ("kind", "factor", "chosen"),
    # Three of four targets are 1. The loss of a constant output a is lowest at ln 3 = 1.0986. Among
    # the powers of the root of 2, that is 1 (loss 2.253; 2.285 at 1.414).
    [("cnn", 1.0, 1.0), ("cnn", 0.25, 4.0), ("rnn", 1.0, 1.0), ("cnn", -1.0, 0.0)],
)
def test_line_search(
    monkeypatch: pytest.MonkeyPatch,
    kind: Any,  # noqa: ANN401
    factor: float,
    chosen: float,
) -> None:
    task = made()
    zero, one = Given(0.0), Given(1.0)
    if kind == "cnn":
        task.frame_networks = nn.ModuleList([zero, one])
        task.sequence_networks = nn.ModuleList([Scaled(factor), zero])
    else:
        task.frame_networks = nn.ModuleList([zero, zero])
        task.sequence_networks = nn.ModuleList([zero, one])
    task.beta[0] = 1
    phase = Phase(kind, 1, True, True)
    monkeypatch.setattr(BoostedVideoPrediction, "phase", phase)
    batch = batch_of(4)._replace(
        targets=torch.tensor([1.0, 1, 0, 1]).view(1, 4, 1).expand(-1, -1, 3)
    )
    for _ in range(2):
        total, count = task.loss(batch)
        total.backward()
    assert int(count) == 12
    assert float(total.detach()) == pytest.approx(12 * 0.693147)
    assert float(task.search.losses[0]) == pytest.approx(24 * 0.693147)
    task._trainer = type("T", (), {"is_last_batch": True})()
    task.on_train_batch_end(None, batch, 0)
    weights = task.alpha if kind == "cnn" else task.beta
    assert weights.tolist() == [1, chosen]
    assert task.search.losses.abs().sum() == 0


@pytest.mark.parametrize("encoder", [SRU, GRU])
def test_only_the_learner_changes(monkeypatch: pytest.MonkeyPatch, encoder: Any) -> None:  # noqa: ANN401
    task = made(encoder=partial(encoder, hidden_size=4, num_layers=1), cnns=2, rnns=2)
    batch = batch_of(4, 2)
    for phase in (phase for phase in phases(2, 2, 2) if not phase.is_search):
        monkeypatch.setattr(BoostedVideoPrediction, "phase", phase)
        task.zero_grad()
        total, count = task.loss(batch)
        assert int(count) == 18
        total.backward()
        networks = task.frame_networks if phase.kind == "cnn" else task.sequence_networks
        learner = {*networks[phase.number].parameters()}
        assert {p for p in task.parameters() if p.grad is not None} == learner


def data(**options: Any) -> VideoPredictionData:  # noqa: ANN401
    corpus = SyntheticTools(train_size=6, val_size=3, test_size=1, frames=10, interval=3.0)
    return VideoPredictionData(corpus, height=8, width=8, batch_size=2, **options)


class Losses(BoostedVideoPrediction):
    """Measures the loss of the whole system on the training data after each network."""

    whole: list[float]

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        assert self.phase is not None
        if self.phase.is_last and not self.trainer.sanity_checking:
            found = [
                self.target.loss(self(batch.frames, batch.lengths), batch.targets)
                for batch in self.trainer.datamodule.loader("train")  # type: ignore[attr-defined]
            ]
            self.whole.append(float(sum(total for total, _ in found)))
        self.stopped.fill_(False)
        self.trainer.should_stop = False


def trainer(folder: Path, **options: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def test_each_further_network_lowers_the_training_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = Losses(
        RESNET, encoder=partial(SRU, hidden_size=4, num_layers=1), cnns=3, rnns=3, network_epochs=2
    )
    task.whole = []
    trainer(tmp_path, max_epochs=12).fit(task, data())
    assert len(task.whole) == 6
    for before, after in zip(task.whole[1:], task.whole[2:], strict=False):
        assert after <= before * (1 + 1e-6)
    assert task.whole[-1] < task.whole[1]
    assert (task.alpha[1:] > 0).any() or (task.beta[1:] > 0).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_checkpoint_contains_the_whole_committee(tmp_path: Path, bidirectional: bool) -> None:
    encoder = partial(SRU, hidden_size=4, num_layers=1, bidirectional=bidirectional)
    task = BoostedVideoPrediction(RESNET, encoder=encoder, network_epochs=2)
    own = trainer(tmp_path, max_epochs=1)
    own.fit(task, data())
    task.alpha[:], task.beta[:] = torch.tensor([1.0, 0.5]), torch.tensor([1.0, 2.0])
    own.save_checkpoint(tmp_path / "x.ckpt")
    loaded = load(tmp_path / "x.ckpt", frames=RESNET, encoder=encoder)
    frames: Any = video(7, 32, 32)
    found, expected = loaded.predict(frames), task.predict(frames, 3)
    for one, other in zip(found[0], expected[0], strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(frames)[:, None], (8, 8), mode="bilinear", antialias=True
    )
    with torch.no_grad():
        whole = task(resized[None], torch.tensor([7]))[0].sigmoid()
    assert [one.probabilities for one in found[0]] == [
        pytest.approx(row, abs=1e-5) for row in whole.tolist()
    ]


def fit(folder: Path, *args: str) -> dict[str, Any]:
    options = [
        f"--config={CONFIG}", "--data.corpus=SyntheticTools", "--data.corpus.train_size=6",
        "--data.corpus.val_size=3", "--data.corpus.test_size=1", "--data.corpus.frames=10",
        "--data.height=8", "--data.width=8", "--data.batch_size=2", "--model.network_epochs=2",
        "--model.frames.width=4", "--model.encoder.hidden_size=4", "--trainer.max_epochs=6",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    main(["fit", *options, f"--trainer.default_root_dir={folder}", *args])
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    found: dict[str, Any] = torch.load(last, weights_only=True)
    return found


@pytest.mark.slow
def test_a_run_that_stops_within_a_phase_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoostedVideoPrediction, "_improves", lambda self, score: True)
    whole = fit(tmp_path / "whole")
    assert (whole["global_step"], whole["epoch"]) == (18, 6)
    # Each epoch has 3 steps: within the fit of the second CNN, and within its line search.
    fit(tmp_path / "parts", "--trainer.max_steps=13")
    fit(tmp_path / "parts", "--ckpt_path=auto", "--trainer.max_steps=17")
    parts = fit(tmp_path / "parts", "--ckpt_path=auto", "--trainer.max_steps=-1")
    assert parts["global_step"] == 18
    for name, weight in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], weight), name


def test_a_network_that_does_not_improve_the_first_two_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoostedVideoPrediction, "_improves", lambda self, score: False)
    task = BoostedVideoPrediction(RESNET, encoder=partial(SRU, hidden_size=4), network_epochs=2)
    own = trainer(tmp_path, max_epochs=9)
    own.fit(task, data())
    assert own.current_epoch == 6  # two epochs for each of the first CNN, the first RNN, and a CNN
    again = trainer(tmp_path, max_epochs=9)
    again.fit(task, data())  # such as a run that resumes
    assert again.current_epoch == 0


def test_what_it_cannot_train_on(tmp_path: Path) -> None:
    for kind, per in (("class", "frame"), ("labels", "clip")):
        with pytest.raises(InputError, match="needs labels per frame, got"):
            BoostedVideoPrediction(RESNET).build(metadata(kind, per))
    with pytest.raises(InputError, match=r"reads whole clips, got --data\.segment_length=4"):
        trainer(tmp_path, max_epochs=1).fit(BoostedVideoPrediction(RESNET), data(segment_length=4))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"network_epochs": 1}, "network_epochs must be at least 2, got 1"),
        ({"cnns": 0}, "cnns must be 1 to 100, got 0"),
        ({"rnns": 0}, "rnns must be 1 to 100, got 0"),
    ]
    for options, says in wrong:
        with pytest.raises(InputError, match=says):
            BoostedVideoPrediction(**options)
