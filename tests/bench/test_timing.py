"""Contenders take turns, and short runs are repeated."""

import itertools
import time

import pytest

from srulight.bench import timing
from srulight.bench.timing import Run


class Clock:
    """Runs that take a known time, on a clock that shows only that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.order: list[str] = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, name: str, *seconds: float) -> Run:
        lasting = itertools.cycle(seconds)

        def once() -> None:
            self.now += next(lasting)
            self.order.append(name)

        return once


def test_contenders_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    runs = {"one": clock.run("one", 1.0, 9.0, 1.0), "other": clock.run("other", 2.0)}
    assert timing.medians(runs, 40) == {"one": 1, "other": 2}
    # One run each to warm up, since they take long; then turns, in the reverse order every time.
    assert clock.order[:2] == ["one", "other"]
    turns = clock.order[2:]
    assert turns == (["one", "other", "other", "one"] * len(turns))[: len(turns)]
    clock.order.clear()
    timing.medians({"one": clock.run("one", 0.5)}, 0)
    assert len(clock.order) == 2 + 5


def test_a_short_run_is_repeated_within_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    runs = {"short": clock.run("short", 0.0005), "long": clock.run("long", 0.5)}
    warm = {"short": 0.0005, "long": 0.5}
    found = list(timing.rounds(runs, warm, 0, 6))
    # 2 ms hold 4 runs of 0.5 ms.
    assert clock.order[:5] == ["short"] * 4 + ["long"]
    assert len(found) == 6
    for _, times in found:
        assert times == {"short": pytest.approx(0.0005), "long": pytest.approx(0.5)}
    assert [share for share, _ in found] == pytest.approx([i / 6 for i in range(1, 7)])


def test_rounds_go_on_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    found = list(timing.rounds({"one": clock.run("one", 1.0)}, {"one": 1.0}, 10, 6))
    assert len(found) == 10
    assert found[-1][0] == 1


def test_the_clock_of_the_processor_leaves_out_waiting() -> None:
    def wait() -> None:
        time.sleep(0.05)

    for clock, most in (("wall", 1.0), ("cpu", 0.04)):
        (_, times), *_ = timing.rounds({"one": wait}, {"one": 0.05}, 0, 2, clock=clock)  # type: ignore[arg-type]
        assert times["one"] < most
        assert (times["one"] >= 0.05) == (clock == "wall")


def test_inputs_take_turns() -> None:
    seen: list[int] = []
    run = timing.turns([lambda i=i: seen.append(i) for i in range(3)])  # type: ignore[misc]
    for _ in range(5):
        run()
    assert seen == [0, 1, 2, 0, 1]
