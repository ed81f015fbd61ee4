"""How command-line arguments name configurations and checkpoints."""

import os
from pathlib import Path

import pytest
import torch

from srulight.checkpoint import read
from srulight.cli import main
from srulight.commands.runs import (
    files_first,
    find_checkpoint,
    find_resumable,
    with_packaged_configs,
)
from srulight.runtime.errors import InputError


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


def test_last_and_best_mean_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(InputError, match=r"there is no best\.ckpt in .*train first.*=FOLDER"):
        find_checkpoint("best", [root])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no best\.ckpt in runs; .* --ckpt_path=FILE$"):
        find_checkpoint("best")  # of a command without --trainer


def checkpoint(root: Path, run: str, name: str, step: int) -> Path:
    """Writes a checkpoint whose modification time is its step."""
    path = root / run / "checkpoints" / f"{name}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"metadata": {}, "global_step": step, "weight": torch.ones(1000)}, path)
    os.utime(path, (step, step))
    return path


@pytest.mark.parametrize("name", ["last", "auto"])
def test_a_clock_that_was_set_back_changes_nothing_in_a_run(name: str, tmp_path: Path) -> None:
    checkpoint(tmp_path, "version_0", "previous", 50)
    last = checkpoint(tmp_path, "version_0", "last", 60)
    os.utime(last, (40, 40))
    checkpoint(tmp_path, "version_1", "last", 45)
    args = [f"--trainer.default_root_dir={tmp_path}"]
    found = find_resumable(args) if name == "auto" else None
    assert (found.path if found else find_checkpoint(name, args)) == last


@pytest.mark.parametrize("text", ["trainer: [1]", "- 1", "1", "trainer:"])
def test_a_configuration_of_another_form_is_left_to_the_parser(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    args = [f"--config={config}", f"--data.root={tmp_path}"]
    assert find_resumable([*args, f"--trainer.default_root_dir={tmp_path}"]) is None
    with pytest.raises(SystemExit):
        main(["fit", *args, f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=auto"])
    assert "error: " in capsys.readouterr().err


def damage(path: Path) -> None:
    """Flips one bit of a weight."""
    time = path.stat().st_mtime
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(1000).numpy().tobytes()) + 500] ^= 1
    path.write_bytes(data)
    os.utime(path, (time, time))


def test_auto_is_the_newest_whole_checkpoint_or_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = [f"--trainer.default_root_dir={tmp_path}"]
    caplog.set_level("INFO")
    assert find_resumable(args) is None
    assert f"no checkpoint to resume from in {tmp_path}; starting a new run" in caplog.text

    checkpoint(tmp_path / "another", "version_0", "last", 99)  # of a run kept elsewhere
    checkpoint(tmp_path, "version_0", "best", 50)
    checkpoint(tmp_path, "version_0", "last", 30)
    before = checkpoint(tmp_path, "version_1", "previous", 40)
    last = checkpoint(tmp_path, "version_1", "last", 40)  # which may be the same file
    found = find_resumable(args)
    assert found is not None
    assert found.path == last
    assert found.stored["global_step"] == 40

    damage(last)
    found = find_resumable(args)
    assert f"{last} is damaged or not a checkpoint" in caplog.text
    assert "is damaged; use the previous checkpoint, of step 40" in caplog.text
    assert found is not None
    assert found.path == before
    before.write_bytes(before.read_bytes()[:2000])
    found = find_resumable(args)
    assert found is not None
    assert found.stored["global_step"] == 30


def test_a_damaged_last_checkpoint_is_named_and_the_one_before_it_offered(tmp_path: Path) -> None:
    last = checkpoint(tmp_path, "version_0", "last", 40)
    damage(last)
    with pytest.raises(InputError, match=r"last\.ckpt .* is damaged$"):
        read(last)
    before = checkpoint(tmp_path, "version_0", "previous", 30)
    with pytest.raises(InputError, match=f"of step 30: --ckpt_path={before}"):
        read(last)
