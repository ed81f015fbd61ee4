"""What the README tells people to type is understood."""

import re
import shlex
from pathlib import Path

import pytest

from srulight.commands.training import build

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.strip()
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("python train.py fit") and "--ckpt_path" not in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_fit_commands_build(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    args = shlex.split(command.split("#")[0])[3:]
    build([*args, "--trainer.logger=false", "--trainer.enable_checkpointing=false"], run=False)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 4


def test_paths_it_names_exist() -> None:
    for path in re.findall(r"\b(?:configs|docs|benchmarks)/[\w/]+\.\w+", TEXT):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"`(\w+\.yaml)`", TEXT):
        assert (ROOT / "configs" / path).is_file(), path


def test_no_placeholder_is_left() -> None:
    assert "@@" not in TEXT
