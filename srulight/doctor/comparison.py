"""Runs the self-check for each instruction set and each GPU, and reports what it found."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from srulight.doctor import isolation, kernels
from srulight.doctor.cases import COMBINATIONS
from srulight.doctor.codebook_check import check_codebooks
from srulight.doctor.encoder_check import check_encoders, check_layers
from srulight.doctor.findings import Finding, error, ok, warning
from srulight.doctor.isolation import IsolatedError
from srulight.doctor.self_check import Outcome, check_kernels
from srulight.ops.extension import SWITCH

_PATIENCE = 120.0
"""Seconds that a comparison may take besides the time that it is given."""


def compare(device: str, seconds: float) -> dict[str, Any]:
    """Compares kernels, layers and encoders with the reference, in this process.

    Returns:
        The attributes of an ``Outcome``, and ``level``, the instruction set of the kernels.
    """
    found = kernels.probe(device)
    outcome = Outcome()
    check_layers(device, outcome)
    check_codebooks(device, outcome)
    check_encoders(device, outcome)
    check_kernels(device, seconds, outcome)
    return {**asdict(outcome), "level": found["level"], "loaded": found["loaded"]}


def check(seconds: float = 10.0) -> Iterator[Finding]:
    """Compares the kernels with the reference, for each instruction set and each type of device.

    Args:
        seconds: Time for all comparisons together, in which they begin no other case.
    """
    plan: list[tuple[str, str]] = []
    for device in kernels.devices():
        if device != "cpu" or not kernels.probed("cpu")["loaded"]:
            plan.append((device, ""))
            continue
        best = kernels.probed("cpu")["level"]
        below = [level for level in kernels.levels() if level != best]
        # The kernels that this installation uses come first, and get the most time.
        plan += [("cpu", best), *(("cpu", level) for level in below)]
    shares = [2 if i == 0 else 1 for i in range(len(plan))]
    for (device, level), share in zip(plan, shares, strict=True):
        yield _finding(device, level, seconds * share / sum(shares))


def _finding(device: str, level: str, seconds: float) -> Finding:
    loaded = kernels.probed(device)["loaded"]
    kind = level or ("kernels" if loaded else "PyTorch reference")
    name = f"{device.upper()}, {kind}"
    environment = {kernels.CPU: level} if level else {}
    if not loaded:  # a damaged library may kill the process
        environment[SWITCH] = "off"
    try:
        found = isolation.call(
            compare, device, seconds, environment=environment, timeout=seconds + _PATIENCE
        )
    except IsolatedError as problem:
        return error(name, f"the comparison failed: {problem}", _avoid(device, level))
    counts = dict(found["cases"])
    kinds = ("single steps", "layers", "4-bit products", "encoders")
    others = ", ".join(f"{counts.pop(kind)} {kind}" for kind in kinds)
    cases, dtypes = sum(counts.values()), ", ".join(counts)
    text = (
        f"{cases} cases ({dtypes}), {others}: the largest difference is {found['worst']:.2f} of "
        "its tolerance"
    )
    if found["worst"] > 1:
        wrong = (
            f"{text}, which is wrong: {found['where']} differs from the reference by "
            f"{found['difference']:.3g}"
        )
        return error(name, wrong, _avoid(device, level), **found)
    if level and found["level"] != level:
        text = f"asked for {level}, but the kernels use {found['level']}: {text}"
        return warning(name, text, "report this", **found)
    if cases < COMBINATIONS:
        text = f"{text}; more time (--seconds) would cover all {COMBINATIONS} combinations"
    return ok(name, text, **found)


def _avoid(device: str, level: str) -> str:
    lower = "SRULIGHT_CPU=baseline or " if level not in ("", "baseline") else ""
    return (
        f"report this, and set {lower}{SWITCH}=off, which computes on {device} with the slower "
        "PyTorch reference"
    )
