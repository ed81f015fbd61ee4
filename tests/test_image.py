"""The image gets what it is built from, and runs without root."""

import re
import tomllib

from tests.test_dependencies import PROJECT, ROOT


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
