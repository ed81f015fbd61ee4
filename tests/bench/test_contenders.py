"""Contenders compute what they claim: shapes, gradients, products and copies."""

import sys
import types
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srulight.bench.adapters import OTHERS, min_gru, published
from srulight.bench.adapters.runtimes import checked, lstm_and_inputs
from srulight.bench.cases import PAPER, Case, Pass, grid, sizes
from srulight.bench.contenders import Layer, SkippedError, output
from srulight.bench.floors import Copy, Floor, Recurrence
from srulight.bench.layers import BOUNDS, BUILT_IN, LAYERS, MORE
from srulight.encoders import SRU

CASE = Case("forward", 5, 64, 2)
PRODUCTS = {"products", "F.linear"}


def kept(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Collects the modules that a layer makes."""
    made: list[nn.Module] = []
    make = layer.make

    def keep(size: int) -> nn.Module:
        made.append(make(size))
        return made[-1]

    # The dataclass is frozen.
    monkeypatch.setitem(vars(layer), "make", keep)
    return made


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_as_many_outputs_as_inputs(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]
    with torch.no_grad():
        out = output(layer.make(64)(layer.draw(CASE)))
    longer = {"Conv1d-k2": 1}.get(name, 0)  # its padding has two ends
    if layer.layout == "BFT":
        assert out.shape == (2, 64, 5 + longer)
    else:
        assert out.shape == (2, 5, 3 * 64 if name in PRODUCTS else 64)


@pytest.mark.parametrize("name", LAYERS)
def test_training_computes_every_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept(LAYERS[name], monkeypatch)
    run = LAYERS[name].prepare(Case("training", 5, 64, 2))
    (layer,) = made
    assert layer.training
    grads: list[Tensor] = []
    for parameter in layer.parameters():
        parameter.register_hook(grads.append)
    run()
    assert len(grads) == len(list(layer.parameters())) > 0
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_forward_saves_nothing_for_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept(LAYERS["SRU"], monkeypatch)
    run = LAYERS["SRU"].prepare(CASE)
    results: list[Tensor] = []
    made[0].register_forward_hook(lambda *args: results.append(args[2]))
    run()
    assert not results[0].requires_grad
    assert not made[0].training


@pytest.mark.parametrize("name", [n for n, one in LAYERS.items() if one.step is not None])
def test_a_step_goes_on_from_a_state(name: str) -> None:
    step = LAYERS[name].step
    assert step is not None
    x = torch.randn(3, 1, 16)
    with torch.no_grad():
        run = step(16, x)
        out = run()
    first = out if isinstance(out, Tensor) else out[0]  # type: ignore[index]
    assert first.numel() == 3 * 16 * (3 if name in PRODUCTS else 1)
    if name == "SRU":
        state = out[1]  # type: ignore[index]
        # A second step from the first state, not a step from zeros.
        assert not torch.equal(state, SRU(16, 16, 1).forward_with_state(x)[1])


def test_half_types_run_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept(LAYERS["SRU"], monkeypatch)
    run = LAYERS["SRU"].prepare(Case("forward", 5, 64, 2, "bfloat16"))
    results: list[Tensor] = []
    made[0].register_forward_hook(lambda *args: results.append(args[2]))
    run()
    assert results[0].dtype == torch.bfloat16
    assert next(made[0].parameters()).dtype == torch.float32


def test_the_floor_has_the_products_of_a_layer_and_their_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, requires_grad=True)
    own, plain = Floor(8, own=True), Floor(8, own=False)
    plain.load_state_dict(own.state_dict())
    seed = torch.randn(2, 5, 24)
    for floor in (own, plain):
        torch.testing.assert_close(floor(x), x @ floor.weight.t())
    grads = [torch.autograd.grad(f(x), [x, f.weight], seed) for f in (own, plain)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ("passing", "dtype", "moved"),
    # 640 elements: 5 numbers each forward, 14 forward and backward, of 4 or 2 bytes.
    [
        ("forward", "float32", 12_800),
        ("training", "float32", 35_840),
        ("training", "float16", 17_920),
    ],
)
def test_a_copy_moves_as_many_bytes_as_the_recurrence(
    passing: Pass, dtype: str, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(passing, 5, 64, 2, dtype)
    assert case.moved == moved
    copied: list[int] = []
    ones = torch.ones

    def keep(*shape: int, **more: object) -> Tensor:
        copied.append(shape[1])
        return ones(*shape, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "ones", keep)
    Copy().prepare(case)()
    assert copied == [moved // 2]  # each is read and written


def test_the_recurrence_runs_in_both_passes() -> None:
    for passing in ("forward", "training"):
        Recurrence().prepare(Case(passing, 5, 64, 2))()


def test_floors_are_contenders() -> None:
    bounds = {one.name for one in BOUNDS}
    for one in (*BUILT_IN, *OTHERS, *MORE):
        assert set(one.floor) <= bounds


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        ("SRU-bidirectional", Case("forward", 5, 7, 2), "needs an even width"),
        ("Conv1d-k3", Case("step", 1, 8, 2), "has no single step"),
    ],
)
def test_what_cannot_run_is_skipped(name: str, case: Case, reason: str) -> None:
    with pytest.raises(SkippedError, match=reason):
        LAYERS[name].prepare(case)


def test_the_published_package_is_skipped_where_it_takes_minutes() -> None:
    one = published.PUBLISHED
    for case, reason in (
        (Case("training", 257, 8, 2), "takes minutes to train with more than 256 steps on a CPU"),
        (Case("forward", 5, 8, 2, "float16"), "supports float32 only"),
        (Case("forward", 5, 8, 2, compiled=True), "is not compiled"),
    ):
        with pytest.raises(SkippedError, match=reason):
            one.prepare(case)


@pytest.mark.parametrize("one", OTHERS, ids=lambda one: one.name)
def test_other_packages_run_where_they_are_installed(one: Layer) -> None:
    if one.missing() or one.name == "published-SRU":  # which tests/test_compat.py imports
        pytest.skip("not installed")
    passes: tuple[Pass, ...] = ("forward", "training", "step")
    ran = []
    for passing in passes:
        try:
            one.prepare(Case(passing, 1 if passing == "step" else 5, 64, 2))()
        except SkippedError as error:
            assert str(error).startswith(("inference only", "has no single step"))  # noqa: PT017
            continue
        ran.append(passing)
    assert "forward" in ran


class FakeMinGRU(nn.Module):
    """Stands for the layer of minGRU-pytorch, which need not be installed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.states: list[Tensor | None] = []

    def forward(
        self, x: Tensor, prev_hidden: Tensor | None = None, return_next_prev_hidden: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        self.states.append(prev_hidden)
        out = self.linear(x)
        return (out, out[:, -1:]) if return_next_prev_hidden else out


def test_a_module_of_another_package_is_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("minGRU_pytorch")
    package.minGRU = FakeMinGRU  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "minGRU_pytorch", package)
    made = kept(min_gru.MIN_GRU, monkeypatch)
    min_gru.MIN_GRU.prepare(Case("training", 5, 8, 2))()
    assert isinstance(made[0], FakeMinGRU)
    assert min_gru.MIN_GRU.step is not None
    with torch.no_grad():
        out = min_gru.MIN_GRU.step(8, torch.randn(2, 1, 8))()
    assert out[0].shape == (2, 1, 8)  # type: ignore[index]


def test_a_runtime_with_wrong_outputs_is_skipped() -> None:
    lstm, arrays = lstm_and_inputs(CASE)

    def right(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
        x, h, c = map(torch.from_numpy, arrays)
        with torch.no_grad():
            found: np.ndarray = lstm(x, (h, c))[0].numpy()
        return found

    assert np.asarray(checked(right, lstm, arrays, "float32")()).shape == (2, 5, 64)
    wrong: Callable[..., np.ndarray] = lambda arrays: right(arrays) + 0.25  # noqa: E731
    with pytest.raises(SkippedError, match=r"outputs that differ by 0\.25 from those of nn\.LSTM"):
        checked(wrong, lstm, arrays, "int8")


def test_a_package_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sru", None)
    assert published.PUBLISHED.missing() == ["sru"]
    assert LAYERS["SRU"].missing() == []
    assert find_spec("torch") is not None


def test_the_grid_has_all_combinations() -> None:
    assert sizes(None, None) == list(PAPER) == [(32, 256), (128, 512)]
    assert sizes([5, 6], None) == [(5, 256), (6, 256)]
    assert sizes(None, [8]) == [(32, 8)]
    groups = grid(
        ("forward", "training", "step"), [(5, 8), (6, 8)], [2], [1, 3], ["float32"], [1], "cpu",
        [False, True],
    )  # fmt: skip
    shown = [[(one.passing, one.length, one.batch, one.compiled) for one in g] for g in groups]
    assert shown == [
        [("forward", 5, 2, False), ("training", 5, 2, False)],
        [("forward", 6, 2, False), ("training", 6, 2, False)],
        [("step", 1, 1, False)],  # of each width, whatever the length
        [("step", 1, 3, False)],
        [("forward", 5, 2, True), ("training", 5, 2, True)],
        [("forward", 6, 2, True), ("training", 6, 2, True)],
    ]


def test_inputs_exceed_the_cache_of_a_gpu() -> None:
    # 256 MiB in tensors of 1 MiB, and not more than 64.
    assert Case("forward", 4, 256, 256, device="cuda:1").copies == 64
    # 16 MiB each: 16 of them, and two more.
    assert Case("forward", 64, 256, 256, device="cuda").copies == 18
    assert Case("forward", 64, 256, 256).copies == 1
