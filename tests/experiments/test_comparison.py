"""Tables of results that were made up by hand."""

import csv
import json
from pathlib import Path

import pytest

from srulight.experiments.comparison import Comparison, Contender, write
from srulight.experiments.figure import band
from srulight.experiments.run import Result

ABOUT = {
    "command": "srulight compare", "date": "2026-11-29", "machine": "a processor", "commit": None,
    "versions": {"srulight": "1.0", "torch": "2.13"},
}  # fmt: skip


def result(accuracy: float, seconds: float = 2.0) -> Result:
    return Result(
        monitor="val/accuracy", mode="max", best=accuracy, epochs=2,
        curve=[(seconds, accuracy / 2), (2 * seconds, accuracy)], seconds_per_epoch=seconds,
        rate=500.0, unit="samples", parameters=1234, peak_memory=300_000_000, steps=10,
        test={"accuracy": accuracy}, latency={"1": 0.001, "32": 0.0125},
    )  # fmt: skip


def comparison() -> Comparison:
    ours = Contender("SRU", (), {(1, 0): result(0.9), (2, 0): result(0.8)})
    theirs = Contender("LSTM", (), {(1, 0): result(0.7)}, {(2, 0): "out of memory"})
    return Comparison("trec", [ours, theirs], ["accuracy"])


def test_a_row_has_means_and_medians() -> None:
    first, second = comparison().rows()
    assert first == {
        "encoder": "SRU", "parameters": "1,234", "accuracy": "0.8500 ± 0.0707", "epochs": "2",
        "s / epoch": "2", "samples / s": "500", "peak memory (MB)": "300", "ms, batch 1": "1",
        "ms, batch 32": "12.5", "seeds": "2",
    }  # fmt: skip
    assert second["accuracy"] == "0.7000"


def test_folds_are_averaged_before_seeds() -> None:
    runs = {(1, 0): result(0.2), (1, 1): result(0.4), (2, 0): result(0.6), (2, 1): result(0.8)}
    found = Contender("SRU", (), runs | {(3, 0): result(0.0)})
    # Seed 3 lacks a fold.
    assert found.values("accuracy", 2) == pytest.approx({1: 0.3, 2: 0.7})


def test_only_common_seeds_are_compared() -> None:
    assert comparison().verdicts() == [
        "SRU and LSTM cannot be compared on one seed; raise --seeds."
    ]
    assert comparison().failures() == ["LSTM, seed 2, failed: out of memory"]


def test_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = write(tmp_path, [comparison()], ABOUT)
    assert {path.name for path in paths} == {
        "comparison.md", "comparison.json", "comparison.csv", "trec.png", "trec.svg",
    }  # fmt: skip
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert data["comparisons"][0]["encoders"][0]["runs"][1]["test"] == {"accuracy": 0.8}
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["encoder"] for row in rows] == ["SRU", "LSTM"]
    text = (tmp_path / "comparison.md").read_text()
    assert "| SRU     |      1,234 | 0.8500 ± 0.0707 |" in text
    assert "- LSTM, seed 2, failed: out of memory" in text


def test_a_band_ends_with_its_shortest_curve() -> None:
    curves = [[(1.0, 0.5), (2.0, 0.7), (3.0, 0.9)], [(3.0, 0.1), (4.0, 0.3)]]
    seconds, means, lows, highs = band(curves)
    assert seconds == [2, 3]
    assert means == pytest.approx([0.3, 0.5])
    assert (lows, highs) == ([0.1, 0.3], [0.5, 0.7])
