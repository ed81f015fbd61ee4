"""README works when it is followed to the letter, in a fresh clone.

The environment is that of the tests, which the same rule of the Makefile has made.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import FENCE, ROOT

ADDRESS = "https://github.com/srulight/srulight.git"
SHORTER = """
python() {
    case "$*" in *"fit --config configs/quickstart.yaml --model.encoder="*)
        set -- "$@" --trainer.max_epochs=2 ;;
    esac
    command python "$@"
}
make() {
    ln --symbolic "$ENVIRONMENT" .venv
    command make --old-file=.venv/installed "$@"
}
"""
"""Cuts the trainings of other encoders short. The training before them runs in full."""


def script(text: str) -> str:
    """Joins the commands and the Python of README, in their order, into a program for a shell."""
    parts = ["set -euo pipefail", SHORTER]
    for language, block in FENCE.findall(text):
        if language == "bash":
            parts.append(block)
        elif language == "python":
            parts.append(f"python - <<'END_OF_PYTHON'\n{block}END_OF_PYTHON\n")
    return "\n".join(parts)


def pattern(line: str) -> str:
    """Returns a regular expression for a line of output, in which numbers match any number."""
    return r"\d[\d,.]*".join(map(re.escape, re.split(r"\d[\d,.]*", line.strip())))


@pytest.mark.slow(minutes=2)
def test_readme_is_true_from_the_first_line_to_the_last(tmp_path: Path) -> None:
    if subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True
    ).returncode:
        pytest.skip("srulight is not in a git repository here")
    text = subprocess.run(
        ["git", "-C", str(ROOT), "show", "HEAD:README.md"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    foreign = ("PYTHON", "VIRTUAL_ENV", "SRULIGHT", "OMP_", "PYTEST", "GIT_", "MAKE", "COV_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
        "HOME": str(tmp_path),
        "ENVIRONMENT": sys.prefix,
        "OMP_NUM_THREADS": "1",  # threads wait for each other if other tests use the cores
        "CUDA_VISIBLE_DEVICES": "",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    done = subprocess.run(
        ["bash", "-c", script(text)],
        cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    shown = [block for language, block in FENCE.findall(text) if language == "text"]
    assert shown
    for line in filter(lambda line: line.strip(" ."), "".join(shown).splitlines()):
        assert re.search(pattern(line), done.stdout), line
    for label in ("positive", "good"):
        assert label in done.stdout
