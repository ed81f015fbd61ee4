"""Only one file uses private names of Lightning and torch."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from lightning import LightningModule

import srulight

ROOT = Path(srulight.__file__).parent
ADAPTER = "training/resume/lightning_internals.py"
OTHERS = {
    "ops/": "operators need torch's own ways to be exported, transformed and registered",
    "bench/timing.py": "torch has no public way to keep a GPU busy while the host prepares work",
    "commands/parser.py": "argparse has no public way to list its options",
    "export/onnx_program.py": "torch has no public errors and packages of compiled programs",
    "quantization/matrix.py": "torch has no public way to notice that a module moves or loads",
    "quantization/recurrent.py": "torch's quantized operators take no other tensors",
    "encoders/sru.py": "torch has no public way to see hooks, and its attributes are slow",
    "export/self_contained.py": "the scan of torch is not public yet",
    "export/formats.py": "torch has no public way to compile a program ahead of time",
}
"""The files that may use private names of other packages, and why."""
PUBLIC = {"_asdict", "_replace", "_fields", "_make"}  # of named tuples
LIBRARIES = ("lightning", "torch", "torchmetrics", "jsonargparse")


def is_private(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"_[^_]\w*", name) is not None


def foreign_names(source: str) -> Iterator[str]:
    """Returns the private names that some code uses but does not define."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stored = (node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Store))
    for node in stored:
        if isinstance(node, ast.Name):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
            own.add(node.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if ast.unparse(node.value) not in ("self", "cls") and node.attr not in own | PUBLIC:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            if is_private(getattr(node.args[1], "value", None)):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("srulight"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(map(is_private, names)):
                yield ast.unparse(node)


def is_checked(path: Path) -> bool:
    return not path.relative_to(ROOT).as_posix().startswith((ADAPTER, *OTHERS))


def test_no_other_file_names_what_is_private_elsewhere() -> None:
    paths = [path for path in ROOT.rglob("*.py") if is_checked(path)]
    assert len(paths) > 100
    found = {path.name: list(foreign_names(path.read_text())) for path in paths}
    assert not {name: names for name, names in found.items() if names}


@pytest.mark.parametrize(
    "source",
    [
        "trainer.fit_loop._restarting = False",
        "self.trainer.fit_loop._restarting = False",
        "getattr(optimizer, '_step_supports_amp_scaling', False)",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "from lightning.fabric.x import _Launcher",
    ],
)
def test_what_is_private_is_found(source: str) -> None:
    assert len(list(foreign_names(source))) == 1
    assert not list(foreign_names("self._x = 1\nother._x._replace(a=other.__class__)"))


def private_names(cls: type) -> set[str]:
    """Returns the private names that a class defines, or uses on itself."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # written in C
        source = ""
    found = re.findall(r"\b(?:self|cls|super\(\))\.(_\w+)|\bdef (_\w+)", source)
    defined = vars(cls).keys() - {"_abc_impl", "_backward_cls"}  # which Python and torch add
    return {name for names in [*found, defined] for name in names if is_private(name)}


def own_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages([str(ROOT)], "srulight."):
        if not module.name.endswith("__main__"):
            for value in vars(import_module(module.name)).values():
                if inspect.isclass(value) and value.__module__ == module.name:
                    yield value


def test_no_class_has_a_private_name_of_its_bases() -> None:
    found = []
    for cls in own_classes():
        bases = [base for base in cls.__mro__ if base.__module__.startswith(LIBRARIES)]
        theirs = set().union(*map(private_names, bases))
        if is_checked(Path(inspect.getfile(cls))):
            found += [f"{cls.__name__}.{name}" for name in private_names(cls) & theirs]
    assert not found


def test_a_private_name_of_a_base_is_found() -> None:
    class Mine(LightningModule):
        def rank(self) -> bool:
            return self._trainer is None

    assert private_names(Mine) & private_names(LightningModule) == {"_trainer"}
