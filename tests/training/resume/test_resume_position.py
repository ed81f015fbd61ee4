"""The file names in a checkpoint cannot make a callback delete other files."""

from pathlib import Path

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from srulight.training.resume.resume_position import own_files


def test_a_callback_deletes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "best.ckpt").touch()
    callback = ModelCheckpoint(str(folder), monitor="x")
    outside = [
        f"{folder}/../../home",
        f"{folder}/..",
        "/etc/passwd",
        "s3://bucket/x.ckpt",
        "..",
        "",
    ]
    stored = {
        **callback.state_dict(), "dirpath": str(folder), "best_model_path": "/a/best.ckpt",
        "best_model_score": torch.ones(()), "kth_best_model_path": outside[0],
        "best_k_models": dict.fromkeys([*outside, "/b/best.ckpt"], torch.ones(())),
    }  # fmt: skip
    kept = own_files(stored, callback, folder / "last.ckpt")
    assert kept["best_model_path"] == str(folder / "best.ckpt")
    assert kept["kth_best_model_path"] == ""
    assert set(kept["best_k_models"]) == {str(folder / "best.ckpt"), str(folder / "x.ckpt")}
    # The state of another run is ignored, unless it is this run, moved to another folder.
    stored["dirpath"] = "/elsewhere"
    assert own_files(stored, callback, tmp_path / "last.ckpt") == callback.state_dict()
    assert own_files(stored, callback, folder / "last.ckpt")["best_model_score"] == 1
