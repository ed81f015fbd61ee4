"""What a checkpoint holds for a model is compared with the model, before it is put into it."""

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

_SMALL = 10_000_000  # numbers; what is no weight, such as a table of positions, may be so large


def refuse_others(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raises InputError if a checkpoint's weights are not those of the model."""
    shapes, others = ({name: w.shape for name, w in ws.items()} for ws in (own, stored))
    differ = sorted(n for n in own.keys() | stored.keys() if shapes.get(n) != others.get(n))
    if differ:
        raise InputError(
            f"the model is not that of the checkpoint: {len(differ)} weights are in one only, or "
            f"of another shape, such as {differ[0]}; leave out what changes it, or leave out "
            "--ckpt_path to train it anew"
        )


@contextmanager
def bounded(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Stops the building of a model that is far larger than the weights that are there for it.

    Settings in a file may ask for a million layers, or for one that no memory can hold.

    Args:
        weights: Those of the checkpoint.

    Raises:
        InputError: If a tensor, or the number of parts, is too large.
    """
    parts = 0
    most = 1000 + 20 * len(weights)

    def count(*_: object) -> None:
        nonlocal parts
        parts += 1
        if parts > most:
            raise InputError(f"the model is far larger than the {len(weights)} weights in the file")

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
    """Looks at the size of each tensor that is made, before it is.

    Args:
        most: Numbers that one may have.
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
                f"the model needs a tensor of {tuple(size)}, far larger than what is in the file"
            )
        return func(*args, **(kwargs or {}))


def check_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Compares an optimiser's state with its parameters; a fused one reads on behind the end.

    Args:
        optimizer: The optimiser.
        state: What it is about to be given.

    Raises:
        InputError: If a part is missing, or of another type or shape.
    """
    where = "the optimiser's state"
    groups, stored_groups = optimizer.param_groups, state["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in stored_groups]:
        raise InputError(f"{where} in the checkpoint is of other parameters than the model has")
    for group, stored in zip(groups, stored_groups, strict=True):
        # A schedule adds the rate that it began with.
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
    """Tells what such an optimiser keeps of a parameter, and whether in the parameter's shape.

    Nothing is told of those of other packages, and of those whose shapes are their own: they are
    written in Python, where torch compares shapes.
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
    """Compares a schedule that was given the state in a checkpoint with itself before.

    Args:
        schedule: A learning-rate schedule.
        fresh: Its state when it was new.

    Raises:
        InputError: If a part is missing, of another type, or none of its own.
    """
    where = "the schedule's state"
    state = schedule.state_dict()
    require_like(state, fresh, where)
    for name in state.keys() - fresh.keys():
        if hasattr(type(schedule), name):
            raise InputError(f"{where} has an unknown part {name!r}")
