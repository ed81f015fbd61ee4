"""What a file that someone else made may name: classes that are here already, of the right kind.

A checkpoint holds settings, and settings name classes that are instantiated. So that to read a
checkpoint never runs what its author chose, settings are vetted before any parser sees them, guided
by the types of the fields that they are for: where a field builds an encoder, a file may name a
subclass of Encoder that is imported. It names no function, and nothing is imported because it says
so.
"""

import dataclasses
import inspect
import re
from collections.abc import Collection
from importlib import import_module
from pydoc import locate
from types import NoneType
from typing import Any

from srulight.runtime.errors import InputError
from srulight.runtime.fields import (
    Unknown,
    arguments_of,
    builds,
    inner_type,
    is_loose,
    known,
    options,
    path_of,
)

_DEEPEST = 50
_PARTS = {"class_path", "init_args", "dict_kwargs"}
_TRUST = "say it yourself on the command line, or name its module in SRULIGHT_PLUGINS"


class Vetting:
    """Vets the settings of one file.

    Args:
        source: The file, for messages.
        said: Import paths of classes and functions that the user wrote, which may be imported for
            their sake, and modules that the user trusts.
    """

    def __init__(self, source: object, said: Collection[str] = ()) -> None:
        self.source = source
        self.said = said

    def one(self, value: Any, kind: Any, where: str) -> Any:  # noqa: ANN401
        """Vets what a field is given.

        Args:
            value: What the file says.
            kind: Type of the field.
            where: Name of the field, for messages.

        Returns:
            The same, with the whole import path of each class.

        Raises:
            InputError: If it is anything but plain data and known classes of the right kind.
        """
        if where.count(".") + where.count("[") > _DEEPEST:
            raise InputError(f"{self.source}: {where:.60}... is nested too deeply")
        if isinstance(value, str):
            return self._text(value, kind, where)
        if isinstance(value, list | tuple):
            inner = inner_type(kind)
            return [self.one(item, inner, f"{where}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, dict):
            return self._mapping(value, kind, where)
        nothing = value is None and (NoneType in options(kind) or _is_open(kind))
        if nothing or isinstance(value, int | float):
            return value
        raise InputError(
            f"{self.source}: {where} must be plain data of its type, got {value!r:.60}"
        )

    def arguments(self, values: Any, cls: type, where: str) -> dict[str, Any]:  # noqa: ANN401
        """Vets the arguments of a class.

        Args:
            values: What the file says.
            cls: The class.
            where: Name of the field that it is for.
        """
        self._require_names(values, where)
        kinds = arguments_of(cls)
        return {
            name: self.one(value, kinds.get(name, Unknown), f"{where}.{name}")
            for name, value in values.items()
        }

    def class_of(self, path: Any, bases: tuple[type, ...], where: str) -> type:  # noqa: ANN401
        """Finds the class that a file means.

        Args:
            path: What the file says.
            bases: What the class must be, or be derived from, one of them.
            where: Name of the field.

        Raises:
            InputError: If there is none; nothing is imported to look for it.
        """
        if not isinstance(path, str):
            raise InputError(f"{self.source}: {where} must name a class, got {path!r:.60}")
        cls = known(path, bases)
        if cls is None:
            for word in self.said:
                if _means(word, path):
                    import_module(word.rpartition(".")[0])
            cls = known(path, bases)
        if cls is None:
            kinds = " or ".join(base.__name__ for base in bases)
            raise InputError(
                f"{self.source}: {where} names {path!r:.80}, which is no {kinds} known here, and "
                f"a file gets nothing imported: if you trust it, {_TRUST}"
            )
        return cls

    def _text(self, value: str, kind: Any, where: str) -> Any:  # noqa: ANN401
        bases = builds(kind)
        if bases:
            if str in options(kind) and value.isidentifier() and known(value, bases) is None:
                return value
            return {"class_path": path_of(self.class_of(value, bases, where))}
        # A parser that knows the type no better takes text for an import path, or for a mapping.
        trusted = value in self.said or value.rpartition(".")[0] in self.said
        if _is_open(kind) and not trusted and not re.fullmatch(r"[\w -]*", value):
            raise InputError(
                f"{self.source}: {where} is {value!r:.80}, which is more than a word, and a file "
                f"names no functions: if you trust it, {_TRUST}"
            )
        return value

    def _mapping(
        self,
        value: dict[Any, Any],
        kind: Any,  # noqa: ANN401
        where: str,
    ) -> dict[str, Any]:
        self._require_names(value, where)
        bases = builds(kind)
        if not bases:
            if _PARTS & value.keys():
                raise InputError(f"{self.source}: {where} builds no class, and names one")
            inner = inner_type(kind)
            return {name: self.one(v, inner, f"{where}.{name}") for name, v in value.items()}
        for base in bases:
            if dataclasses.is_dataclass(base) and "class_path" not in value:
                return self.arguments(value, base, where)
        if "class_path" not in value or value.keys() - _PARTS:
            raise InputError(f"{self.source}: {where} must have a class_path and init_args")
        cls = self.class_of(value["class_path"], bases, where)
        parts = {
            name: self.arguments({} if value[name] is None else value[name], cls, where)
            for name in ("init_args", "dict_kwargs")
            if name in value
        }
        return {"class_path": path_of(cls), **parts}

    def _require_names(self, values: Any, where: str) -> None:  # noqa: ANN401
        if not isinstance(values, dict):
            raise InputError(f"{self.source}: {where} must be a mapping, got {values!r:.60}")
        for name in values:
            # A parser takes one with dots for the way to a setting deeper down, and has some of its
            # own that begin with a line below.
            if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
                raise InputError(f"{self.source}: {where} has no setting {name!r:.60}")


def refuse_functions(values: Any, kind: Any, where: str) -> None:  # noqa: ANN401
    """Looks for functions where classes are meant, in a configuration that was parsed.

    Its author is the user, so that any class will do that the parser accepts. But a function that
    is called with what a configuration says is no way to describe a model.

    Args:
        values: What a field is given.
        kind: Type of the field.
        where: Name of the field.

    Raises:
        InputError: If there is one.
    """
    if isinstance(values, list | tuple):
        for i, item in enumerate(values):
            refuse_functions(item, kind, f"{where}[{i}]")
    elif isinstance(values, dict) and "class_path" in values:
        cls = locate(values["class_path"])
        if not isinstance(cls, type):
            raise InputError(f"{where}: expected a class, got {values['class_path']}")
        kinds = arguments_of(cls)
        for name, value in (values.get("init_args") or {}).items():
            refuse_functions(value, kinds.get(name, Unknown), f"{where}.{name}")
    elif builds(kind) and inspect.isroutine(values):
        raise InputError(f"{where}: expected a class, got the function {values.__qualname__}")


def _is_open(kind: Any) -> bool:  # noqa: ANN401
    return any(is_loose(option) for option in options(kind))


def _means(word: str, path: str) -> bool:
    """Tells whether a user who wrote one means the other; packages offer a class in many places."""
    if "." not in word or "." not in path:
        return False
    one, other = word.split("."), path.split(".")
    return one[0] == other[0] and one[-1] == other[-1]
