"""Imports only point down, and nothing heavy is imported before it is needed."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import srulight

ROOT = Path(srulight.__file__).parent
LAYERS = (
    {"runtime"},
    {"ops", "layers"},
    {"encoders", "text", "data", "targets", "video"},
    {"training", "tasks", "bench", "quantization"},
    {"commands", "checkpoint", "plugins", "compat", "doctor", "export", "hub", "serving"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
"""From the bottom up; a package imports those below it, and those beside it without a circle."""


def parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).with_suffix("").parts


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if name.startswith("srulight.")]


def layer_of(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: "/".join(parts(p)))
def test_imports_point_down(path: Path) -> None:
    own = parts(path)
    if own == ("__init__",):
        return
    for name in imported(path):
        other = tuple(name.split(".")[1:])
        assert layer_of(other[0]) <= layer_of(own[0]), f"{own[0]} must not import {name}"
        if own[0] == other[0] == "tasks" and own[1] != "__init__" and len(other) > 1:
            is_shared = not (ROOT / "tasks" / other[1]).is_dir()
            assert is_shared or own[1] == other[1], f"{own[1]} must not import {name}"


def test_packages_import_each_other_in_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        if parts(path) != ("__init__",):
            others = {name.split(".")[1] for name in imported(path)}
            arrows.setdefault(parts(path)[0], set()).update(others - {parts(path)[0]})
    TopologicalSorter(arrows).prepare()


def test_only_the_extension_touches_the_library() -> None:
    users = [path.name for path in ROOT.rglob("*.py") if "load_library" in path.read_text()]
    assert users == ["extension.py"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from srulight.cli import main; main(['--help']); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.endswith("False\n")
    assert re.search(r"usage: \S+ -m srulight COMMAND", out.stdout)


def test_imports_without_optional_packages() -> None:
    code = """
import sys
for name in ("tensorboard", "sru", "soundfile", "soxr", "sacrebleu", "sacremoses", "kenlm"):
    sys.modules[name] = None
import srulight.commands.training, srulight.compat
print(srulight.SRU(4)(__import__("torch").zeros(1, 2, 4)).shape)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch.Size([1, 2, 128])" in out.stdout, out.stderr
