"""The code that benchmarks share: contenders that take turns, and comparisons of training runs."""

import csv
import itertools
import os
from pathlib import Path

import contenders
import language_modeling
import pytest
import torch
import trainings
from contenders import Run


def test_contenders_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = 0.0, []
    lasting = {"one": itertools.cycle([1.0, 9.0, 1.0]), "other": itertools.cycle([2.0])}

    def run(name: str) -> Run:
        def once() -> None:
            nonlocal now
            now += next(lasting[name])
            order.append(name)

        return once

    monkeypatch.setattr("contenders.time.perf_counter", lambda: now)
    assert contenders.medians({name: run(name) for name in lasting}, 40) == {"one": 1, "other": 2}
    assert order[:4] == ["one", "one", "other", "other"]  # to warm up
    assert order[4:] == ["one", "other"] * ((len(order) - 4) // 2)
    now, order = 0.0, []
    contenders.medians({"one": run("one")}, 0)
    assert len(order) == 2 + 5


@pytest.mark.parametrize("name", ["F.linear", "products", "SRU", "LSTM", "attention", "SRU++ band"])
def test_a_contender_is_run_forth_and_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = contenders.contender

    def keep(*args: object) -> torch.nn.Module:
        made.append(make(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(contenders, "contender", keep)
    runs = contenders.layer_runs((name,), (5, 2, 64), torch.float32, backward=True)
    grads: list[object] = []
    (layer,) = made
    for parameter in layer.parameters():
        parameter.register_hook(grads.append)
    runs[name]()
    assert len(grads) == len(list(layer.parameters())) > 0


def test_the_floor_has_the_products_of_a_layer_and_their_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, requires_grad=True)
    own, plain = contenders.Floor(8, own=True), contenders.Floor(8, own=False)
    plain.load_state_dict(own.state_dict())
    seed = torch.randn(2, 5, 24)
    for floor in (own, plain):
        torch.testing.assert_close(floor(x), x @ floor.weight.t())
    grads = [torch.autograd.grad(f(x), [x, f.weight], seed) for f in (own, plain)]
    torch.testing.assert_close(*grads)


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
