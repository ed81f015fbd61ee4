"""Checks that encoders which read step by step return what they return for a whole sequence."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srulight import encoders, ops
from srulight.doctor.self_check import Outcome, difference
from srulight.encoders import SRU, MapEncoder, Recurrent
from srulight.ops import reference

_BATCH, _STEPS, _FEATURES, _SIZE, _SIDE = 3, 13, 5, 8, 4
_TOLERANCE = 128 * 2**-23
_SEED = 20180913


def step_encoders() -> dict[str, Callable[[], nn.Module]]:
    """Returns functions that build each encoder of srulight that can read step by step."""
    found: dict[str, Callable[[], nn.Module]] = {}
    for name, kind in sorted(vars(encoders).items()):
        is_class = inspect.isclass(kind) and not inspect.isabstract(kind)
        if is_class and issubclass(kind, Recurrent | MapEncoder):
            found[name] = partial(kind, _FEATURES, hidden_size=_SIZE)
    found["SRU, form of 2017"] = partial(SRU, _FEATURES, hidden_size=_SIZE, peephole=False)
    return found


def check_encoders(device: str, outcome: Outcome | None = None) -> Outcome:
    """Compares each encoder's outputs for single steps with those for the whole sequence.

    Args:
        device: Device to compute on, such as cpu or cuda.
        outcome: What to add the comparisons to; None for a new outcome.
    """
    outcome = Outcome() if outcome is None else outcome
    exactly = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), exactly:
        torch.manual_seed(_SEED)
        for name, build in step_encoders().items():
            encoder: Any = build().eval()
            for parameter in encoder.parameters():
                if not parameter.any():  # zeros would hide what they multiply
                    nn.init.normal_(parameter, std=0.5)
            shape = (_BATCH, _STEPS, _FEATURES)
            x = torch.randn(*shape, *((_SIDE, _SIDE) if isinstance(encoder, MapEncoder) else ()))
            whole, stepwise = _both(encoder.to(device), x.to(device))
            what = f"the output of {name} step by step"
            case = f"B={_BATCH} T={_STEPS} F={_FEATURES}"
            outcome.add(what, case, *difference(stepwise, whole.cpu().double(), _TOLERANCE))
            outcome.count("encoders")
    return outcome


def _both(encoder: Any, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    outputs, state = [], None
    for t in range(x.size(1)):
        y, state = encoder.forward_with_state(x[:, t : t + 1], state)
        outputs.append(y)
    return encoder(x), torch.cat(outputs, 1)


def check_layers(device: str, outcome: Outcome | None = None) -> Outcome:
    """Compares SRU layers in inference with the reference: whole ones, and single steps.

    Single steps have a kernel of their own, and so may whole layers of some dtypes.

    Args:
        device: Device to compute on, such as cpu or cuda.
        outcome: What to add the comparisons to; None for a new outcome.
    """
    outcome = Outcome() if outcome is None else outcome
    generator = torch.Generator().manual_seed(_SEED)
    for steps, kind in ((1, "single steps"), (40, "layers")):
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            for size, peephole, skips in ((5, True, True), (38, False, True), (64, True, False)):
                case = f"{str(dtype).removeprefix('torch.')}, B=3 T={steps} F={size} D={size}"
                wide = reference.wide(dtype)
                shapes = [(3, steps, size), (3 * size, size), (2, size), (2, size), (3, size)]
                x, weight, v, b, c0 = (
                    (torch.randn(shape, generator=generator) / shape[-1] ** 0.5).to(own)
                    for shape, own in zip(shapes, [dtype, dtype, wide, wide, wide], strict=True)
                )
                tensors = (x, weight, x if skips else None, v if peephole else None, b, c0)
                # The products are stored in the dtype of the weight.
                relative = max(64 * torch.finfo(wide).eps, 4 * torch.finfo(dtype).eps)
                results = zip(("output", "state"), *_layer(device, tensors), strict=True)
                for name, got, exact in results:
                    different = difference(got, exact, relative)
                    outcome.add(f"the {name} of {kind}", case, *different)
                outcome.count(kind)
    return outcome


def _layer(
    device: str, tensors: tuple[Tensor | None, ...]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Returns the output and the state of a layer, and those of the reference in float64."""
    moved: Any = [t if t is None else t.to(device) for t in tensors]
    exact: Any = [t if t is None else t.double() for t in tensors]
    with torch.no_grad():
        got = ops.sru_layer(*moved, scale=1.3)
        u = F.linear(*exact[:2]).unflatten(-1, (3, exact[4].size(1)))
        settings: Any = (None, None, 1.3, 0, False, False)
        h, last, _ = reference.sru(u, *exact[2:], *settings)
    return got, (h, last)
