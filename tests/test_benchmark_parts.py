"""The code that benchmarks share: contenders that take turns, and comparisons of training runs."""

import itertools

import contenders
import pytest
import torch
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
