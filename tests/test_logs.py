"""The log goes on where a resumed run does."""

from pathlib import Path

from srulight.logs import Table


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
