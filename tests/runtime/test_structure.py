"""Plain data from a file are checked against the expected structure."""

from typing import Any

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require, require_like


def test_what_is_whole_has_its_shape() -> None:
    shape = {"a": int, "b?": [str], "c": {"*": (float, type(None))}}
    require({"a": 0, "c": {"x": 1.0, "y": None}}, shape, "it")
    for value, message in [
        ({"c": {}}, "it lacks a"),
        ({"a": True, "c": {}}, "it.a must be of type int, got bool"),
        ({"a": -1, "c": {}}, "it.a must be at least 0, got -1"),
        ({"a": 1, "b": ["", 1], "c": {}}, r"it.b\[1\] must be of type str, got int"),
        ({"a": 1, "c": {"x": 1}}, "it.c.x must be of type float or NoneType, got int"),
        ({"a": 1, "c": {}, 2: 1}, "it must have strings as keys, got 2"),
    ]:
        with pytest.raises(InputError, match=f"^{message}$"):
            require(value, shape, "it")


def test_a_state_is_like_that_of_its_kind() -> None:
    own = {"n": 1, "x": torch.zeros(2), "s": "", "l": [1.0], "any": None, "b": False}
    require_like({**own, "n": torch.ones(()), "l": [], "any": "x", "more": 1}, own, "it")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"n": "1"}, "it.n must be a number, got str"),
        ({"x": torch.zeros(3)}, r"it.x must have shape \(2,\), got \(3,\)"),
        ({"l": ["x"]}, r"it.l\[0\] must be a number, got str"),
        ({"b": 1}, "it.b must be of type bool, got int"),
        ({"s": None}, "it.s must be of type str, got NoneType"),
    ]
    for other, message in wrong:
        with pytest.raises(InputError, match=f"^{message}$"):
            require_like({**own, **other}, own, "it")
