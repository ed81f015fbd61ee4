"""Versions of Python, srulight and the packages it needs, and conflicts between them."""

import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import srulight
from srulight.doctor import isolation
from srulight.doctor.findings import Finding, error, ok, warning
from srulight.doctor.isolation import IsolatedError

_PACKAGE = Path(srulight.__file__).parent
_DEVELOPMENT = ("dev", "docs")
MODULES = {"pyyaml": "yaml", "lightning": "lightning.pytorch", "lightning-utilities": ""}
"""Modules to import of packages whose modules have another name; empty for none."""


@dataclass(frozen=True)
class Requirements:
    """What srulight requires.

    Attributes:
        python: Specifier of Python's version.
        always: Requirements of every installation.
        extras: Requirements of each optional extra.
    """

    python: str
    always: list[Requirement]
    extras: dict[str, list[Requirement]]


def declared() -> Requirements:
    """Reads the requirements from ``pyproject.toml`` in a checkout, or from the installed package.

    Raises:
        PackageNotFoundError: If srulight is neither.
    """
    file = _PACKAGE.parent / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        if project.get("name") == "srulight":
            extras = project.get("optional-dependencies", {})
            return Requirements(
                project["requires-python"],
                [Requirement(line) for line in project["dependencies"]],
                {name: [Requirement(line) for line in lines] for name, lines in extras.items()},
            )
    distribution = metadata.distribution("srulight")
    lines = [Requirement(line) for line in distribution.requires or []]
    names = distribution.metadata.get_all("Provides-Extra") or []
    return Requirements(
        "".join(distribution.metadata.get_all("Requires-Python") or []),
        [one for one in lines if _applies(one)],
        {name: [r for r in lines if not _applies(r) and _applies(r, name)] for name in names},
    )


def check() -> Iterator[Finding]:
    """Gives the versions of Python, srulight and all packages that srulight requires."""
    required = declared()
    yield _srulight()
    yield _python(required.python)
    failures = _import_failures(required.always)
    for requirement in required.always:
        failure = failures.get(canonicalize_name(requirement.name), "")
        yield _package(requirement, failure)
    for name, requirements in required.extras.items():
        if name not in _DEVELOPMENT:
            yield _extra(name, requirements)
    yield from _conflicts(required.always)


def _srulight() -> Finding:
    version = srulight.__version__
    facts = {"version": version, "folder": str(_PACKAGE)}
    try:
        installed = metadata.version("srulight")
    except metadata.PackageNotFoundError:
        return ok("srulight", f"{version}, not installed, in {_PACKAGE}", **facts)
    if installed != version:
        return warning(
            "srulight",
            f"{version} in {_PACKAGE}, while pip installed version {installed}",
            "run pip install again, or run the command in another folder",
            **facts,
        )
    return ok("srulight", f"{version} in {_PACKAGE}", **facts)


def _python(specifier: str) -> Finding:
    version = platform.python_version()
    text = f"{version} ({platform.python_implementation()}), {sys.executable}"
    facts = {"version": version, "executable": sys.executable}
    if specifier and not Requirement(f"python{specifier}").specifier.contains(version, True):
        advice = "create an environment with such a Python"
        return error("Python", f"expected {specifier}, got {text}", advice, **facts)
    return ok("Python", text, **facts)


def _package(requirement: Requirement, failure: str) -> Finding:
    name, specifier = requirement.name, str(requirement.specifier)
    install = f'pip install "{requirement}"'
    version = _version(name)
    if version is None:
        return error(name, "not installed", f"run {install}", version=None)
    facts = {"version": version, "required": specifier}
    if not requirement.specifier.contains(version, prereleases=True):
        return error(name, f"expected {specifier}, got {version}", f"run {install}", **facts)
    if failure:
        advice = f"run pip install --force-reinstall {name}"
        return error(name, f"{version} cannot be imported: {failure}", advice, **facts)
    if name == "torch":
        cuda = _torch_cuda()
        with_cuda = f"with CUDA {cuda}" if cuda else "without CUDA"
        return ok(name, f"{version}, {with_cuda}", **facts, cuda=cuda)
    return ok(name, version, **facts)


def _extra(extra: str, requirements: list[Requirement]) -> Finding:
    versions = {one.name: _version(one.name) for one in requirements}
    name, install = f"extra {extra}", f'pip install "srulight[{extra}]"'
    facts = {"versions": versions}
    for one in requirements:
        version = versions[one.name]
        if version is not None and not one.specifier.contains(version, prereleases=True):
            text = f"expected {one}, got {version}"
            return warning(name, text, f"run {install}", **facts)
    text = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        absent = f"{', '.join(missing)} not installed; to add, run {install}"
        text = f"{text}; {absent}" if text else absent
    return ok(name, text, **facts)


def _conflicts(roots: list[Requirement]) -> Iterator[Finding]:
    """Gives a warning for each requirement of a required package that is not met."""
    seen, waiting = set[str](), [canonicalize_name(one.name) for one in roots]
    found = []
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            lines = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        for one in map(Requirement, lines):
            if not _applies(one):
                continue
            version = _version(one.name)
            if version is None or not one.specifier.contains(version, prereleases=True):
                found.append((name, one, version))
            waiting.append(canonicalize_name(one.name))
    for name, one, version in found:
        text = f"{name} expects {one}, got {version or 'none'}"
        yield warning("conflict", text, f'run pip install "{one}", or another version of {name}')
    if not found:
        yield ok("conflicts", f"none among the {len(seen)} packages that srulight uses")


def _applies(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_cuda() -> str | None:
    import torch

    return torch.version.cuda


def _import_failures(requirements: list[Requirement]) -> dict[str, str]:
    """Imports each required package in another process, and returns what fails, by package."""
    names = [canonicalize_name(one.name) for one in requirements]
    modules = {name: MODULES.get(name, re.sub("-", "_", name)) for name in names}
    try:
        failures: dict[str, str] = isolation.call(import_failures, modules, timeout=300)
    except IsolatedError as problem:
        failures = {"torch": str(problem)}
    return failures


def import_failures(modules: dict[str, str]) -> dict[str, str]:
    """Imports modules, and returns the errors of those that fail.

    Args:
        modules: Name of the module to import for each package.

    Returns:
        The error for each package whose module cannot be imported.
    """
    failures = {}
    for package, module in modules.items():
        try:
            if module:
                import_module(module)
        except BaseException as problem:
            failures[package] = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    return failures
