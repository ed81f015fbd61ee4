"""A run that is stopped anywhere and resumed ends like one that was never stopped."""

import csv
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.cli import main
from srulight.ops import extension
from srulight.training.callbacks.epoch_line import EpochLine
from srulight.training.resume.checkpoint_io import AtomicCheckpointIO
from srulight.training.resume.last_checkpoint import LastCheckpoint

CONFIGS = Path(__file__).parents[3] / "configs"
PLATEAU = "lightning.pytorch.cli.ReduceLROnPlateau"
COMMON = [
    "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--model.dropout=0.3",
    "--model.encoder.dropout=0.3", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--trainer.max_epochs=3",
    "--trainer.log_every_n_steps=3", "--trainer.callbacks=LastCheckpoint",
    "--trainer.callbacks.every_n_steps=4",
]  # fmt: skip
# 10 batches an epoch, both.
SENTENCES = [
    f"--config={CONFIGS / 'quickstart.yaml'}", "--data.corpus=Grammar",
    "--data.corpus.train_size=320", "--data.corpus.val_size=70", "--data.corpus.test_size=16",
    *COMMON, "--model.word_dropout=0.1",
]  # fmt: skip
TEXT = [
    f"--config={CONFIGS / 'language_model.yaml'}", "--data.corpus=GrammarText",
    "--data.corpus.train_size=60", "--data.corpus.val_size=9", *COMMON, "--data.batch_size=4",
    "--data.segment_length=14", "--data.evaluation.tracks=3", "--data.evaluation.segment_length=8",
]  # fmt: skip
SPEECH = [
    f"--config={CONFIGS / 'speech.yaml'}", "--data.corpus=SyntheticDTMF",
    "--data.corpus.train_size=40",
    "--data.corpus.val_size=9", "--data.corpus.test_size=1", "--data.batch_frames=400",
    "--data.features.num_mels=12", "--model.subsampling.channels=8",
    "--model.augmentation.time_masks=1",
    *[option for option in COMMON if "embedding_size" not in option],
]  # fmt: skip
TRANSLATION = [
    f"--config={CONFIGS / 'translation.yaml'}", "--data.corpus=SyntheticNumbers",
    "--data.corpus.train_size=100", "--data.corpus.val_size=9", "--data.corpus.test_size=1",
    "--data.batch_tokens=160", "--model.translator.encoder.hidden_size=8",
    "--model.translator.decoder.hidden_size=8", "--model.translator.decoder.dropout=0.3",
    *[option for option in COMMON if "model" not in option], "--model.embedding_size=8",
]  # fmt: skip
QUESTIONS = [
    f"--config={CONFIGS / 'questions.yaml'}", "--data.corpus=SyntheticStories",
    "--data.corpus.train_size=53", "--data.corpus.val_size=9", "--data.corpus.test_size=1",
    "--data.batch_size=16", "--data.eval_batch_size=8", "--model.word_dropout=0.3",
    "--model.tuned_words=5",
    *[option for option in COMMON if "encoder.dropout" not in option],
]  # fmt: skip
# 10 batches an epoch, of 4 groups.
SEQUENCES = [
    f"--config={CONFIGS / 'sequences.yaml'}", "--data.corpus=SyntheticSignals",
    "--data.corpus.kind=labels", "--data.corpus.train_size=15", "--data.corpus.val_size=9",
    "--data.corpus.steps=40", "--data.batch_size=4", "--data.segment_length=16", *COMMON,
]  # fmt: skip
# 10 batches an epoch, of 5 groups.
VIDEOS = [
    f"--config={CONFIGS / 'video.yaml'}", "--data.corpus=SyntheticTools",
    "--data.corpus.train_size=10", "--data.corpus.val_size=3", "--data.corpus.test_size=1",
    "--data.corpus.frames=16", "--data.batch_size=2", "--data.segment_length=8",
    "--data.height=8", "--data.width=8", "--model.frames.width=4", "--model.frames.norm=batch",
    *[option for option in COMMON if "embedding_size" not in option],
]  # fmt: skip
POSES = [
    f"--config={CONFIGS / 'pose.yaml'}", "--data.corpus=SyntheticPoses",
    "--data.corpus.train_size=10", "--data.corpus.val_size=3", "--data.corpus.test_size=1",
    "--data.corpus.frames=12", "--data.height=16", "--data.width=16", "--data.batch_size=2",
    "--data.segment_length=8", "--data.augmentation.shift=0.1", "--model.frames.width=8",
    "--model.head.encoder.hidden_size=8", "--model.head.encoder.num_layers=2",
    "--model.head.encoder.dropout=0.3",
    *[option for option in COMMON if "model" not in option],
]  # fmt: skip
RARELY = ["--trainer.val_check_interval=0.3", "--trainer.accumulate_grad_batches=3"]
OPTIONS = {
    "plain": [],
    "accumulate": [
        *RARELY, "--model.scheduler=torch.optim.lr_scheduler.OneCycleLR",
        "--model.scheduler.max_lr=0.01", "--model.scheduler.total_steps=30",
    ],
    "plateau": [
        f"--model.scheduler={PLATEAU}", "--model.scheduler.monitor=val/loss",
        "--model.scheduler.mode=max", "--model.scheduler.patience=0",
    ],
    "max_steps": ["--trainer.max_steps=25"],
}  # fmt: skip


