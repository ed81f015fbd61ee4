"""Two processes on one machine do what one does."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
SAVE = [
    "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=3",
    "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.filename={step}",
    "--trainer.callbacks.enable_version_counter=false",
]  # fmt: skip
TWO = ["--trainer.strategy=ddp", "--trainer.devices=2", "--data.batch_size=2"]


def run(command: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), command, *args,
         "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def fit(folder: Path, *args: str) -> dict[str, Any]:
    run(
        "fit", f"--config={ROOT / 'configs' / 'language_model.yaml'}", *SAVE,
        "--data.corpus=GrammarText", "--data.corpus.train_size=60", "--data.corpus.val_size=9",
        "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--data.eval_tracks=3",
        "--trainer.max_epochs=2", f"--trainer.default_root_dir={folder}", *args,
    )  # fmt: skip
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    return torch.load(last, weights_only=True)


def weights(checkpoint: dict[str, Any]) -> torch.Tensor:
    return torch.cat([w.flatten() for w in checkpoint["state_dict"].values()])


@pytest.mark.slow
def test_a_language_model_on_two_processes(tmp_path: Path) -> None:
    exact = ["--model.dropout=0", "--model.encoder.dropout=0"]
    one = fit(tmp_path / "one", "--data.batch_size=4", *exact)
    two = fit(tmp_path / "two", *TWO, *exact)
    torch.testing.assert_close(weights(two), weights(one), atol=1e-4, rtol=1e-3)

    # Stopped in the middle of an epoch, and resumed, with dropout that differs between the two.
    whole = fit(tmp_path / "whole", *TWO)
    folder = tmp_path / "whole" / "version_0" / "checkpoints"
    states = torch.load(folder / "step=6.ckpt", weights_only=True)["carried"]
    assert len(states) == 2
    assert not torch.equal(*states)
    resumed = f"--ckpt_path={folder / 'step=6.ckpt'}"
    where = f"--trainer.default_root_dir={tmp_path / 'whole'}"
    run("fit", resumed, where)
    again = torch.load(folder / "last.ckpt", weights_only=True)
    assert again["global_step"] == whole["global_step"]
    assert torch.equal(weights(again), weights(whole))

    # Three tracks on two processes are three tracks.
    measured = [
        run("test", f"--ckpt_path={folder / 'last.ckpt'}", f"--trainer.devices={n}") for n in (1, 2)
    ]
    one_process, two_processes = (
        [float(n) for n in re.findall(r"test/\w+\D+(\d+\.\d+)", out)] for out in measured
    )
    assert len(one_process) == 2
    assert two_processes == pytest.approx(one_process, rel=1e-6)
