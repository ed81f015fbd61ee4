"""Vets the settings in an untrusted file: they may only name imported classes of the right kind.

A checkpoint contains settings, and settings name classes to instantiate. Reading a checkpoint must
never run code that its author chose. Therefore, srulight vets settings before any parser sees them,
guided by the types of the fields that they are for. Where a field builds an encoder, a file may
name a subclass of Encoder that is already imported. A file cannot name functions, and never causes
an import.
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
_TRUST = "if you trust it, pass it on the command line, or add its module to SRULIGHT_PLUGINS"


class Vetting:
    """Vets the settings of one file.

    Args:
        source: Path of the file, for error messages.
        said: Import paths that the user wrote, which may be imported on their behalf, and names of
            modules that the user trusts.
    """

    def __init__(self, source: object, said: Collection[str] = ()) -> None:
        self.source = source
        self.said = said

    def one(self, value: Any, kind: Any, where: str) -> Any:  # noqa: ANN401
        """Vets the value of a field.

        Args:
            value: Value in the file.
            kind: Type of the field.
            where: Name of the field, for error messages.

        Returns:
            The value, with the full import path of each class.

        Raises:
            InputError: If the value contains anything but plain data and imported classes of the
                right kind.
        """
        if where.count(".") + where.count("[") > _DEEPEST:
            raise InputError(
                f"{self.source}: {where:.60}... must have at most {_DEEPEST} nested levels"
            )
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
            f"{self.source}: {where} must be plain data of the right type, got {value!r:.60}"
        )

    def arguments(self, values: Any, cls: type, where: str) -> dict[str, Any]:  # noqa: ANN401
        """Vets the arguments of a class.

        Args:
            values: Arguments in the file, by name.
            cls: Class that takes the arguments.
            where: Name of the field that builds the class, for error messages.

        Raises:
            InputError: As for ``one``, or if a name is no valid argument name.
        """
        self._require_names(values, where)
        kinds = arguments_of(cls)
        return {
            name: self.one(value, kinds.get(name, Unknown), f"{where}.{name}")
            for name, value in values.items()
        }

    def class_of(self, path: Any, bases: tuple[type, ...], where: str) -> type:  # noqa: ANN401
        """Finds the class that a file names.

        Args:
            path: Import path in the file.
            bases: Allowed base classes. The class must be one of them, or derive from one.
            where: Name of the field, for error messages.

        Raises:
            InputError: If no such class is imported. Only what the user wrote is imported to find
                it.
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
                f"{self.source}: {where} must name an imported {kinds}, got {path!r:.80}, which a "
                f"file cannot import; {_TRUST}"
            )
        return cls

    def _text(self, value: str, kind: Any, where: str) -> Any:  # noqa: ANN401
        bases = builds(kind)
        if bases:
            if str in options(kind) and value.isidentifier() and known(value, bases) is None:
                return value
            return {"class_path": path_of(self.class_of(value, bases, where))}
        # Without a more precise type, a parser interprets text as an import path or a mapping.
        trusted = value in self.said or value.rpartition(".")[0] in self.said
        if _is_open(kind) and not trusted and not re.fullmatch(r"[\w -]*", value):
            raise InputError(
                f"{self.source}: {where} must be plain words, got {value!r:.80}, which could name "
                f"a function; {_TRUST}"
            )
        return value

    def _mapping(
        self,
        value: dict[Any, Any],
        kind: Any,  # noqa: ANN401
        where: str,
    ) -> dict[str, Any]:
        bases = builds(kind)
        if dict[str, float] in options(kind) and _is_weights(value):
            return value
        self._require_names(value, where)
        if not bases:
            if _PARTS & value.keys():
                raise InputError(f"{self.source}: {where} must not name a class, but does")
            inner = inner_type(kind)
            return {name: self.one(v, inner, f"{where}.{name}") for name, v in value.items()}
        for base in bases:
            if dataclasses.is_dataclass(base) and "class_path" not in value:
                return self.arguments(value, base, where)
        if "class_path" not in value or value.keys() - _PARTS:
            raise InputError(
                f"{self.source}: {where} must consist of class_path and init_args, got "
                f"{', '.join(value) or 'nothing'}"
            )
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
            # A parser interprets dots in a name as a path to a nested setting, and reserves names
            # that begin with an underscore.
            if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
                raise InputError(f"{self.source}: {where} has no setting {name!r:.60}")


def refuse_functions(values: Any, kind: Any, where: str) -> None:  # noqa: ANN401
    """Rejects functions in place of classes in a parsed configuration of the user.

    The configuration is trusted, so every class that the parser accepts is allowed. However, the
    parser would also accept a function that returns an instance, and call it.

    Args:
        values: Value of the field.
        kind: Type of the field.
        where: Name of the field, for error messages.

    Raises:
        InputError: If the value names a function.
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


def _is_weights(value: dict[Any, Any]) -> bool:
    """Returns whether a mapping has numbers alone; any text may be a name, such as that of a class.

    The parser reserves names that begin with an underscore, and leaves all others alone.
    """
    return all(
        isinstance(name, str) and not name.startswith("_") and isinstance(number, int | float)
        for name, number in value.items()
    )


def _means(word: str, path: str) -> bool:
    """Returns whether two import paths may name one class, which packages export in many places."""
    if "." not in word or "." not in path:
        return False
    one, other = word.split("."), path.split(".")
    return one[0] == other[0] and one[-1] == other[-1]
