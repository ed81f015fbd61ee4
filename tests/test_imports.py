"""Imports point down only, and nothing heavy loads before it is asked for."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import srulight

ROOT = Path(srulight.__file__).parent
DOWN = {"errors", "faults", "batch", "files", "masking", "records", "text", "tokens"}
SPEECH = {"audio", "features", "frontend", "spelling"}
MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {"commands", "errors", "memory", "program"},
    "commands": {
        "faults",
        "audio",
        "callbacks",
        "checkpoint",
        "data",
        "encoders",
        "fields",
        "logs",
        "plugins",
        "processes",
        "program",
        "storage",
        "structure",
        "tasks",
        "translating",
        "trust",
        "errors",
        "files",
        "records",
    },
    "checkpoint": {"devices", "fields", "structure", "plugins", "tasks", "trust", "errors"},
    "plugins": {"data", "encoders", "errors", "schedules", "tasks", "translators"},
    "trust": {"errors", "fields"},
    "fields": set(),
    "structure": {"errors"},
    "compat": {"encoders"},
    "callbacks": {"data", "encoders", "errors", "logs", "processes", "storage", "structure"},
    "tasks": {
        "encoders",
        "layers",
        "metrics",
        "processes",
        "sampling",
        *SPEECH,
        "decoding",
        "listening",
        "structure",
        "tokenizers",
        "translating",
        "translators",
        "annotation",
        "reading",
        "readers",
        *DOWN,
    },
    "data": {"annotation", "cache", "reading", "storage", "tokenizers", *SPEECH, *DOWN},
    "readers": {"batch", "encoders", "layers", "masking"},
    "reading": {"annotation", "batch", "text"},
    "annotation": {"errors", "text"},
    "encoders": {"errors", "ops", "masking"},
    "layers": {"batch", "masking"},
    "translators": {"encoders", "errors", "layers", "masking"},
    "translating": {"decoding", "tokenizers", "translators"},
    "listening": {"decoding", "encoders", "errors", "frontend", "layers", "overlap"},
    "frontend": {"audio", "errors", "features"},
    "features": {"errors"},
    "audio": {"errors", "sound_headers"},
    "sound_headers": set(),
    "overlap": set(),
    "decoding": {"errors", "files"},
    "records": {"errors", "faults", "files"},
    "files": {"errors"},
    "spelling": {"errors"},
    "logs": {"errors", "storage"},
    "storage": {"errors"},
    "schedules": set(),
    "ops": {"cache", "errors", "masking"},
    "tokens": {"text"},
    "tokenizers": {"errors", "files", "text"},
    "text": {"errors"},
    "sampling": {"errors"},
    "metrics": {"errors", "processes"},
    "processes": {"errors"},
    "cache": {"errors"},
    "masking": set(),
    "batch": set(),
    "errors": set(),
    "memory": set(),
    "program": set(),
    "faults": {"errors"},
    "devices": {"errors"},
}


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


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: "/".join(parts(p)))
def test_imports_point_down(path: Path) -> None:
    own = parts(path)[0]
    if own == "__init__":
        return
    for name in imported(path):
        layer = name.split(".")[1]
        if layer != own:
            assert layer in MAY_IMPORT[own], f"{own} must not import {name}"
        elif own == "tasks" and parts(path)[-1] != "__init__":
            shared = [f"srulight.tasks.{file}" for file in ("base", "compiling", "restoring")]
            assert name in shared, f"{path.name} must not import {name}"


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
for name in ("tensorboard", "sru", "soundfile", "soxr", "sacrebleu", "sacremoses"):
    sys.modules[name] = None
import srulight.commands.training, srulight.compat
print(srulight.SRU(4)(__import__("torch").zeros(1, 2, 4)).shape)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "torch.Size([1, 2, 128])" in out.stdout, out.stderr
