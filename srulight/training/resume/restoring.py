"""Compares the contents of a checkpoint with the model before restoring them."""

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require, require_like
from srulight.training.resume.lightning_internals import TorchDispatchMode

# Tensors that are not weights, such as tables of positions, may have this many numbers.
_SMALL = 10_000_000


def refuse_others(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raises InputError if a checkpoint's weights do not match those of the model.

    Args:
        own: Weights of the model, by name.
        stored: Weights in the checkpoint, by name.
    """
    shapes, others = ({name: w.shape for name, w in ws.items()} for ws in (own, stored))
    differ = sorted(n for n in own.keys() | stored.keys() if shapes.get(n) != others.get(n))
    if differ:
        raise InputError(
            f"the model must match the checkpoint, but {len(differ)} weights differ in name or "
            f"shape, such as {differ[0]}; undo the changes to the model, or leave out --ckpt_path "
            "to start a new run"
        )


@contextmanager
def bounded(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Limits the size of a model that is built in this context to that of a checkpoint.

    The settings in a malicious file may ask for a million layers, or for a layer that does not fit
    into memory.

    Args:
        weights: Weights in the checkpoint, by name.

    Raises:
        InputError: If a tensor, or the number of modules and parameters, is too large.
    """
    parts = 0
    most = 1000 + 20 * len(weights)

    def count(*_: object) -> None:
        nonlocal parts
        parts += 1
        if parts > most:
            raise InputError(
                f"the model must fit the {len(weights)} weights in the checkpoint, got more than "
                f"{most} modules and parameters"
            )

    hooks = [
        register_module_module_registration_hook(count),
        register_module_parameter_registration_hook(count),
    ]
    try:
        with _Allocating(max(_SMALL, 2 * sum(w.numel() for w in weights.values()))):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Allocating(TorchDispatchMode):
    """Checks the size of each tensor before it is allocated.

    Args:
        most: Maximum number of elements of a tensor.
    """

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most = most

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        size = args[0] if args and isinstance(args[0], list | tuple) else ()
        if all(isinstance(n, int) for n in size) and math.prod(size) > self._most:
            raise InputError(
                f"the model must fit the weights in the checkpoint, got a tensor of shape "
                f"{tuple(size)}, which is far larger"
            )
        return func(*args, **(kwargs or {}))


def check_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Checks an optimizer's stored state against its parameters.

    A fused optimizer does not check shapes itself, and would read out of bounds.

    Args:
        optimizer: Optimizer whose state is about to be restored.
        state: Stored state.

    Raises:
        InputError: If an entry is missing, or has another type or shape.
    """
    where = "the optimizer's state"
    groups, stored_groups = optimizer.param_groups, state["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in stored_groups]:
        raise InputError(f"{where} in the checkpoint must have the same parameters as the model")
    for group, stored in zip(groups, stored_groups, strict=True):
        # A schedule adds initial_lr.
        own = {name: v for name, v in group.items() if name not in ("params", "initial_lr")}
        require_like(stored, own, where)
    parameters = [p for group in groups for p in group["params"]]
    indices = [i for group in stored_groups for i in group["params"]]
    shaped = _state_of_one(optimizer)
    for index, parameter in zip(indices, parameters, strict=True):
        if index in state["state"]:
            require(state["state"][index], {"*": object}, f"{where}[{index}]")
            own = {name: parameter if is_shaped else 0 for name, is_shaped in shaped.items()}
            require_like(state["state"][index], own, f"{where}[{index}]")


def _state_of_one(optimizer: torch.optim.Optimizer) -> dict[str, bool]:
    """Returns the names of an optimizer's state per parameter, with whether they have its shape.

    Returns nothing for optimizers of other packages, and for those whose states have other shapes.
    They are written in Python, so torch checks shapes there.
    """
    cls = type(optimizer)
    others = (torch.optim.LBFGS, torch.optim.Adafactor, torch.optim.SparseAdam)
    if not cls.__module__.startswith("torch.optim.") or issubclass(cls, others):
        return {}
    accepted = inspect.signature(cls).parameters
    one = nn.Parameter(torch.zeros(2, 3))
    one.grad = torch.zeros(2, 3)
    twin = cls([one], **{k: v for k, v in optimizer.defaults.items() if k in accepted})
    twin.step()
    kept = {name: value for name, value in twin.state[one].items() if value is not None}
    return {name: torch.as_tensor(value).shape == one.shape for name, value in kept.items()}


def check_schedule(schedule: Any, fresh: dict[str, Any]) -> None:  # noqa: ANN401
    """Checks the state of a restored schedule against its initial state.

    Args:
        schedule: Learning-rate schedule whose state has been restored.
        fresh: State of the schedule before that.

    Raises:
        InputError: If an entry is missing, has another type, or would replace a method.
    """
    where = "the schedule's state"
    state = schedule.state_dict()
    require_like(state, fresh, where)
    for name in state.keys() - fresh.keys():
        if hasattr(type(schedule), name):
            raise InputError(f"{where} must not replace the attribute {name!r}")
