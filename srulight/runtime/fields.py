"""What the types of a class's arguments say of the classes that may be given for them."""

import inspect
import sys
from collections.abc import Callable, Iterator
from collections.abc import Callable as CallableABC
from enum import Enum
from types import SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

# Modules of types whose values are written as text or numbers, not as the path of a class.
_PLAIN = ("builtins", "datetime", "pathlib", "types")


class Unknown:
    """The type of what has none, or one that cannot be found out; it builds nothing."""


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
    for option in options(kind):
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
                kind = _resolved(parameter.annotation, names)
                kinds[parameter.name] = kind | None if parameter.default is None else kind
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


def options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Gives the types that a union is made of, or the type alone."""
    if get_origin(kind) in (Union, UnionType):
        return tuple(inner for option in get_args(kind) for inner in options(option))
    return (kind,)


def inner_type(kind: Any) -> Any:  # noqa: ANN401
    """Gives the type of what is in a list, or is a value in a mapping."""
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
    """Tells whether text for such a field may be taken for more than text."""
    return (
        option in (Unknown, Any, object, type, Callable, CallableABC, Tensor)
        or isinstance(option, TypeVar)
        or get_origin(option) in (type, CallableABC)
    ) and get_origin(option) is not Literal


def path_of(cls: type) -> str:
    """Gives the shortest path by which the class is imported, as configurations have it."""
    parts = cls.__module__.split(".")
    modules = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    found = (f"{m}.{cls.__name__}" for m in modules if _content(m).get(cls.__name__) is cls)
    # What is made in a function has none.
    return next(found, f"{cls.__module__}.{cls.__qualname__}")


def with_short_paths(value: Any) -> Any:  # noqa: ANN401
    """Gives settings in which each class that is imported goes by its shortest path.

    Args:
        value: Plain data, in which ``class_path`` names a class.
    """
    if isinstance(value, list | tuple):
        return [with_short_paths(item) for item in value]
    if not isinstance(value, dict):
        return value
    short = {name: with_short_paths(inner) for name, inner in value.items()}
    module, _, name = str(short.get("class_path")).rpartition(".")
    cls = _content(module).get(name)
    return short | {"class_path": path_of(cls)} if isinstance(cls, type) else short
