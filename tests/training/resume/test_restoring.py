"""The state in a checkpoint is compared with the model before it is restored."""

import inspect

import pytest
import torch
from torch import nn

from srulight.runtime.errors import InputError
from srulight.training.resume.restoring import bounded, check_optimizer

OPTIMIZERS = [
    cls
    for _, cls in inspect.getmembers(torch.optim, inspect.isclass)
    if issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
]


def stepped(cls: type[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    # One of them takes matrices only, another sparse gradients only.
    shapes = [(3, 4), (4, 5)] if cls.__name__ == "Muon" else [(3, 4), (5,), ()]
    parameters = [nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = cls(parameters, lr=0.1)  # type: ignore[call-arg]

    def loss() -> float:
        for parameter in parameters:
            gradient = torch.ones_like(parameter)
            sparse = cls is torch.optim.SparseAdam and parameter.dim()
            parameter.grad = gradient.to_sparse() if sparse else gradient
        return 1.0

    if cls is torch.optim.SparseAdam:
        optimizer.param_groups[0]["params"] = parameters[:2]
    loss()
    optimizer.step(loss)
    return optimizer


@pytest.mark.parametrize("cls", OPTIMIZERS, ids=lambda cls: cls.__name__)
def test_an_optimisers_own_state_is_taken(cls: type[torch.optim.Optimizer]) -> None:
    check_optimizer(stepped(cls), stepped(cls).state_dict())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_a_state_of_another_shape_is_refused(fused: bool, amsgrad: bool) -> None:
    weight = nn.Parameter(torch.ones(3, 4))
    weight.grad = torch.ones(3, 4)
    optimizer = torch.optim.AdamW([weight], fused=fused, amsgrad=amsgrad)
    optimizer.step()
    names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else [])]
    for name in names:
        for other in (torch.ones(3), torch.ones(()), torch.ones(4, 3), 1.0):
            state = optimizer.state_dict()
            state["state"][0] = {**state["state"][0], name: other}
            with pytest.raises(InputError, match=rf"state\[0\]\.{name} must (be|have)"):
                check_optimizer(optimizer, state)


def test_a_part_as_large_as_the_weights_is_built() -> None:
    with bounded(nn.Linear(4000, 4000).state_dict()):
        nn.Linear(4000, 4000)
    with pytest.raises(InputError, match=r"got a tensor of shape \(8000, 8000\)"), bounded({}):
        nn.Linear(8000, 8000)
