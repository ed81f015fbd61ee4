"""The log of a resumed run continues the log of the run before."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from srulight.runtime.errors import InputError
from srulight.training.logger import Log, Table


def test_rows_go_on_after_those_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = Table(path)
    first.log_metrics({"loss": 0.1 + 0.2}, step=0)
    first.log_metrics({"loss": 1e-7}, step=1)
    first.log_metrics({"late": 5.0}, step=2)
    first.save()
    again = Table(path, keep=2)
    again.log_metrics({"loss": 3.0, "rate": 1.0}, step=2)
    again.save()
    assert path.read_text().splitlines() == [
        "loss,rate,step", "0.30000000000000004,,0", "1e-07,,1", "3.0,1.0,2",
    ]  # fmt: skip


def test_a_longer_log_is_laid_aside(tmp_path: Path) -> None:
    path, aside = tmp_path / "metrics.csv", tmp_path / "aside.csv"
    path.write_text("loss,step\n1.0,0\n2.0,1\n")
    Table(path, keep=2, aside=aside)
    assert not aside.exists()
    Table(path, keep=1, aside=aside)
    assert aside.read_text() == path.read_text()


def test_a_table_is_not_written_at_every_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = Table(path)
    table.log_metrics({"loss": 1.0}, step=0)
    table.save(now=False)
    table.log_metrics({"loss": 1.0}, step=1)
    table.save(now=False)  # at most every second
    assert len(path.read_text().splitlines()) == 2
    table.save()
    assert len(path.read_text().splitlines()) == 3


def test_runs_that_begin_at_once_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version_1").touch()  # whatever it is
    logs = [Log(tmp_path) for _ in range(8)]
    look, all_have_looked = Log._get_next_version, Barrier(len(logs))

    def look_and_wait(log: Log) -> int:
        number = look(log)
        all_have_looked.wait()
        return number

    monkeypatch.setattr(Log, "_get_next_version", look_and_wait)
    with ThreadPoolExecutor(len(logs)) as threads:
        folders = list(threads.map(lambda log: Path(log.log_dir), logs))
    assert sorted(path.name for path in folders) == [
        f"version_{i}" for i in (0, 2, 3, 4, 5, 6, 7, 8)
    ]
    assert all(path.is_dir() for path in folders)


def test_a_folder_that_nothing_came_of_goes_again(tmp_path: Path) -> None:
    logs = [Log(tmp_path / "runs") for _ in range(4)]
    for log in logs:
        Path(log.log_dir, "config.yaml").touch()
    logs[1].log_metrics({"loss": 1.0}, step=0)
    checkpoints = Path(logs[2].log_dir, "checkpoints")
    checkpoints.mkdir()
    (checkpoints / "last.ckpt").touch()
    for log in (*logs, Log(tmp_path / "runs", "version_3"), Log(tmp_path / "nowhere")):
        log.discard()
    left = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert left == ["version_1", "version_2"]


@pytest.mark.parametrize("root", ["/proc", "file"])
def test_a_folder_that_runs_cannot_be_kept_in_is_named(root: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"cannot create a folder for this run in .*{root}/ "):
        _ = Log(tmp_path / root).log_dir
