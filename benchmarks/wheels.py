"""Lists and downloads what a machine with torch but without a package index needs."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHON = "3.12"
EXTRAS = ("speech", "translation")
ALSO = ("pytest", "pytest-xdist", "sru", "fla-core", "einops")
"""Packages that run the tests, and packages that srulight is compared with."""

PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (35, 34, 31, 28, 27, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def _needs(requirement: Requirement, python: str) -> list[Requirement]:
    """Returns the requirements of an installed distribution, with the requested extras."""
    try:
        lines = requires(requirement.name) or []
    except PackageNotFoundError:  # only compared with, and not installed here
        return []
    needs = []
    for need in map(Requirement, lines):
        for extra in ("", *requirement.extras):
            place = {"extra": extra, "python_version": python, "python_full_version": f"{python}.0"}
            if need.marker is None or need.marker.evaluate(place):
                needs.append(need)
                break
    return needs


def _name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def _closure(roots: list[str], python: str, but: set[str]) -> set[str]:
    """Returns the names of all direct and indirect requirements, without those in ``but``."""
    found: set[str] = set()
    asked: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        key = (_name(requirement), frozenset(requirement.extras))
        if key[0] in but or key in asked:
            continue
        asked.add(key)
        found.add(key[0])
        todo += _needs(requirement, python)
    return found


def pinned() -> dict[str, str]:
    """Returns the versions in constraints.txt by package."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {_name(Requirement(name)): number for name, number in pairs}


def needed(python: str = PYTHON) -> list[str]:
    """Lists what srulight needs apart from torch, numpy and their dependencies.

    Versions come from constraints.txt or, for packages that it lacks, from this environment.

    Args:
        python: Version of Python on the other machine.

    Returns:
        Requirements, as ``name==version``.
    """
    there = _closure(["torch", "numpy"], python, set())
    roots = [f"srulight[{','.join(EXTRAS)}]", *ALSO]
    names = _closure(roots, python, there) - {"srulight"}
    pins = pinned()
    return [f"{name}=={pins.get(name) or version(name)}" for name in sorted(names)]


def download_command(folder: Path, python: str = PYTHON) -> list[str]:
    """Returns the command that downloads the wheels into a folder."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    return [*pip, *platforms, f"--dest={folder}", *needed(python)]


def pack(wheels: Path, libraries: Path, *, fetch: bool) -> None:
    """Prints what the other machine needs, with sizes, and downloads the wheels if ``fetch``."""
    if fetch:
        shutil.rmtree(wheels, ignore_errors=True)
        subprocess.run(download_command(wheels), check=True)
    sizes = {f.name.split("-")[0].lower(): f.stat().st_size for f in wheels.glob("*.whl")}
    print(f"wheels for Python {PYTHON}, apart from torch and its dependencies:")
    for name in needed():
        size = sizes.get(name.split("==")[0].replace("-", "_"))
        print(f"  {name:34}", "not downloaded" if size is None else f"{size / 1e6:6.2f} MB")
    tree = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / os.fsdecode(name) for name in tree.stdout.split(b"\0") if name]
    built = list(libraries.glob("sru-*"))
    total = 0
    for what, found in (
        ("wheels", list(wheels.glob("*.whl"))),
        ("prebuilt libraries", built),
        ("working tree", [f for f in files if f.is_file()]),
    ):
        size = sum(file.stat().st_size for file in found)
        total += size
        print(f"{what}: {len(found)} files, {size / 1e6:.1f} MB")
    print(f"total: {total / 1e6:.1f} MB")
