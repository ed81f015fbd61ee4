"""Reads from type annotations which classes an argument accepts."""

import inspect
import sys
from collections.abc import Callable, Iterator
from collections.abc import Callable as CallableABC
from enum import Enum
from types import SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

# Modules of types whose values are written as text or numbers, not as import paths of classes.
_PLAIN = ("builtins", "datetime", "pathlib", "types")


class Unknown:
    """Stands for a missing type, or one that cannot be resolved; it builds no class."""


def known(path: str, bases: tuple[type, ...]) -> type | None:
    """Finds a class by its import path among those that are imported already; imports nothing.

    Args:
        path: Import path of the class. The path of a package that exports the class is enough, and
            so is the bare name.
        bases: Allowed base classes. The class must be one of them, or derive from one.

    Returns:
        The class, or None if there is none.
    """
    module, _, name = path.rpartition(".")
    # Classes that are defined in a function have no import path.
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
    """Returns the classes of which a field of this type accepts or builds instances."""
    found: list[type] = []
    for option in options(kind):
        if get_origin(option) is CallableABC:
            found += builds(get_args(option)[-1])
        elif inspect.isclass(option) and option is not Tensor and not _is_plain(option):
            found.append(option)
    return tuple(dict.fromkeys(found))


def arguments_of(cls: type) -> dict[str, Any]:
    """Returns the types of a constructor's arguments, including those that its bases take."""
    kinds: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        init = vars(owner).get("__init__")
        if not inspect.isfunction(init):
            continue
        names = _content(owner.__module__)
        for parameter in inspect.signature(init).parameters.values():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                kind = _resolved(parameter.annotation, names)
                kinds[parameter.name] = kind | None if parameter.default is None else kind
    return kinds


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:  # noqa: ANN401
    if annotation is inspect.Parameter.empty:
        return Unknown
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except (NameError, TypeError, SyntaxError, AttributeError):
        return Unknown  # an annotation of another package that only type checkers can resolve


def _content(module: str) -> dict[str, Any]:
    """Returns the contents of an imported module, without triggering lazy imports."""
    return dict(vars(sys.modules[module])) if sys.modules.get(module) else {}


def _derived(base: type) -> Iterator[type]:
    yield base
    subclasses: list[type] = type.__subclasses__(base)
    for cls in subclasses:
        yield from _derived(cls)


def options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Returns the members of a union, or the type itself if it is not a union."""
    if get_origin(kind) in (Union, UnionType):
        return tuple(inner for option in get_args(kind) for inner in options(option))
    return (kind,)


def inner_type(kind: Any) -> Any:  # noqa: ANN401
    """Returns the type of the items of a list, or of the values of a mapping."""
    found = [
        inner
        for option in options(kind)
        if inspect.isclass(get_origin(option)) and get_origin(option) is not CallableABC
        for inner in get_args(option)
        if inner is not Ellipsis
    ]
    return Union[tuple(found) or (Unknown,)]  # noqa: UP007


def _is_plain(option: type) -> bool:
    named = option.__module__.split(".")[0] in _PLAIN
    return named or option is Unknown or issubclass(option, str | int | float | Enum)


def is_loose(option: Any) -> bool:  # noqa: ANN401
    """Returns whether a parser may interpret a string for such a field as more than text."""
    return (
        option in (Unknown, Any, object, type, Callable, CallableABC, Tensor)
        or isinstance(option, TypeVar)
        or get_origin(option) in (type, CallableABC)
    ) and get_origin(option) is not Literal


def path_of(cls: type) -> str:
    """Returns the shortest import path of a class, which configurations use."""
    parts = cls.__module__.split(".")
    modules = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    found = (f"{m}.{cls.__name__}" for m in modules if _content(m).get(cls.__name__) is cls)
    # Classes that are defined in a function have no import path.
    return next(found, f"{cls.__module__}.{cls.__qualname__}")


def with_short_paths(value: Any) -> Any:  # noqa: ANN401
    """Replaces the import path of each imported class in settings by its shortest one.

    Args:
        value: Plain data in which ``class_path`` entries name classes.

    Returns:
        A copy of the data with short import paths.
    """
    if isinstance(value, list | tuple):
        return [with_short_paths(item) for item in value]
    if not isinstance(value, dict):
        return value
    short = {name: with_short_paths(inner) for name, inner in value.items()}
    module, _, name = str(short.get("class_path")).rpartition(".")
    cls = _content(module).get(name)
    return short | {"class_path": path_of(cls)} if isinstance(cls, type) else short
