"""What a check reports, and how a check that fails itself is reported."""

import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Mark = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        mark: ``error`` if something is wrong, ``warning`` if something may be wrong or slow.
        name: What was looked at.
        text: What was found.
        advice: What to do next; empty if there is nothing to do.
        facts: The same as plain data, for programs.
    """

    mark: Mark
    name: str
    text: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def ok(name: str, text: str, /, **facts: Any) -> Finding:  # noqa: ANN401
    """Returns a finding about which nothing is wrong."""
    return Finding("ok", name, text, "", facts)


def warning(name: str, text: str, advice: str, /, **facts: Any) -> Finding:  # noqa: ANN401
    """Returns a finding that may explain a problem."""
    return Finding("warning", name, text, advice, facts)


def error(name: str, text: str, advice: str, /, **facts: Any) -> Finding:  # noqa: ANN401
    """Returns a finding about something that is wrong."""
    return Finding("error", name, text, advice, facts)


Check = Callable[[], Iterable[Finding]]


def guarded(name: str, check: Check) -> Iterator[Finding]:
    """Gives the findings of a check, and an error if the check fails itself.

    Args:
        name: Name of the finding if it fails.
        check: Function that gives findings.
    """
    try:
        yield from check()
    except Exception as problem:
        if os.environ.get("SRULIGHT_DEBUG"):
            traceback.print_exc(file=sys.stderr)
        yield failed_check(name, problem)


def failed_check(name: str, problem: Exception) -> Finding:
    """Returns the finding about a check that raised an exception."""
    text = " ".join(str(problem).split())
    kind = type(problem).__name__
    module = getattr(problem, "name", None)
    if isinstance(problem, ModuleNotFoundError) and module:
        return error(name, f"not checked: no module named {module!r}", "install srulight again")
    if isinstance(problem, ImportError):
        return error(name, f"not checked: {kind}: {text}", "fix the errors under Versions first")
    advice = "report this; SRULIGHT_DEBUG=1 shows the traceback"
    return error(name, f"this check failed: {kind}: {text}" if text else kind, advice)


def tidied(value: Any, home: str | None = None) -> Any:  # noqa: ANN401
    """Shortens the home directory to ``~`` and hides passwords in addresses, in all texts.

    Args:
        value: Text, number, or a list or dictionary of such.
        home: Home directory; None for the user's.
    """
    if isinstance(value, dict):
        return {key: tidied(one, home) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [tidied(one, home) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    if not isinstance(value, str):
        return value
    value = re.sub(r"(\w://)[^\s/@]+@", r"\1...@", value)
    for folder in dict.fromkeys(_homes() if home is None else [home]):
        value = re.sub(rf"{re.escape(folder)}(?![\w.-])", "~", value)
    return value


def _homes() -> list[str]:
    home = os.path.expanduser("~")
    found = [home, os.path.realpath(home)]
    return [folder for folder in found if len(Path(folder).parts) > 1]  # neither / nor unknown


def size(count: float) -> str:
    """Writes a number of bytes with its unit."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:.0f} bytes"
