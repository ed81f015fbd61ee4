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
import sys
from collections.abc import Callable, Collection, Iterator
from collections.abc import Callable as CallableABC
from importlib import import_module
from types import SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from srulight.errors import InputError

_PARTS = {"class_path", "init_args", "dict_kwargs"}
# Written as text or numbers, and never as the path of a class.
_PLAIN = ("builtins", "datetime", "pathlib", "types")


class Unknown:
    """The type of what has none, or one that cannot be found out; it builds nothing."""


class Vetting:
    """Vets the settings of one file.

    Args:
        source: The file, for messages.
        said: Import paths that the user wrote, which may be imported for their sake.
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
        if isinstance(value, str):
            return self._text(value, kind, where)
        if isinstance(value, list | tuple):
            inner = _inner(kind)
            return [self.one(item, inner, f"{where}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, dict):
            return self._mapping(value, kind, where)
        if value is None or isinstance(value, int | float):
            return value
        raise InputError(f"{self.source}: {where} must be plain data, got a {type(value).__name__}")

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
                "a file gets nothing imported: if you trust it, name the class yourself on the "
                "command line, or its module in SRULIGHT_PLUGINS"
            )
        return cls

    def _text(self, value: str, kind: Any, where: str) -> Any:  # noqa: ANN401
        bases = builds(kind)
        if bases:
            if str in _options(kind) and value.isidentifier() and known(value, bases) is None:
                return value
            return {"class_path": _path(self.class_of(value, bases, where))}
        loose = any(_is_loose(option) for option in _options(kind))
        # A parser that knows the type no better takes text for an import path, or for a mapping.
        if loose and not re.fullmatch(r"[\w -]*", value):
            raise InputError(f"{self.source}: {where} must be a plain word, got {value!r:.80}")
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
            inner = _inner(kind)
            return {name: self.one(v, inner, f"{where}.{name}") for name, v in value.items()}
        for base in bases:
            if dataclasses.is_dataclass(base) and "class_path" not in value:
                return self.arguments(value, base, where)
        if "class_path" not in value or value.keys() - _PARTS:
            raise InputError(f"{self.source}: {where} must have a class_path and init_args")
        cls = self.class_of(value["class_path"], bases, where)
        parts = {
            name: self.arguments(value[name] or {}, cls, where)
            for name in ("init_args", "dict_kwargs")
            if name in value
        }
        return {"class_path": _path(cls), **parts}

    def _require_names(self, values: Any, where: str) -> None:  # noqa: ANN401
        if not isinstance(values, dict):
            raise InputError(f"{self.source}: {where} must be a mapping, got {values!r:.60}")
        for name in values:
            # A parser takes one with dots for the way to a setting deeper down.
            if not isinstance(name, str) or not name.isidentifier():
                raise InputError(f"{self.source}: {where} has no setting {name!r:.60}")


def known(path: str, bases: tuple[type, ...]) -> type | None:
    """Finds an imported class by its import path; imports nothing, and looks at nothing else.

    Args:
        path: The path; of a package that offers the class is enough, or the bare name.
        bases: What it must be, or be derived from, one of them.
    """
    module, _, name = path.rpartition(".")
    # What is made in a function has no path.
    found = [
        cls
        for cls in dict.fromkeys(cls for base in bases for cls in _derived(base))
        if cls.__name__ == name and _content(cls.__module__).get(name) is cls
        if not inspect.isabstract(cls)
    ]
    offered = _content(module).get(name)
    below = [cls for cls in found if not module or f"{cls.__module__}.".startswith(f"{module}.")]
    return next((cls for cls in found if cls is offered), below[0] if below else None)


def builds(kind: Any) -> tuple[type, ...]:  # noqa: ANN401
    """Gives the classes that a field of this type takes, or builds."""
    found: list[type] = []
    for option in _options(kind):
        if get_origin(option) is CallableABC:
            found += builds(get_args(option)[-1])
        elif inspect.isclass(option) and option is not Tensor and not _is_plain(option):
            found.append(option)
    return tuple(dict.fromkeys(found))


def arguments_of(cls: type) -> dict[str, Any]:
    """Gives the types of a class's arguments, and of those it may hand on to its bases."""
    kinds: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        init = vars(owner).get("__init__")
        if not inspect.isfunction(init):
            continue
        names = _content(owner.__module__)
        for parameter in inspect.signature(init).parameters.values():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                kinds[parameter.name] = _resolved(parameter.annotation, names)
    return kinds


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:  # noqa: ANN401
    if annotation is inspect.Parameter.empty:
        return Unknown
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except (NameError, TypeError, SyntaxError, AttributeError):
        return Unknown  # of another package, and for type checkers only


def _content(module: str) -> dict[str, Any]:
    """Gives what an imported module holds, without asking it for what it would import."""
    return dict(vars(sys.modules[module])) if sys.modules.get(module) else {}


def _derived(base: type) -> Iterator[type]:
    yield base
    subclasses: list[type] = type.__subclasses__(base)
    for cls in subclasses:
        yield from _derived(cls)


def _options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if get_origin(kind) in (Union, UnionType):
        return tuple(inner for option in get_args(kind) for inner in _options(option))
    return (kind,)


def _inner(kind: Any) -> Any:  # noqa: ANN401
    """Gives the type of what is in a list, or is a value in a mapping."""
    found = [
        inner
        for option in _options(kind)
        if inspect.isclass(get_origin(option)) and get_origin(option) is not CallableABC
        for inner in get_args(option)
        if inner is not Ellipsis
    ]
    return Union[tuple(found) or (Unknown,)]  # noqa: UP007


def _is_plain(option: type) -> bool:
    return option is Unknown or option.__module__.split(".")[0] in _PLAIN


def _is_loose(option: Any) -> bool:  # noqa: ANN401
    """Tells whether text for such a field may be taken for more than text."""
    return (
        option in (Unknown, Any, object, type, Callable, CallableABC, Tensor)
        or isinstance(option, TypeVar)
        or get_origin(option) in (type, CallableABC)
    ) and get_origin(option) is not Literal


def _means(word: str, path: str) -> bool:
    """Tells whether a user who wrote one means the other; packages offer a class in many places."""
    if "." not in word or "." not in path:
        return False
    one, other = word.split("."), path.split(".")
    return one[0] == other[0] and one[-1] == other[-1]


def _path(cls: type) -> str:
    """Gives the shortest path by which the class is imported, as configurations have it."""
    parts = cls.__module__.split(".")
    modules = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return next(f"{m}.{cls.__name__}" for m in modules if _content(m).get(cls.__name__) is cls)