class Killed(BaseException):
    """Ends a run at once, like SIGKILL does."""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stop_at() -> Iterator[Callable[..., None]]:
    """Stops the next run in a hook after a number of steps."""
    patched = pytest.MonkeyPatch()

    def stop_at(hook: str, step: int, how: Callable[[], None] | None = None) -> None:
        def stop(self: EpochLine, trainer: Any, *_: object) -> None:  # noqa: ANN401
            if trainer.global_step >= step and not trainer.sanity_checking:
                patched.undo()
                if how is None:
                    raise Killed
                how()

        patched.setattr(EpochLine, hook, stop, raising=False)

    yield stop_at
    patched.undo()


def fit(folder: Path, *args: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Trains.

    Returns:
        The last checkpoint, and the log without what depends on the clock.
    """
    main(["fit", *args, f"--trainer.default_root_dir={folder}"])
    assert [path.name for path in folder.iterdir()] == ["version_0"]
    last = torch.load(folder / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    with (folder / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    clock = [name for name in rows[0] if "second" in name]
    return last, [{k: v for k, v in row.items() if k not in clock} for row in rows]


def same(one: Any, other: Any) -> bool:  # noqa: ANN401
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def check_equal(
    whole: tuple[dict[str, Any], list[dict[str, str]]],
    parts: tuple[dict[str, Any], list[dict[str, str]]],
) -> None:
    assert parts[0]["global_step"] == whole[0]["global_step"] > 0
    assert whole[0]["state_dict"]
    assert whole[0]["optimizer_states"][0]["state"]
    assert whole[0]["random_states"]
    for part in (
        "state_dict",
        "optimizer_states",
        "lr_schedulers",
        "random_states",
        "recurrent_state",
    ):
        assert same(whole[0][part], parts[0][part]), part
    assert parts[1] == whole[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "options"),
    [
        *((task, options) for task in (SENTENCES, TEXT, SEQUENCES) for options in OPTIONS),
        *((task, "plain") for task in (SPEECH, TRANSLATION, QUESTIONS, VIDEOS, POSES)),
        (SPEECH, "accumulate"),
    ],
    ids=[
        *(
            f"{task}-{options}"
            for task in ("sentences", "text", "sequences")
            for options in OPTIONS
        ),
        "speech-plain",
        "translation-plain",
        "questions-plain",
        "videos-plain",
        "poses-plain",
        "speech-accumulate",
    ],
)
def test_killed_anywhere(
    tmp_path: Path, task: list[str], options: str, stop_at: Callable[..., None]
) -> None:
    args = [*task, *OPTIONS[options]]
    whole = fit(tmp_path / "whole", *args)
    assert len(whole[1]) > 10
    done = int(whole[0]["global_step"])
    # Within an epoch, in its validation, at its last batch, and at its end. The last two do
    # not depend on the task.
    places = {
        "on_train_batch_end": done // 2 - 1,
        "on_validation_batch_end": done // 2,
        "on_validation_end": done // 2,
        "on_train_epoch_end": 2 * done // 3,
    }
    # One run is killed at one place after the other. Its end shows what any of them changed.
    folder = tmp_path / "parts"
    resume: list[str] = []
    for hook in places if task in (SENTENCES, TEXT) else list(places)[:2]:
        stop_at(hook, places[hook])
        with pytest.raises(Killed):
            fit(folder, *args, *resume)
        resume = ["--ckpt_path=auto"]
    check_equal(whole, fit(folder, *args, *resume))


@pytest.mark.parametrize(
    ("task", "number", "status"),
    [
        pytest.param(SENTENCES, signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(SENTENCES, signal.SIGINT, 130, marks=pytest.mark.slow),
        (TEXT, signal.SIGUSR1, 143),
    ],
    ids=["SIGTERM", "SIGINT", "SIGUSR1"],
)
def test_asked_to_stop(
    tmp_path: Path, task: list[str], number: int, status: int, stop_at: Callable[..., None]
) -> None:
    args = [*task, *RARELY]
    whole = fit(tmp_path / "whole", *args)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    for hook in ("on_train_batch_end", "on_validation_batch_end"):
        stop_at(hook, 6, lambda: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as leaving:
            fit(tmp_path / hook, *args)
        assert leaving.value.code == status
        # It stops at the end of the current step, not when the next checkpoint is due.
        last = tmp_path / hook / "version_0" / "checkpoints" / "last.ckpt"
        assert torch.load(last, weights_only=True)["global_step"] in (6, 7)
        check_equal(whole, fit(tmp_path / hook, *args, "--ckpt_path=auto"))
    now = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    assert now == handlers


@pytest.mark.slow
def test_asked_to_stop_after_the_last_batch_of_an_epoch(
    tmp_path: Path, stop_at: Callable[..., None]
) -> None:
    args = [*SENTENCES, *OPTIONS["plateau"]]
    whole = fit(tmp_path / "whole", *args)
    for step in (10, 30):
        stop_at("on_validation_batch_end", step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            fit(tmp_path / str(step), *args)
        check_equal(whole, fit(tmp_path / str(step), *args, "--ckpt_path=auto"))


def test_killed_after_it_was_stopped_in_a_validation(
    tmp_path: Path, stop_at: Callable[..., None]
) -> None:
    args = [*SENTENCES, "--trainer.val_check_interval=0.3"]
    whole = fit(tmp_path / "whole", *args)
    stop_at("on_validation_batch_end", 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        fit(tmp_path / "parts", *args)
    # The run resumes from the checkpoint after the next validation, at step 9.
    stop_at("on_train_batch_end", 10)
    with pytest.raises(Killed):
        fit(tmp_path / "parts", *args, "--ckpt_path=auto")
    check_equal(whole, fit(tmp_path / "parts", *args, "--ckpt_path=auto"))


@pytest.mark.slow
def test_averaged_weights_resume_exactly(tmp_path: Path, stop_at: Callable[..., None]) -> None:
    average = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"]
    stopping = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss",
                "--trainer.callbacks.patience=20"]  # fmt: skip
    args = [*SENTENCES, *RARELY, *average, *stopping]
    whole = fit(tmp_path / "whole", *args)
    assert whole[0]["averaging_state"]["n_averaged"] == whole[0]["global_step"]
    assert not same(whole[0]["state_dict"], whole[0]["current_model_state"])
    stops: dict[str, Callable[[], None] | None] = {
        "on_train_batch_end": None,
        # While averaged weights are in the place of the current ones.
        "on_validation_batch_end": lambda: os.kill(os.getpid(), signal.SIGTERM),
    }
    for hook, how in stops.items():
        stop_at(hook, 6, how)
        with pytest.raises((Killed, SystemExit)):
            fit(tmp_path / hook, *args)
        parts = fit(tmp_path / hook, *args, "--ckpt_path=auto")
        check_equal(whole, parts)
        for part in ("current_model_state", "averaging_state"):
            assert same(whole[0][part], parts[0][part]), (hook, part)
        (early, resumed) = (
            [state for name, state in last["callbacks"].items() if "EarlyStopping" in name]
            for last in (whole[0], parts[0])
        )
        assert early
        assert same(early, resumed), hook


@pytest.mark.slow
def test_sparse_epochs_resume_exactly(tmp_path: Path, stop_at: Callable[..., None]) -> None:
    args = [
        *SENTENCES, "--model.encoder.sparse_backward.threshold=0.5",
        "--trainer.callbacks+=SparseEpochs", "--trainer.callbacks.epochs=2",
    ]  # fmt: skip
    whole = fit(tmp_path / "whole", *args)
    shares = [float(row["train/kept_share"]) for row in whole[1] if row["train/kept_share"]]
    assert all(0.1 < share < 0.9 for share in shares[:2])
    assert shares[2:] == [1.0]
    resume: list[str] = []
    for hook, step in {"on_train_batch_end": 7, "on_validation_end": 20}.items():
        stop_at(hook, step)
        with pytest.raises(Killed):
            fit(tmp_path / "parts", *args, *resume)
        resume = ["--ckpt_path=auto"]
    check_equal(whole, fit(tmp_path / "parts", *args, *resume))


@pytest.mark.slow
def test_workers_and_the_end_of_max_steps(tmp_path: Path, stop_at: Callable[..., None]) -> None:
    args = [*SENTENCES, "--data.num_workers=2"]
    whole = fit(tmp_path / "whole", *args)
    stop_at("on_train_batch_end", 15)
    with pytest.raises(Killed):
        fit(tmp_path / "killed", *args)
    check_equal(whole, fit(tmp_path / "killed", *args, "--ckpt_path=auto"))
    # A run that ends within an epoch can resume from there.
    for steps in ("17", "20", "30"):
        parts = fit(
            tmp_path / "steps", *SENTENCES, f"--trainer.max_steps={steps}", "--ckpt_path=auto"
        )
    check_equal(whole, parts)


def test_batches_of_another_size(
    tmp_path: Path, stop_at: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    stop_at("on_train_batch_end", 7)
    with pytest.raises(Killed):
        fit(tmp_path, *SENTENCES)  # its last checkpoint is of step 4
    last, _ = fit(tmp_path, *SENTENCES, "--data.batch_size=16", "--ckpt_path=auto")
    assert "changed from 10 to 20; the epoch resumes after batch 8 instead of 4" in caplog.text
    assert last["global_step"] == 4 + 12 + 20 + 20
    assert last["epoch"] == 3


def test_another_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    fit(tmp_path, *SENTENCES, "--trainer.max_epochs=1")
    with pytest.raises(SystemExit, match="error: the model must match the checkpoint, but 14 weig"):
        fit(tmp_path, *SENTENCES, "--ckpt_path=auto", "--model.encoder=LSTM")
    assert fit(tmp_path, *SENTENCES, "--ckpt_path=auto")[0]["epoch"] == 3


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(tmp_path / "whole", *SENTENCES)
    fit(tmp_path / "parts", *SENTENCES, "--trainer.max_epochs=2")
    folder = tmp_path / "parts" / "version_0" / "checkpoints"
    last, previous = folder / "last.ckpt", (folder / "previous.ckpt").read_bytes()
    last.write_bytes(last.read_bytes()[:3000])

    save = AtomicCheckpointIO.save_checkpoint

    def die(self: AtomicCheckpointIO, checkpoint: Any, path: Any, **_: object) -> None:  # noqa: ANN401
        if Path(path).name == "last.ckpt":
            raise Killed
        save(self, checkpoint, path)

    with monkeypatch.context() as patched:
        patched.setattr(AtomicCheckpointIO, "save_checkpoint", die)
        with pytest.raises(Killed):
            fit(tmp_path / "parts", *SENTENCES, "--ckpt_path=auto")
    assert (folder / "previous.ckpt").read_bytes() == previous
    check_equal(whole, fit(tmp_path / "parts", *SENTENCES, "--ckpt_path=auto"))


def test_every_n_steps_is_a_number_of_steps() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        LastCheckpoint(every_n_steps=0)
