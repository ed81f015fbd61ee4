"""The report: runs all checks, and writes what they found as text or JSON."""

import datetime
import shutil
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from typing import Any

from srulight import __version__
from srulight.doctor.findings import Check, Finding, failed_check, guarded, tidied

ISSUES = "https://github.com/srulight/srulight/issues"

CHECKS: tuple[tuple[str, str, str], ...] = (
    ("Versions", "versions", "check"),
    ("Compilers", "kernels", "check_compilers"),
    ("Kernels", "kernels", "check_libraries"),
    ("Instruction set", "kernels", "check_instruction_set"),
    ("Devices", "hardware", "check_devices"),
    ("Threads", "hardware", "check_threads"),
    ("Memory and disks", "hardware", "check_memory"),
    ("Environment variables", "surroundings", "check_environment"),
    ("Plug-ins", "surroundings", "check_plugins"),
    ("Cache", "surroundings", "check_cache"),
    ("Comparison with the reference", "comparison", "check"),
)
"""Title, module and function of each check. A module is imported when its check runs, because the
import fails if a package is broken."""


@dataclass(frozen=True)
class Section:
    """What one check found.

    Attributes:
        title: Title of the check.
        findings: What it found.
    """

    title: str
    findings: list[Finding]


def examine(seconds: float = 10.0) -> Iterator[Section]:
    """Runs all checks, one after the other.

    Args:
        seconds: Time for the comparison with the reference.
    """
    for title, module, function in CHECKS:
        more = {"seconds": seconds} if module == "comparison" else {}
        findings = [tidied_finding(one) for one in guarded(title, _check(module, function, more))]
        yield Section(title, findings)


def _check(module: str, function: str, options: dict[str, Any]) -> Check:
    def check() -> Iterable[Finding]:
        found: Callable[..., Iterable[Finding]] = getattr(
            import_module(f"srulight.doctor.{module}"), function
        )
        return found(**options)

    return check


def tidied_finding(finding: Finding) -> Finding:
    """Shortens the home directory in all texts of a finding."""
    return Finding(**tidied(asdict(finding)))


def errors(sections: Iterable[Section]) -> int:
    """Returns the number of errors in a report."""
    return sum(finding.mark == "error" for section in sections for finding in section.findings)


def heading() -> str:
    """Returns the first line of a report."""
    return f"srulight {__version__}, {datetime.date.today().isoformat()}"


def text(section: Section) -> str:
    """Formats what one check found."""
    width = max(60, min(110, shutil.get_terminal_size((110, 24)).columns))
    lines = ["", section.title]
    for finding in section.findings:
        says = f"{finding.name}: {finding.text}"
        if finding.advice:
            says += f"; {finding.advice}"
        wrap = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
        lines.append(wrap(says, initial_indent=f"  {finding.mark:8} ", subsequent_indent=" " * 13))
    return "\n".join(lines)


def summary(sections: Iterable[Section]) -> str:
    """Returns the last line of a report: the numbers of errors and warnings."""
    marks = Counter(finding.mark for section in sections for finding in section.findings)
    counts = [
        f"{count or 'no'} {word}{'' if count == 1 else 's'}"
        for count, word in ((marks["error"], "error"), (marks["warning"], "warning"))
    ]
    return f"{' and '.join(counts)}; to report a problem, paste all of this into {ISSUES}"


def as_json(sections: Iterable[Section]) -> dict[str, Any]:
    """Returns a report as plain data.

    Returns:
        ``srulight``: version. ``date``: date of today. ``machine``: what
        ``srulight.runtime.machine.describe`` returns; empty if that fails. ``errors``,
        ``warnings``: their numbers. ``sections``: titles with findings, which have the attributes
        of ``Finding``.
    """
    sections = list(sections)
    marks = Counter(finding.mark for section in sections for finding in section.findings)
    return {
        "srulight": __version__,
        "date": datetime.date.today().isoformat(),
        "machine": _machine(),
        "errors": marks["error"],
        "warnings": marks["warning"],
        "sections": [asdict(section) for section in sections],
    }


def _machine() -> dict[str, Any]:
    try:
        from srulight.runtime import machine

        return dict(tidied(machine.describe()))
    except Exception as problem:
        return {"error": failed_check("machine", problem).text}
