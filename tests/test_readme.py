"""The documents name what is there, in the order in which it is needed."""

import re
import shlex
from pathlib import Path

import pytest

from srulight.commands.training import build
from tests.documents import DOCUMENTS, ROOT

TEXT = (ROOT / "README.md").read_text()

EXAMPLES = re.compile("yours|NAME|tagging")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_it_names_exist(document: Path) -> None:
    folders = "benchmarks|configs|csrc|docs|srulight|tests"
    named = re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.\w+", document.read_text())
    missing = [path for path in named if not (ROOT / path).is_file() and not EXAMPLES.search(path)]
    assert not missing


def test_configurations_it_names_exist() -> None:
    table = re.findall(r"^\| \[.*\]\(docs/guides/.*?\) \((.*?)\) \|", TEXT, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(table))
    assert len(table) == 6
    assert len(named) > 10
    for name in named:
        assert (ROOT / "configs" / f"{name}.yaml").is_file(), name


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 200


def test_what_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert len(links) > 20
    for link in links:
        assert link.startswith("https://") or (ROOT / link).is_file(), link


def test_commands_come_after_the_environment_they_need() -> None:
    assert TEXT.index("source .venv/bin/activate") < TEXT.index("\npython train.py")


def test_installing_more_leaves_the_sources_where_they_are() -> None:
    lines = [
        line
        for path in DOCUMENTS
        for line in re.findall(r"pip install .*-c constraints.*", path.read_text())
    ]
    assert len(lines) > 3
    for line in lines:
        assert " -e " in line or ".[" not in line


def test_own_translations_ask_for_the_files_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    guide = (ROOT / "docs" / "guides" / "translation.md").read_text().replace("\\\n", " ")
    found = re.findall(r"^python train.py fit (.*corpus.train=\[train\].*)", guide, re.MULTILINE)
    corpus = build(shlex.split(found[0]), run=False).datamodule.corpus
    assert (corpus.train, corpus.val, corpus.test) == (["train"], "val", "test")


def test_no_module_has_the_name_of_a_folder_that_work_leaves() -> None:
    # A linter would take "import runs" for the folder.
    left = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    assert "runs" in left
    assert not {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & {*left, "data"}


def test_no_placeholder_is_left() -> None:
    assert "@@" not in TEXT
