"""Lists every message that srulight can raise, warn of or print: ``python tests/messages.py``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SPEAKERS = {
    "InputError",
    "add",
    "warn",
    "rank_zero_warn",
    "rank_zero_info",
    "print",
    "info",
    "error",
}
"""Functions and methods, by their last name, whose arguments people read."""


class Message(NamedTuple):
    """A message in the sources.

    Attributes:
        place: File and line.
        text: The message; expressions stand in braces.
    """

    place: str
    text: str


def messages() -> Iterator[Message]:
    """Gives each message of the Python package and of the kernels once, in the order of files."""
    for path in sorted((ROOT / "srulight").rglob("*.py")):
        calls: dict[tuple[int, str], None] = {}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if isinstance(call, ast.Call) and (
                isinstance(node, ast.Raise) or _name(call) in SPEAKERS
            ):
                texts = filter(None, map(_text, call.args))
                calls.update(((call.lineno, text), None) for text in texts if " " in text)
        for line, text in sorted(calls):
            yield Message(f"{path.relative_to(ROOT)}:{line}", text)
    check = re.compile(r"SRU_CHECK\((.*?)\);", re.DOTALL)
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.is_file():
            source = path.read_text(encoding="utf-8")
            for found in check.finditer(source):
                line = source.count("\n", 0, found.start()) + 1
                if text := "…".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1])):
                    yield Message(f"{path.relative_to(ROOT)}:{line}", text)


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", None) or getattr(call.func, "id", "")


def _text(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(
                str(v.value) if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}"
                for v in node.values
                if isinstance(v, ast.Constant | ast.FormattedValue)
            )
        case ast.BinOp(op=ast.Add()):
            parts = [_text(node.left), _text(node.right)]
            return "".join(part or "{…}" for part in parts) if any(parts) else None
        case ast.IfExp():
            return " | ".join(filter(None, [_text(node.body), _text(node.orelse)])) or None
    return None


if __name__ == "__main__":
    for place, text in messages():
        print(f"{place}: {text}")
