"""Benchmarks print their measurements in the units and ratios that they announce."""

import itertools
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import gpu
import overhead
import parity
import pytest
import results
import sparse_backward
import torch

from srulight.bench import tables
from srulight.bench.timing import Run
from srulight.experiments import compare
from tests.documents import ROOT
from tests.python import python
from tests.test_compat import OPTIONS

SIZES = "5,2,64"

MILLISECONDS = {
    "SRU": 2.0, "products": 1.0, "Conv1d-k3": 3.0, "Conv1d-k2": 2.0, "LSTM": 8.0, "GRU": 5.0,
    "copy": 0.32, "attention": 6.0, "SRU++": 4.0, "SRU++-band": 3.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _as_it_was() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def told(runs: dict[str, Run], seconds: float, device: str = "cpu") -> dict[str, float]:
    """Runs each contender once, and says how long it took whatever it took."""
    for run in runs.values():
        run()
    return {name: MILLISECONDS[name] / 1e3 for name in runs}


def printed(
    main: Callable[[], None], capsys: pytest.CaptureFixture[str], *args: str
) -> list[tables.Row]:
    """Runs a program in this process; gives the rows of all tables that it prints."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["benchmark", *args])
        main()
    return rows_of(capsys.readouterr().out)


def rows_of(text: str) -> list[tables.Row]:
    """Reads Markdown tables; a head stands above a line of dashes."""
    rows: list[tables.Row] = []
    head: list[str] = []
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if following.startswith("|---"):
            head = cells
        elif not line.startswith("|---"):
            rows.append(dict(zip(head, cells, strict=True)))
    return rows


def numbers(rows: list[tables.Row], *texts: str) -> list[float]:
    """Gives the figures of some rows, in the columns that hold no text."""
    return [
        float(str(value).replace(",", ""))
        for row in rows
        for name, value in row.items()
        if name not in texts and value is not None and value != "-"
    ]


def on_cpu(part: str, path: Path, capsys: pytest.CaptureFixture[str], *args: str) -> tables.Row:
    """Runs a part of the GPU's program on the CPU; gives its last row, which it printed, too."""
    given = [part, "--device=cpu", "--dtypes", "float32", "--json", str(path), *args]
    shown = printed(gpu.main, capsys, *given)
    rows = tables.read(path)[part]
    assert shown == [{k: tables.text_of(v) for k, v in row.items()} for row in rows]
    return rows[-1]


def test_a_gpus_recurrence_is_held_against_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "medians", told)
    row = on_cpu("kernel", tmp_path / "rows", capsys, "--sizes", SIZES)
    # Forward moves 5 numbers of 4 bytes an element, forward and backward 14.
    reached = 640 * 14 * 4 / 2e-3
    speed = 2 * 2**24 / 0.32e-3
    assert row == {
        "dtype": "float32", "T, B, d": SIZES, "pass": "forward + backward",
        "us": pytest.approx(2000), "GB/s": pytest.approx(reached / 1e9),
        "share of copy": pytest.approx(reached / speed), "copy GB/s": pytest.approx(speed / 1e9),
    }  # fmt: skip
    first = tables.read(tmp_path / "rows")["kernel"][0]
    assert first["pass"] == "forward"
    assert first["GB/s"] == pytest.approx(640 * 5 * 4 / 2e-3 / 1e9)


def test_a_gpus_layers_are_held_against_their_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "medians", told)
    row = on_cpu("layers", tmp_path / "rows", capsys, "--sizes", SIZES)
    floor = 1e-3 + 640 * 14 * 4 / (2 * 2**24 / 0.32e-3)
    assert row == {
        "dtype": "float32", "T, B, d": SIZES, "pass": "forward + backward",
        "us": pytest.approx(2000), "SRU / product": pytest.approx(2),
        "SRU / floor": pytest.approx(2e-3 / floor), "LSTM / SRU": pytest.approx(4),
        "GRU / SRU": pytest.approx(2.5), "Conv1d-k3 / SRU": pytest.approx(1.5),
        "Conv1d-k2 / SRU": pytest.approx(1),
    }  # fmt: skip


def test_attention_is_told_beside_srupp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "medians", told)
    row = on_cpu("attention", tmp_path / "rows", capsys, "--sizes", SIZES)
    assert row == {
        "dtype": "float32", "T, B, d": SIZES, "pass": "forward + backward",
        "attention us": pytest.approx(6000), "SRU++ us": pytest.approx(4000),
        "SRU++-band us": pytest.approx(3000), "attention / SRU++": pytest.approx(1.5),
        "attention / SRU++-band": pytest.approx(2),
    }  # fmt: skip


