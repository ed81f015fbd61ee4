"""Every task trains, measures and predicts in every precision that Lightning offers."""

import math
import warnings
from pathlib import Path

import pytest
import torch

from srulight import load
from srulight.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
COMMON = [
    "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--model.dropout=0.1",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=2", "--model.optimizer.lr=0.01",
]  # fmt: skip
TASKS = {
    "sentences": [
        f"--config={CONFIGS / 'quickstart.yaml'}", "--data.corpus=Grammar",
        "--data.corpus.train_size=160", "--data.corpus.val_size=32", "--data.corpus.test_size=32",
        *COMMON,
    ],
    "text": [
        f"--config={CONFIGS / 'language_model.yaml'}", "--data.corpus=GrammarText",
        "--data.corpus.train_size=60", "--data.corpus.val_size=9", "--data.corpus.test_size=9",
        *COMMON, "--data.batch_size=4",
    ],
}  # fmt: skip
ENCODERS = {"sentences": ("SRU", "LSTM", "GRU", "QRNN", "CNN"), "text": ("SRU", "LSTM", "QRNN")}
NARROW = ("bf16-mixed", "16-mixed", "bf16-true", "64-true")
RUNS = [
    (task, encoder, precision)
    for task, encoders in ENCODERS.items()
    for encoder in encoders
    for precision in (NARROW if encoder == "SRU" else ("bf16-mixed", "64-true"))
]


@pytest.mark.parametrize(("task", "encoder", "precision"), RUNS)
def test_fit_test_and_predict(
    task: str,
    encoder: str,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SRULIGHT_EXTENSION", "off")
    args = [*TASKS[task], f"--model.encoder={encoder}", f"--trainer.precision={precision}"]
    if encoder == "CNN":
        args = [arg for arg in args if "hidden_size" not in arg]
    with warnings.catch_warnings():
        # Lightning says that a CPU takes bfloat16 in place of float16.
        warnings.filterwarnings("ignore", message=".*precision='16-mixed'.*not supported on CPU")
        main(["fit", *args, f"--trainer.default_root_dir={tmp_path / 'runs'}"])
        best = tmp_path / "runs" / "version_0" / "checkpoints" / "best.ckpt"
        capsys.readouterr()
        main(["test", f"--ckpt_path={best}", "--trainer.enable_progress_bar=false"])
    assert "test/loss" in capsys.readouterr().out
    stored = torch.load(best, weights_only=True)
    kept = {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision, torch.float32)
    weights = stored["state_dict"].items()
    assert {w.dtype for name, w in weights if name.startswith("encoder.")} == {kept}
    # Better than chance, which is the number of words, or of classes.
    chance = math.log(len(stored["metadata"]["words"]) if task == "text" else 2)
    assert 0 < float(stored["place"]["metrics"]["val/loss"]) < chance + 0.05
    (answer,) = load(best).predict(["the plot was dull ."])
    assert math.isfinite(answer[0] if task == "text" else answer[1])
