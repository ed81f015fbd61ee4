"""Every task trains, evaluates and predicts in every precision that Lightning offers on a CPU."""

import csv
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight import load
from srulight.cli import main
from srulight.commands import training
from srulight.ops import extension
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF

CONFIGS = Path(__file__).parents[1] / "configs"
COMMON = [
    "--model.embedding_size=8", "--model.dropout=0", "--model.optimizer.lr=0.02",
    "--trainer.max_epochs=3", "--trainer.enable_model_summary=false",
    "--trainer.enable_progress_bar=false",
]  # fmt: skip
TASKS = {
    "sentences": [
        f"--config={CONFIGS / 'quickstart.yaml'}", "--data.corpus=Grammar",
        "--data.corpus.train_size=128", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
        "--data.batch_size=16", *COMMON,
    ],
    "text": [
        f"--config={CONFIGS / 'language_model.yaml'}", "--data.corpus=GrammarText",
        "--data.corpus.train_size=40", "--data.corpus.val_size=9", "--data.corpus.test_size=9",
        "--data.batch_size=4", *COMMON,
    ],
    "sequences": [
        f"--config={CONFIGS / 'sequences.yaml'}", "--data.corpus=SyntheticSignals",
        "--data.corpus.kind=numbers", "--data.corpus.train_size=64", "--data.corpus.val_size=9",
        "--data.corpus.test_size=9", "--data.corpus.steps=40", "--data.batch_size=8",
        "--data.segment_length=16", *COMMON,
    ],
    "videos": [
        f"--config={CONFIGS / 'video.yaml'}", "--data.corpus=SyntheticTools",
        "--data.corpus.train_size=24", "--data.corpus.val_size=6", "--data.corpus.test_size=6",
        "--data.corpus.frames=16", "--data.batch_size=4", "--data.segment_length=8",
        "--data.height=8", "--data.width=8", "--model.frames.width=4",
        *[option for option in COMMON if "embedding_size" not in option],
    ],
    "poses": [
        f"--config={CONFIGS / 'pose.yaml'}", "--data.corpus=SyntheticPoses",
        "--data.corpus.train_size=24", "--data.corpus.val_size=3", "--data.corpus.test_size=3",
        "--data.corpus.frames=12", "--data.height=16", "--data.width=16", "--data.batch_size=4",
        "--data.segment_length=8", "--model.frames.width=8",
        *[option for option in COMMON if "embedding_size" not in option and "drop" not in option],
    ],
    "translation": [
        f"--config={CONFIGS / 'translation.yaml'}", "--data.corpus=SyntheticNumbers",
        "--data.corpus.train_size=60", "--data.corpus.val_size=9", "--data.corpus.test_size=9",
        "--data.batch_tokens=200", "--model.translator.dropout=0",
        *[option for option in COMMON if "model.dropout" not in option],
    ],
    "questions": [
        f"--config={CONFIGS / 'questions.yaml'}", "--data.corpus=SyntheticStories",
        "--data.corpus.train_size=40", "--data.corpus.val_size=4", "--data.corpus.test_size=4",
        "--data.batch_size=16", "--model.word_dropout=0", *COMMON,
    ],
    "speech": [
        f"--config={CONFIGS / 'speech.yaml'}", "--data.corpus=SyntheticDTMF",
        "--data.corpus.train_size=60", "--data.corpus.val_size=9", "--data.corpus.test_size=9",
        "--data.features.num_mels=16", "--model.subsampling.channels=8",
        *[option for option in COMMON if "embedding_size" not in option],
    ],
}  # fmt: skip
ENCODERS = {
    "sentences": ("SRU", "LSTM", "GRU", "QRNN", "SRUpp", "CNN", "ResidualCNN"),
    "text": ("SRU", "LSTM", "GRU", "QRNN", "SRUpp"),
    "sequences": ("SRU", "LSTM", "QRNN", "SRUpp"),
    "videos": ("SRU",),
    "poses": ("ConvSRU", "ConvLSTM"),
    "speech": ("SRU", "LSTM", "ResidualCNN"),
    "translation": ("SRU", "LSTM", "Transformer"),
    "questions": ("SRU", "LSTM"),
}
# In 16-true the smallest squares of gradients are zero, and Adam's steps have no measure.
FAST = ("sentences", "SRU", "bf16-mixed")
EVERY = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
RUNS = [
    pytest.param(
        task,
        encoder,
        precision,
        marks=() if (task, encoder, precision) == FAST else pytest.mark.slow,
    )
    for task, encoders in ENCODERS.items()
    for encoder in encoders
    for precision in (EVERY if encoder in ("SRU", "ConvSRU") else ("bf16-mixed",))
]
LISTED = ("translation", "questions", "sequences", "videos")
KEPT = {"bf16-true": torch.bfloat16, "64-true": torch.float64}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def told(precision: str) -> AbstractContextManager[object]:
    """Checks that the user hears of what Lightning takes in place of float16."""
    if precision != "16-mixed":
        return nullcontext()
    return pytest.warns(
        UserWarning, match="supported on CPU. Using `precision='bf16-mixed'` instead"
    )