def test_what_is_saved_for_backward_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = on_cpu("memory", tmp_path / "rows", capsys, "--sizes", "32,2,64")
    assert row["MB of an output"] == pytest.approx(32 * 2 * 64 * 4 / 1e6)
    assert row["Conv1d-k3 saved"] == 1  # its input
    # Its input, three gates, and a state every 16 steps.
    assert row["SRU saved"] == pytest.approx(1 + 3 + 1 / 16, abs=0.05)
    assert isinstance(row["LSTM saved"], float)
    assert row["LSTM saved"] > 5  # four gates and a cell, at least
    assert row["SRU peak"] is None


def test_overhead_is_told_per_step_and_in_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "build_anew", lambda *_: None)
    for name, seconds in (("by_hand", 0.001), ("bare_trainer", 0.002), ("fit", 0.004)):
        # The first turn warms up, and one of three is disturbed.
        times = iter([9.0, seconds, 10 * seconds, seconds])
        monkeypatch.setattr(overhead, name, lambda _, times=times: next(times))
    row = overhead.compare("tiny", 3, "nowhere")
    assert row == "| tiny | 1.000 | 2.000 | 4.000 | 0.500 | 1000 | 0.250 | 3000 |"


def test_differences_from_the_published_package_are_those_of_rounding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sru")
    some = dict(itertools.islice(OPTIONS.items(), 2))
    monkeypatch.setattr(parity, "OPTIONS", some)
    monkeypatch.setattr(parity, "T", 12)
    rows = printed(parity.main, capsys)
    assert [row["option"] for row in rows] == [name for name in some for _ in range(2)]
    assert [row["dtype"] for row in rows] == ["float64", "float32"] * 2
    for row in rows:
        largest = 1e-13 if row["dtype"] == "float64" else 1e-4
        assert all(0 <= n < largest for n in numbers([row], "option", "dtype"))
    assert max(numbers(rows, "option", "dtype")) > 0  # nothing is compared with itself


@pytest.mark.slow
def test_every_part_measures(tmp_path: Path) -> None:
    options = ["--sizes", SIZES, "--seconds", "0.01"]
    path = tmp_path / "rows"
    run("gpu.py", "--device=cpu", "--json", str(path), *options)
    measured = tables.read(path)
    assert list(measured) == list(gpu.PARTS)
    for rows in measured.values():
        assert len(rows) >= 1
        found = numbers(rows, "dtype", "T, B, d", "pass", "B, d, layers")
        assert min(found) > 0
        assert math.isfinite(max(found))
    for row in measured["layers"]:
        # The floor is the product, and more.
        product, floor = row["SRU / product"], row["SRU / floor"]
        assert isinstance(product, float)
        assert isinstance(floor, float)
        assert floor < product


@pytest.mark.slow
def test_writers_have_about_as_many_parameters_and_speeds() -> None:
    rows = rows_of(run("generation.py", "--positions", "2", "--count", "3", "--rounds", "1"))
    assert {row["encoder"]: row["parameters"] for row in rows} == {
        "SRU": "1,564,227", "SRU++": "1,530,839", "QRNN": "1,513,539", "LSTM": "1,563,315",
        "GRU": "1,513,539",
    }  # fmt: skip
    assert min(numbers(rows, "encoder", "parameters")) > 0


