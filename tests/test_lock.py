"""The lock file of uv agrees with the other files, and the image gets what it is built from."""

import re
import tomllib
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.test_dependencies import PROJECT, ROOT, normalized

FIX = "run make lock"


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    return tomllib.loads((ROOT / "uv.lock").read_text())


def test_only_public_hosts(lock: dict[str, Any]) -> None:
    hosts = {urlsplit(url).netloc for url in re.findall(r"\w+://[^\"' ]+", str(lock))}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}, FIX
    sources = [set(package["source"]) for package in lock["package"]]
    assert sources.count({"registry"}) == len(sources) - 1
    for package in lock["package"]:
        for file in [*package.get("wheels", []), package.get("sdist")]:
            assert file is None or file["hash"].startswith("sha256:")


def test_versions_of_the_constraints(lock: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split()[0].split("==") for line in lines if re.match(r"\w", line))
    pins = {normalized(name): version for name, version in pins.items()}
    locked = {(normalized(p["name"]), p.get("version")) for p in lock["package"]}
    differ = {(name, v) for name, v in locked if name in pins and v != pins[name]}
    assert not differ, FIX
    assert len({name for name, _ in locked} & pins.keys()) > 60


def test_dependencies_of_the_project(lock: dict[str, Any]) -> None:
    own = next(package for package in lock["package"] if package["name"] == "srulight")
    locked = {
        parsed(one["name"] + one.get("specifier", ""))
        + tuple(re.findall(r"extra == '(.+)'", one.get("marker", "")))
        for one in own["metadata"]["requires-dist"]
    }
    declared = {parsed(line) for line in PROJECT["dependencies"]}
    for extra, lines in PROJECT["optional-dependencies"].items():
        declared |= {(*parsed(line), extra) for line in lines}
    assert locked == declared, FIX


def parsed(line: str) -> tuple[str, ...]:
    """Splits a requirement into its name and its versions."""
    match = re.fullmatch(r"([\w.-]+)(?:\[.*\])?(.*)", line)
    assert match is not None
    return normalized(match[1]), ",".join(sorted(match[2].split(",")))


def test_the_image_gets_what_it_copies() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        name
        for words in re.findall(
            r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M
        )
        for name in words.split()
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)
    # The build of the package reads these, besides the packages themselves.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {*included, PROJECT["readme"], *PROJECT["license-files"], "hatch_build.py"} <= copied


def test_the_image_runs_without_root() -> None:
    stages = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    common = next(stage for stage in stages if " AS common" in stage)
    assert re.search(r"^USER (?!0|root)\d+$", common, re.M)
    assert all("\nUSER" not in stage for stage in stages if stage is not common)
    assert any("HEALTHCHECK" in stage and "/health" in stage for stage in stages)
    serve, run = stages[-2:]
    assert serve.startswith("common AS serve")
    assert run.startswith("common AS run")
