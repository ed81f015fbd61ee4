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


def test_commands_come_after_the_environment_they_need() -> None:
    assert TEXT.index("source .venv/bin/activate") < TEXT.index("\npython train.py")


def test_installing_more_leaves_the_sources_where_they_are() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in re.findall(r"pip install .*constraints.*", path.read_text()):
            assert " -e " in line, f"{path.name}: {line}"


def test_own_translations_ask_for_the_files_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (command,) = [command for command in COMMANDS if "ParallelText" in command]
    corpus = build([*shlex.split(command)[3:]], run=False).datamodule.corpus
    assert (corpus.train, corpus.val, corpus.test) == (["train"], "val", None)


def test_no_module_has_the_name_of_a_folder_that_work_leaves() -> None:
    # A linter would take "import runs" for the folder.
    left = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    assert "runs" in left
    assert not {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & {*left, "data"}


def test_no_placeholder_is_left() -> None:
    assert "@@" not in TEXT