def run(name: str, *args: str) -> str:
    """Runs a program; gives what it prints."""
    done = python(f"benchmarks/{name}", *args, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parity_needs_the_published_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sru", None)
    with pytest.raises(SystemExit, match="the package sru is not installed; run pip install"):
        parity.main()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_each_program_begins_and_is_listed(path: Path) -> None:
    runpy.run_path(str(path), run_name="imported")
    page = (ROOT / "benchmarks" / "README.md").read_text()
    assert path.name in page or (path.name.startswith("gpu") and "`gpu*.py`" in page)


@pytest.mark.parametrize("name", results.EXPERIMENTS)
def test_results_have_a_place_in_their_page(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = results.EXPERIMENTS[name]
    page = (results.PAGES / f"{one.page}.md").read_text()
    found = results.filled(page, name, "the results")
    assert f"<!-- results: {name} -->\n\nthe results\n\n<!-- end -->" in found
    assert results.filled(found, name, "the results") == found
    monkeypatch.chdir(ROOT)
    options = [f"--config=configs/{one.config}.yaml", *one.options.split()]
    compare.prepare([*options, "--output=runs/nowhere"])


def test_results_are_a_section_with_the_command() -> None:
    one = results.EXPERIMENTS["trec"]
    about = {
        "commit": "0123456789abcdef", "versions": {"torch": "2.13"}, "machine": "a processor",
        "date": "2026-11-29",
    }  # fmt: skip
    text = results.section("trec", one, about, "# Head\n\n## trec\n\n| a |\n|---|\n")
    assert text.startswith("| a |\n|---|\n\nMeasured with commit 0123456789 and torch 2.13")
    command = text.split("```")[1].replace(" \\\n", " ").split()
    assert command[:3] == ["python", "train.py", "compare"]
    assert command[-1] == "--data.root=FOLDER"
    assert all(len(line) <= 112 for line in text.splitlines())
    with pytest.raises(ValueError, match="expected <!-- results: trec -->"):
        results.filled("no place", "trec", text)


def test_sparse_backward_passes_are_held_against_dense_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"dense": 0.02, "rows,share=0.5": 0.012, "rows,share=0.25": 0.008,
               "units,share=0.5": 0.014, "units,share=0.25": 0.01, "norms": 0.001,
               "products": 0.02}  # fmt: skip

    def each(
        runs: dict[str, Run], *_: object, **__: object
    ) -> list[tuple[float, dict[str, float]]]:
        for run in runs.values():
            run()
        return [(1.0, {name: seconds[name.removeprefix("kind=")] for name in runs})]

    monkeypatch.setattr(sparse_backward, "rounds", each)
    sizes = ["--sizes", "4", "--batch", "2", "--steps", "3", "--encoders", "SRU", "LSTM"]
    rows = printed(sparse_backward.main, capsys, "time", *sizes)
    expected = {
        "size": "4", "dense (ms)": "20",
        "kind=rows,share=0.5": "0.6", "kind=rows,share=0.25": "0.4",
        "kind=units,share=0.5": "0.7", "kind=units,share=0.25": "0.5",
    }  # fmt: skip
    assert rows == [
        {"encoder": "SRU", **expected, "norms": "0.05"},
        {"encoder": "LSTM", **expected, "norms": "-"},
    ]


def test_sparse_trainings_are_compared_by_their_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs: dict[str, list[tuple[float, float, object]]] = {
        "dense/seed-1": [(10, 0.9, ""), (20, 0.7, ""), (30, 0.5, "")],
        "dense/seed-2": [(10, 0.8, ""), (20, 0.6, ""), (30, 0.7, "")],
        "share=0.5/seed-1": [(6, 0.9, 0.5), (12, 0.6, 0.5), (18, 0.65, 1.0)],
        "share=0.5/seed-2": [(6, 0.9, 0.5), (12, 0.8, 0.5), (18, 0.75, 1.0)],
    }
    for name, lines in logs.items():
        folder = tmp_path / name / "version_0"
        folder.mkdir(parents=True)
        (tmp_path / name / "done").touch()
        rows = [f"{seconds},{loss},{kept}" for seconds, loss, kept in lines]
        head = "train/seconds,val/loss,train/kept_share_0"
        (folder / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")
    args = ["train", "--settings", "dense", "share=0.5", "--seeds", "2", "--output", str(tmp_path)]
    first, second, shares = printed(sparse_backward.main, capsys, *args)
    assert first == {
        "setting": "dense", "last val/loss": "0.6000 ± 0.1414", "best val/loss": "0.5500 ± 0.0707",
        "time / first": "1", "first reaches it at": "0.833",
    }  # fmt: skip
    # A loss of at most 0.6 takes the dense run 30 seconds, and one of at most 0.75 takes it 20.
    assert second == {
        "setting": "share=0.5", "last val/loss": "0.7000 ± 0.0707",
        "best val/loss": "0.6750 ± 0.1061", "time / first": "0.6", "first reaches it at": "0.833",
    }  # fmt: skip
    assert shares == {
        "setting": "share=0.5", "layer": "0",
        "epoch 0": "0.500", "epoch 1": "0.500", "epoch 2": "1.000",
    }  # fmt: skip
