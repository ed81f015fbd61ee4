"""Arguments are read as a user means them."""

import os
from pathlib import Path

import pytest

from srulight.commands.runs import files_first, find_checkpoint, with_packaged_configs
from srulight.errors import InputError


def test_options_win_over_files_wherever_they_stand() -> None:
    args = ["--a=1", "--config", "x.yaml", "--b", "2", "-c", "y.yaml", "--config=z.yaml"]
    files = ["--config", "x.yaml", "-c", "y.yaml", "--config=z.yaml"]
    assert files_first(args) == [*files, "--a=1", "--b", "2"]
    assert files_first(["--config"]) == ["--config"]  # the parser says what is missing


def test_configurations_of_the_package_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "srulight"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "a.yaml").touch()
    monkeypatch.setattr("srulight.commands.runs.__file__", str(package / "commands" / "runs.py"))
    monkeypatch.chdir(tmp_path)
    args = ["--config=configs/a.yaml", "configs/a.yaml", "--x=configs/b.yaml", "--y"]
    found = str(package / "configs" / "a.yaml")
    assert with_packaged_configs(args) == [f"--config={found}", found, *args[2:]]
    Path("configs").mkdir()
    Path("configs/a.yaml").touch()
    assert with_packaged_configs(args) == args


def test_last_and_best_mean_the_newest_run(tmp_path: Path) -> None:
    for i, name in enumerate(("new", "old")):
        path = tmp_path / "r" / name / "version_0" / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - i, 1000 - i))
    (tmp_path / "c.yaml").write_text(f"trainer: {{default_root_dir: {tmp_path / 'r' / 'old'}}}")
    root = f"--trainer.default_root_dir={tmp_path / 'r'}"
    config = f"--config={tmp_path / 'c.yaml'}"
    assert "new" in find_checkpoint("last", [root]).parts
    assert "old" in find_checkpoint("last", [config]).parts
    assert "new" in find_checkpoint("last", [config, root]).parts
    with pytest.raises(InputError, match=r"there is no best\.ckpt below .*train first"):
        find_checkpoint("best", [root])
