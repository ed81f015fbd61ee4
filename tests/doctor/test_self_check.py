"""The self-check passes the kernels, and finds each kind of mistake."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight import ops
from srulight.doctor.cases import COMBINATIONS, DTYPES, Case, draw_case, draw_tensors
from srulight.doctor.codebook_check import check_codebooks
from srulight.doctor.encoder_check import check_encoders, check_layers, step_encoders
from srulight.doctor.self_check import Outcome, check_kernels, difference
from srulight.encoders import LSTM, SRU
from srulight.ops import codebook, reference

RIGHT = ops.sru


def wrong_output(h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    eps = torch.finfo(h.dtype).eps
    return h + h.detach() * eps * (8 if h.dtype.itemsize < 4 else 512), last


def wrong_state(h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    return h, last + 1e-2


def wrong_gradient(h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    return h + (h - h.detach()) * 0.05, last


def unwritten(h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    nan = torch.zeros_like(h)
    nan[..., -1] = torch.nan
    return h + nan, last


def test_the_kernels_pass() -> None:
    outcome = check_kernels("cpu", 0)
    assert outcome.cases == {"float32": 1, "bfloat16": 1, "float16": 1, "float64": 1}
    assert 0 < outcome.worst < 1, outcome.where


@pytest.mark.parametrize("break_", [wrong_output, wrong_state, wrong_gradient, unwritten])
def test_a_wrong_kernel_is_found(
    break_: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sru(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        return break_(*RIGHT(*args, **options))

    monkeypatch.setattr(ops, "sru", sru)
    outcome = check_kernels("cpu", 0)
    assert outcome.worst > 1
    parts = {"wrong_state": "the last state", "wrong_gradient": "gradient of"}
    assert parts.get(break_.__name__, "the output") in outcome.where
    assert "T=" in outcome.where


def test_a_product_by_indices_that_is_not_exact_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = check_codebooks("cpu")
    assert outcome.cases == {"4-bit products": 12}
    assert outcome.worst == 0
    right = codebook.codebook_linear
    monkeypatch.setattr(codebook, "codebook_linear", lambda *args: right(*args) * (1 + 2**-23))
    outcome = check_codebooks("cpu")
    assert outcome.worst > 1
    assert outcome.where.startswith("the product by 4-bit indices in the case 4 bits, M=1 F=64")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_mistake_in_one_dtype_is_found(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sru(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        h, last = RIGHT(*args, **options)
        return (wrong_output if h.dtype is dtype else lambda *both: both)(h, last)

    monkeypatch.setattr(ops, "sru", sru)
    outcome = check_kernels("cpu", 0)
    assert outcome.worst > 1
    assert str(dtype).removeprefix("torch.") in outcome.where


def test_differences_are_relative_to_the_tolerance() -> None:
    exact = torch.tensor([1.0, 2.0], dtype=torch.float64)
    # The tolerance is 0.1 * (1 + 2).
    ratio, distance = difference(torch.tensor([1.0, 2.15]), exact, 0.1)
    assert (ratio, distance) == pytest.approx((0.5, 0.15), rel=1e-5)
    assert difference(torch.tensor([torch.nan, 2.0]), exact, 0.1)[0] == torch.inf
    # bfloat16 has 8 bits: between 1 and 2 it rounds by at most 2**-8, with no other error allowed.
    exact = torch.tensor([1 + 2**-8], dtype=torch.float64)
    assert difference(exact.bfloat16(), exact, 0)[0] == pytest.approx(1, abs=0.05)
    assert difference(exact.bfloat16() + 2**-6, exact, 0)[0] > 2


def test_what_is_not_a_number_is_the_worst() -> None:
    outcome = Outcome()
    outcome.add("x", "a", 0.5, 0.1)
    outcome.add("y", "b", float("nan"), float("nan"))
    outcome.add("z", "c", 0.7, 0.1)
    assert outcome.worst == torch.inf
    assert outcome.where.startswith("y")


def drawn(count: int) -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    return [draw_case(number, generator) for number in range(count)]


def test_the_first_cases_go_through_all_combinations() -> None:
    keys = {(c.dtype, c.peephole, c.bidirectional, c.lengths, c.skip) for c in drawn(COMBINATIONS)}
    assert len(keys) == COMBINATIONS == 4 * 2 * 2 * 2 * 3
    assert all(case.channels % 2 == 0 for case in drawn(200) if case.bidirectional)


def test_no_state_is_close_to_the_kink_of_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srulight.doctor.cases._FROM_THE_KINK", 2e-3)
    generator = torch.Generator().manual_seed(0)
    options: Any = {"bidirectional": False, "lengths": True, "skip": "input", "mask": False}
    case = Case(torch.float64, 2, 6, 16, True, activation="relu", initial=True, **options)
    for _ in range(10):
        u, _, v, b, c0, _, lengths = draw_tensors(case, generator)
        assert u is not None
        assert b is not None
        assert v is not None
        assert c0 is not None
        assert lengths is not None
        for i, length in enumerate(lengths.tolist()):
            c = c0[i]
            for t in range(length):
                f = torch.sigmoid(u[i, t, 1] + v[0] * c + b[0])
                c = f * c + (1 - f) * u[i, t, 0]
                assert c.abs().min() > 2e-3


def test_layers_and_encoders_pass() -> None:
    outcome = check_encoders("cpu", check_layers("cpu"))
    assert outcome.cases["encoders"] == len(step_encoders()) >= 8
    assert {"SRU", "SRUpp", "LSTM", "GRU", "QRNN", "ConvSRU", "ConvLSTM"} <= set(step_encoders())
    assert 0 < outcome.worst < 1, outcome.where


@pytest.mark.parametrize("kind", [SRU, LSTM])
def test_an_encoder_that_forgets_its_state_is_found(
    kind: type[SRU] | type[LSTM], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = kind.forward_with_state

    def forward_with_state(self: Any, x: Tensor, state: object = None) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        return right(self, x)

    monkeypatch.setattr(kind, "forward_with_state", forward_with_state)
    outcome = check_encoders("cpu")
    assert outcome.worst > 1
    assert f"{kind.__name__} step by step" in outcome.where or kind is SRU


@pytest.mark.parametrize(("wrong", "kind"), [(1, "single steps"), (40, "layers")])
def test_a_wrong_layer_is_found(wrong: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ops.sru_layer

    def sru_layer(x: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        h, last = right(x, *args, **options)
        return h, last + 0.1 * (x.size(1) == wrong)

    monkeypatch.setattr(ops, "sru_layer", sru_layer)
    outcome = check_layers("cpu")
    assert outcome.worst > 1
    assert f"the state of {kind}" in outcome.where


def test_the_comparison_changes_no_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_encoders("cpu", check_kernels("cpu", 0))
    assert torch.equal(torch.rand(4), expected)
    assert reference.wide(torch.float16) is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
