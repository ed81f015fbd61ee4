"""The command ``doctor``, which checks an installation and describes it for a bug report.

It imports neither torch nor Lightning itself, because it must run if they are broken.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from srulight.commands.arguments import ArgumentParser
from srulight.doctor.report import as_json, errors, examine, heading, summary, text
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program

_DESCRIPTION = """Checks that this installation computes correctly, and prints what a bug report
should contain: versions, compilers, kernels, devices, threads, memory, environment variables,
plug-ins and the cache. Each line is marked ok, warning or error. The exit code is 1 if there is an
error."""


def run(args: list[str]) -> None:
    """Runs ``doctor``.

    Args:
        args: Command-line arguments that follow the command.

    Raises:
        SystemExit: With code 1, if something is wrong.
    """
    options = parser().parse_args(args)
    try:
        check_range(0, 3600, **{"--seconds": options.seconds})
        if options.output:
            _check_output(Path(options.output))
        _report(options)
    except InputError as problem:
        # The usual translation of errors imports torch, which may be broken.
        sys.exit(f"error: {problem}")


def parser() -> ArgumentParser:
    """Returns the parser of the options of ``doctor``."""
    parser = ArgumentParser(
        prog=f"{program()} doctor", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0,
        help="duration of the comparison of the kernels with the reference, in seconds (default: "
        "%(default)g); building the kernels and starting the processes takes additional time",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print the report as JSON instead of text"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="also write the report to this file, as JSON"
    )
    return parser


def _check_output(path: Path) -> None:
    """Raises InputError for a file that cannot be written, before the checks begin."""
    if path.is_dir():
        raise InputError(f"--output must be a file, got the folder {path}")
    there = path if path.exists() else next(f for f in path.absolute().parents if f.exists())
    if not os.access(there, os.W_OK) or not (there.is_dir() or there == path):
        raise InputError(f"--output: {path} cannot be written; pass another file")


def _report(options: argparse.Namespace) -> None:
    sections = []
    if not options.json:
        print(heading(), flush=True)
    for section in examine(options.seconds):
        sections.append(section)
        if not options.json:
            print(text(section), flush=True)
    report = json.dumps(as_json(sections), indent=2, ensure_ascii=False)
    if options.json:
        print(report)
    else:
        print(f"\n{summary(sections)}", flush=True)
    if options.output:
        with written(Path(options.output)) as path:
            path.write_text(f"{report}\n", encoding="utf-8", errors="replace")
    if errors(sections):
        sys.exit(1)
