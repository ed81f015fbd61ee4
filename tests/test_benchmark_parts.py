"""The code that benchmarks share: comparisons of training runs, and the memory of layers."""

import csv
import os
from pathlib import Path

import language_modeling
import peak_memory
import pytest
import trainings

from srulight.bench.cases import Case


def test_an_epoch_lasts_the_median_of_the_times_between_measurings(tmp_path: Path) -> None:
    for number, seconds in enumerate(([1, 2], [3, 5, 9])):
        folder = tmp_path / f"version_{number}"
        folder.mkdir()
        with (folder / "metrics.csv").open("w") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "train/seconds", "val/f1"])
            writer.writerows([[step, second, 10 * step] for step, second in enumerate(seconds)])
            writer.writerow([9, 99, ""])  # logged between two
        os.utime(folder / "metrics.csv", (number, number))
    run = trainings.newest(tmp_path, "val/f1")
    assert run.folder == tmp_path / "version_1"
    assert (run.ends, run.seconds) == ([3, 5, 9], 3)
    assert run.values("val/f1") == [0, 10, 20]


def test_as_many_epochs_as_fit_into_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def fit(folder: Path, metric: str, *options: str, threads: int | None) -> trainings.Run:
        asked.append(options)
        (folder / "version_0").mkdir(parents=True)
        (folder / "version_0" / "metrics.csv").write_text("step,train/seconds,x\n9,25,1\n")
        return trainings.newest(folder, metric)

    monkeypatch.setattr(trainings, "fit", fit)
    for _ in range(2):  # what is done is not done again
        trainings.fit_for(2, tmp_path / "a", "x", "--steps={steps}", "--width=3")
    # 25 s an epoch of 10 steps, in two minutes.
    assert asked == [
        ("--width=3", "--trainer.max_epochs=1"),
        ("--steps=50", "--width=3", "--trainer.max_epochs=5"),
    ]


def test_the_peak_memory_of_training_grows_with_what_it_saves() -> None:
    # Its input's gradient, three gates, their gradients and more, of 4 MB each.
    assert peak_memory.grown("SRU", Case("training", 4096, 256, 1)) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "name", "found"),
    [
        ("words", "SRU (2018)", (296, 2_589_616)),
        ("words", "LSTM", (264, 2_595_952)),
        ("characters", "SRU++", (496, 1_201_623)),
    ],
)
def test_widths_are_those_of_the_published_table(
    setting: str, name: str, found: tuple[int, int]
) -> None:
    assert language_modeling.widest(language_modeling.SETTINGS[setting], name) == found
