"""Writes the lists of options as the command line itself knows them, and shows their names whole.

A page asks for the options of a class by a comment on a line of its own:
``<!-- options: model srulight.tasks.TextClassification -->``. The first word stands before the
names of the options; ``-`` is for none, as in the options of ``predict``.
"""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from srulight.commands.parser import Parser
from srulight.runtime.fields import builds, options, path_of

_COMMENT = re.compile(r"^<!-- options: (\S+) (\S+) -->$", re.MULTILINE)
_FROM_CODE = {"input_size", "optimizer"}
_PLAIN = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
_PLURAL = {"integer": "integers", "number": "numbers", "text": "texts"}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the comments of a page.

    Args:
        markdown: The page in Markdown.
    """
    return _COMMENT.sub(lambda asked: options_of(asked[2], asked[1].strip("-")), markdown)


def on_page_content(content: str, **_: object) -> str:
    """Keeps the names of options whole, which browsers would break after the first hyphens.

    Args:
        content: The page in HTML.
    """
    return re.sub(r"<code>(?=--?[^<\s]{1,30}</code>)", '<code class="name">', content)


def options_of(path: str, prefix: str) -> str:
    """Lists the options of a class in Markdown.

    Args:
        path: Import path of the class.
        prefix: What stands before the names of its options.
    """
    module, _, name = path.rpartition(".")
    cls = getattr(import_module(module), name)
    parser = Parser()
    # An encoder gets its input size, and a schedule its optimizer, from the task.
    skip = _FROM_CODE & set(inspect.signature(cls).parameters) if prefix.count(".") else set()
    parser.add_class_arguments(cls, prefix or None, skip=skip)
    found = [_entry(one) for one in parser._actions if hasattr(one, "_typehint")]
    return "\n".join(entry for entry in found if entry) or "It has no options."


def _entry(action: Any) -> str:  # noqa: ANN401
    if action.dest.endswith(".help"):  # prints the options of a class
        return ""
    kind = _kinds(action._typehint)
    if action.default is not None:
        kind += f", default `{_yaml(action.default)}`"
    text = " ".join((action.help or "").split())
    return f"`--{action.dest}` <small>{kind}</small>\n:   {text}\n"


def _yaml(value: Any) -> str:  # noqa: ANN401
    value = value.value if isinstance(value, Enum) else value
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def _kinds(hint: Any) -> str:  # noqa: ANN401
    """Says in words what an option takes."""
    kinds = options(hint)
    said = [_kind(kind) for kind in kinds if kind is not NoneType]
    return " or ".join(dict.fromkeys([*said, *["`null`"] * (NoneType in kinds)]))


def _kind(hint: Any) -> str:  # noqa: ANN401
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"list of {len(inner)}: {', '.join(map(_kinds, inner))}"
    if origin is not None and inner and not builds(hint):
        said = _kinds(inner[-1])
        return f"{'mapping to' if origin is dict else 'list of'} {_PLURAL.get(said, said)}"
    bases = builds(hint)
    if Optimizer in bases:
        return "class of `torch.optim`"
    if LRScheduler in bases:
        return "class of `srulight.training.schedules` or `torch.optim.lr_scheduler`"
    names = sorted({name for base in bases for name in _choices(base)})
    return "class: " + ", ".join(f"`{name}`" for name in names or map(path_of, bases))


def _choices(base: type) -> Iterator[str]:
    """Gives the names of srulight's own classes that an option takes in the place of a base."""
    is_offered = path_of(base) != f"{base.__module__}.{base.__qualname__}"
    if is_offered and base.__module__.startswith("srulight.") and not inspect.isabstract(base):
        yield base.__name__
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        yield from _choices(cls)
