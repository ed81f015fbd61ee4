"""A resumed run draws the same random numbers as one that was never stopped."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from srulight.cli import main
from srulight.training.resume.random_state import RandomState

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
DROPS = [
    "fit", f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
    "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
    "--model.encoder.hidden_size=8", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--model.dropout=0.3", "--model.encoder.dropout=0.3",
    "--model.word_dropout=0.1",
]  # fmt: skip


def fit(folder: Path, *args: str) -> dict[str, torch.Tensor]:
    main([*DROPS, f"--trainer.default_root_dir={folder}", *args])
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    weights: dict[str, torch.Tensor] = torch.load(last, weights_only=True)["state_dict"]
    return weights


def test_a_resumed_run_with_dropout_is_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", "--trainer.max_epochs=3")
    fit(tmp_path / "parts", "--trainer.max_epochs=1")
    parts = fit(tmp_path / "parts", "--ckpt_path=last", "--trainer.max_epochs=3")
    for name, weight in whole.items():
        assert torch.equal(weight, parts[name]), name


def trainer(processes: int, rank: int = 0) -> SimpleNamespace:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(world_size=processes, global_rank=rank, strategy=strategy)


def test_each_process_goes_on_with_its_own_numbers(caplog: pytest.LogCaptureFixture) -> None:
    states = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        states.append({"cpu": torch.get_rng_state()})
    expected = torch.rand(3)  # the second process draws these
    checkpoint = {"random_states": states}
    callback = RandomState()
    callback.on_load_checkpoint(trainer(2, rank=1), None, checkpoint)  # type: ignore[arg-type]
    torch.rand(5)  # as set-up draws
    callback.on_train_batch_start(trainer(2, rank=1), None, None, 0)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), expected)
    callback.on_train_batch_start(trainer(2, rank=1), None, None, 1)  # type: ignore[arg-type]
    assert not torch.equal(torch.rand(3), expected)
    assert not caplog.text


def test_another_number_of_processes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    callback = RandomState()
    checkpoint = {"random_states": [{"cpu": torch.get_rng_state()}] * 2}
    with caplog.at_level("INFO"):
        callback.on_load_checkpoint(trainer(1), None, checkpoint)  # type: ignore[arg-type]
    assert "by 2 processes, and this run has 1; dropout will differ" in caplog.text
    before = torch.get_rng_state()
    callback.on_train_batch_start(trainer(1), None, None, 0)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)
