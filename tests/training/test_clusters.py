"""Runs on clusters resume by themselves when a job is started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
FIT = [
    f"--config={ROOT / 'configs' / 'quickstart.yaml'}", "--data.corpus=Grammar",
    "--data.corpus.train_size=1600", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    "--model.embedding_size=8", "--model.encoder.hidden_size=8",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=12",
]  # fmt: skip

SRUN = """#!/bin/bash
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_LOCALID=0 SLURM_NODEID=$rank "$@" &
    echo $! > "$FOLDER/rank$rank"
done
wait -n; status=$?
wait
exit $status
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$FOLDER/scontrol"
echo JobState=RUNNING
"""


def last_step(folder: Path) -> int:
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    return int(torch.load(last, weights_only=True)["global_step"])


def wait_for(path: Path) -> None:
    end = time.monotonic() + 400
    while not path.is_file():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.05)


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """Returns the environment of a job on two nodes, both of which are this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {
        **os.environ, "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FOLDER": str(tmp_path), "SLURM_JOB_ID": "123", "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "localhost",
        "SLURM_JOB_NAME": "srulight",
    }  # fmt: skip


@pytest.mark.slow
def test_slurm_puts_a_job_back_and_it_goes_on(tmp_path: Path, slurm: dict[str, str]) -> None:
    runs = tmp_path / "runs"
    script = [
        str(ROOT / "docs" / "how_to" / "slurm.sh"),
        *FIT,
        f"--trainer.default_root_dir={runs}",
    ]
    with subprocess.Popen(script, env=slurm, cwd=ROOT, stderr=subprocess.PIPE, text=True) as job:
        wait_for(runs / "version_0" / "checkpoints" / "last.ckpt")
        # Only one process gets the signal, but both must stop.
        os.kill(int((tmp_path / "rank1").read_text()), signal.SIGUSR1)
        _, said = job.communicate(timeout=400)
    assert job.returncode == 143, said
    assert "requeue 123" in (tmp_path / "scontrol").read_text()
    stopped = last_step(runs)
    assert f"stopped after step {stopped}; resume with" in said
    done = subprocess.run(script, env=slurm, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert f", step {stopped}\n" in done.stderr + done.stdout
    assert last_step(runs) == 12 * 25 > stopped
    assert [path.name for path in runs.iterdir()] == ["version_0"]


@pytest.mark.slow
def test_torchrun_starts_again_what_was_killed(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "--max-restarts=3", str(ROOT / "train.py"), "fit", *FIT, "--ckpt_path=auto",
        "--trainer.strategy=ddp", "--trainer.devices=2", f"--trainer.default_root_dir={tmp_path}",
    ]  # fmt: skip
    # Otherwise, the processes would use the address of the processes before them.
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said) as job,
    ):
        try:
            wait_for(tmp_path / "version_0" / "checkpoints" / "last.ckpt")
            workers = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
            os.kill(int(workers[-1]), signal.SIGKILL)
            job.wait(timeout=400)
        finally:
            job.terminate()
    text = (tmp_path / "said").read_text()
    assert job.returncode == 0, text
    assert "resuming from" in text
    assert last_step(tmp_path) == 12 * 25
