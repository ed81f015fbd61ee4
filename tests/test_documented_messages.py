"""The page on troubleshooting quotes messages as srulight prints them."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.documents import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
BLOCK = re.compile(r"^ *```text\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SHORTEST = 10
"""Letters that a message in the sources must have besides its expressions to be compared with."""

QUOTED = [
    line.strip().removeprefix("error: ")
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for line in block.splitlines()
]


def templates() -> Iterator[re.Pattern[str]]:
    """Gives a pattern for each line of text in the sources, in which expressions match anything."""
    for path in sorted((ROOT / "srulight").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else None for v in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node.value]
            else:
                continue
            for line in "".join("\0" if p is None else str(p) for p in parts).split("\n"):
                if " " in line and len(line.replace("\0", "")) >= SHORTEST:
                    yield re.compile(re.escape(line.strip()).replace(re.escape("\0"), ".*"))


@pytest.fixture(scope="module")
def known() -> list[re.Pattern[str]]:
    return list(templates())


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_printed(message: str, known: list[re.Pattern[str]]) -> None:
    # The parser puts the option before what it says.
    texts = {message, message.partition(": ")[2]}
    assert any(pattern.fullmatch(text) for text in texts for pattern in known)


def test_there_are_messages_to_compare() -> None:
    assert len(QUOTED) > 20