def answer_number(task: str, answer: Any) -> float:  # noqa: ANN401
    """Returns a number from an answer."""
    if task == "sequences":
        return float(answer.values[0])
    if task == "videos":
        return float(answer.probabilities[0])
    if task == "poses":
        return float(answer.points[0, 0, 0])
    return float({"text": answer[0], "questions": answer[-1]}.get(task, answer[1]))


@pytest.mark.parametrize(("task", "encoder", "precision"), RUNS)
def test_it_learns_measures_and_predicts(
    task: str, encoder: str, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*TASKS[task], f"--trainer.precision={precision}"]
    if encoder == "Transformer":
        args += ["--model.translator=Transformer", "--model.translator.num_layers=1"]
    elif task == "translation":
        for side in ("encoder", "decoder"):
            args += [f"--model.translator.{side}={encoder}"]
            args += [f"--model.translator.{side}.hidden_size=8"]
    elif task == "poses":
        args += [f"--model.head.encoder={encoder}", "--model.head.encoder.hidden_size=8"]
    else:
        args.append(f"--model.encoder={encoder}")
    if "CNN" not in encoder and task not in ("translation", "poses"):
        args.append("--model.encoder.hidden_size=8")
    if encoder == "ResidualCNN":
        args += ["--model.optimizer.lr=0.001", "--model.encoder.channels=16"]
    with told(precision):
        main(["fit", *args, f"--trainer.default_root_dir={tmp_path / 'runs'}"])
    run = tmp_path / "runs" / "version_0"
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    # They are summed wider than the model is.
    assert any(loss != torch.tensor(loss).bfloat16().item() for loss in losses)

    last = run / "checkpoints" / "last.ckpt"
    weights = torch.load(last, weights_only=True)["state_dict"]
    dtype = KEPT.get(precision, torch.float32)
    names = ("encoder.", "translator.", "reader.", "head.")
    assert {w.dtype for name, w in weights.items() if name.startswith(names)} == {dtype}
    capsys.readouterr()
    with told(precision):
        main(["test", f"--ckpt_path={last}", "--trainer.enable_progress_bar=false"])
    assert "test/loss" in capsys.readouterr().out
    heard = SyntheticDTMF(60, 9, 9).read(tmp_path).test[0].audio[0] if task == "speech" else None
    raw: Any = str(heard or "the plot was dull .")
    if task == "sequences":
        raw = torch.randn(5, 3)
    elif task in ("videos", "poses"):
        raw = torch.randint(0, 256, (5, 20, 20), dtype=torch.uint8)
    (answer,) = load(last).predict([(raw, "what?") if task == "questions" else raw])
    answer = answer[0] if task in LISTED else answer
    assert math.isfinite(answer_number(task, answer))


@pytest.mark.parametrize("slow", [True, False])
def test_slow_halves_are_mentioned(
    slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training, "SLOW_TYPES", (torch.bfloat16,) if slow else ())
    options = ["--trainer.precision=bf16-mixed", "--trainer.fast_dev_run=true"]
    with caplog.at_level("INFO"):
        main(["fit", *TASKS["sentences"], *options, f"--trainer.default_root_dir={tmp_path}"])
    assert ("--trainer.precision=32-true is usually faster" in caplog.text) == slow
