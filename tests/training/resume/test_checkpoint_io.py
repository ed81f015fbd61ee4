"""Checkpoints are saved atomically."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from srulight.cli import main
from srulight.runtime.errors import InputError
from srulight.training.resume.checkpoint_io import AtomicCheckpointIO

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limits the size of files, so that writing fails like on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weight": torch.ones(10)}, path)
    left = tmp_path / ".last.ckpt.1.part"  # of a process that was killed
    left.write_text("half")
    with (
        full_disk(100_000),
        pytest.raises(InputError, match=r"not enough space .* version is intact"),
    ):
        AtomicCheckpointIO().save_checkpoint({"weight": torch.ones(100_000)}, path)
    assert torch.equal(torch.load(path)["weight"], torch.ones(10))
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_on_a_full_disk_stops_with_a_sentence_and_goes_on_later(tmp_path: Path) -> None:
    fit = ["fit", *SMALL, f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=3"]
    main([*fit, "--trainer.max_epochs=1"])
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    with full_disk(20_000), pytest.raises(SystemExit, match=r"error: cannot write .*ckpt"):
        main([*fit, "--ckpt_path=auto"])
    assert last.read_bytes() == before
    main([*fit, "--ckpt_path=auto"])
    assert torch.load(last, weights_only=True)["epoch"] == 3
