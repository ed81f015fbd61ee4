"""Two processes, on one machine or two, train like a single one."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.documents import ROOT
from tests.python import python

SAVE = [
    "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=3",
    "--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.filename={step}",
    "--trainer.callbacks.enable_version_counter=false",
]  # fmt: skip
TWO = ["--trainer.strategy=ddp", "--trainer.devices=2", "--data.batch_size=2"]


def run(command: str, *args: str) -> str:
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    done = python(ROOT / "train.py", command, *args, *quiet)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fit(folder: Path, *args: str) -> dict[str, Any]:
    run(
        "fit", f"--config={ROOT / 'configs' / 'language_model.yaml'}", *SAVE,
        "--data.corpus=GrammarText", "--data.corpus.train_size=60", "--data.corpus.val_size=9",
        "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--data.evaluation.tracks=3",
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
    states = torch.load(folder / "step=6.ckpt", weights_only=True)["recurrent_state"]
    assert len(states) == 2
    assert not torch.equal(*states)
    resumed = f"--ckpt_path={folder / 'step=6.ckpt'}"
    where = f"--trainer.default_root_dir={tmp_path / 'whole'}"
    run("fit", resumed, where, "--trainer.strategy=ddp", "--trainer.devices=2")
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


CLASSIFIER = [
    "fit", f"--config={ROOT / 'configs' / 'quickstart.yaml'}", "--data.corpus=Grammar",
    "--data.corpus.train_size=61", "--data.corpus.val_size=17", "--data.corpus.test_size=16",
    "--model.embedding_size=8", "--model.encoder.hidden_size=8", "--model.dropout=0",
    "--model.encoder.dropout=0", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip


def node(rank: int, port: int, cache: Path, *args: str) -> subprocess.Popen[str]:
    """Starts the command of one of two machines, with one process."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
         f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}",
         str(ROOT / "train.py"), *args, "--trainer.num_nodes=2", "--trainer.devices=1",
         "--trainer.strategy=ddp", "--data.batch_size=4"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"SRULIGHT_CACHE": str(cache), "SRULIGHT_CXXFLAGS": "-O0"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_nodes_train_as_one_process_and_build_the_kernels_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    two = tmp_path / "two"
    args = [*CLASSIFIER, f"--trainer.default_root_dir={two}"]
    nodes = [node(rank, port, tmp_path / "cache", *args) for rank in (0, 1)]
    try:
        said = [started.communicate(timeout=500)[0] for started in nodes]
    finally:
        for started in nodes:
            started.terminate()  # and it ends the process that it started
    assert [started.returncode for started in nodes] == [0, 0], said
    assert "".join(said).count("building the SRU kernels") == 1
    assert len(list((tmp_path / "cache").glob("kernels/*/*.so"))) == 1
    assert [path.name for path in two.iterdir()] == ["version_0"]
    assert len(list(two.rglob("metrics*.csv"))) == 1

    one = tmp_path / "one"
    run(*CLASSIFIER, "--data.batch_size=8", f"--trainer.default_root_dir={one}")
    last = [
        torch.load(folder / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (two, one)
    ]
    assert last[0]["global_step"] == last[1]["global_step"] == 16
    torch.testing.assert_close(weights(last[0]), weights(last[1]), atol=1e-5, rtol=0)
