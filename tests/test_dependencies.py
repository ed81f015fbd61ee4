"""All imports are declared, and optional packages are imported only when they are needed."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import srulight

SOURCE = Path(srulight.__file__).parent
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = packages_distributions()


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normalized(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in requirements}


REQUIRED = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
OPTIONAL = set().union(
    *(packages for extra, packages in EXTRAS.items() if extra not in ("dev", "docs"))
)

ADAPTERS = SOURCE / "bench" / "adapters"
COMPARED = {
    "sru", "mingru-pytorch", "mlstm-kernels", "onnxruntime", "onnx", "openvino", "nncf",
}  # fmt: skip
"""Packages that ``bench`` measures wherever they are installed, and that nothing depends on."""


def imports(node: ast.AST, is_lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Gives the modules that code imports, and whether only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        found: list[str] = []
        if isinstance(child, ast.Import):
            found = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            found = [child.module or ""]
        elif isinstance(child, ast.Call) and re.search(r"import(_module|ed)$", _called(child)):
            found = [ast.literal_eval(a) for a in child.args[:1] if isinstance(a, ast.Constant)]
        yield from ((name.partition(".")[0], is_lazy) for name in found)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, is_lazy or is_function)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def undeclared(code: str, also: frozenset[str] = frozenset()) -> list[str]:
    """Names what code imports and nobody declares, or what is optional and imported at once."""
    missing = []
    for name, is_lazy in imports(ast.parse(code)):
        if name in sys.stdlib_module_names or name == "srulight":
            continue
        packages = {normalized(one) for one in DISTRIBUTIONS.get(name, [name])}
        if not packages & (REQUIRED | OPTIONAL | also if is_lazy else REQUIRED):
            missing.append(name)
    return missing


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_what_is_imported_is_declared(path: Path) -> None:
    also = frozenset(COMPARED if path.is_relative_to(ADAPTERS) else ())
    assert undeclared(path.read_text(), also) == []


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import torch.nn\nfrom yaml import safe_load", []),
        ("import soundfile", ["soundfile"]),
        ("def f():\n    import soundfile", []),
        ("def f():\n    return import_module('soundfile')", []),
        ("soxr = importlib.import_module('soxr')", ["soxr"]),
        ("def f():\n    import requests", ["requests"]),
        ("class A:\n    from pytest import fixture", ["pytest"]),
        ("if TYPE_CHECKING:\n    import sru", []),
    ],
)
def test_what_is_not_declared_is_found(code: str, missing: list[str]) -> None:
    assert undeclared(code) == missing


def test_what_is_tested_with_is_pinned() -> None:
    pinned = names((ROOT / "constraints.txt").read_text().splitlines())
    assert REQUIRED | OPTIONAL | EXTRAS["dev"] | COMPARED <= pinned


def test_whoever_develops_has_all_that_is_optional() -> None:
    assert OPTIONAL - EXTRAS["dev"] == {"tensorboard"}
