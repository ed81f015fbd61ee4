"""A parser that says in a few lines what is wrong, and what was meant."""

import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from srulight.commands import configurations  # noqa: F401  so that it reads them

# What jsonargparse says of every way a value could have been read; the cause is in the rest.
_NOISE = re.compile(
    r"\s*(- )?(Parser key|Does not validate|Subtypes:|Errors:|Expected a <class 'NoneType'>"
    r"|Given value|Problem with given class_path|Expected a path but|$)"
)


class Parser(LightningArgumentParser):
    """LightningArgumentParser with short errors; ``JSONARGPARSE_DEBUG`` brings the long ones."""

    # jsonargparse 4.53 hands the null for a class inside a class on as the text "None".
    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **named: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401
        """Takes None for null, where an option is not text."""
        if args is not None:
            args = [self._with_null(arg) for arg in args]
        return super().parse_args(args, *more, **named)

    def _with_null(self, arg: str) -> str:
        option, _, value = arg.partition("=")
        action = self._option_string_actions.get(option)
        is_text = getattr(action, "_typehint", None) is str
        return f"{option}=null" if value == "None" and not is_text else arg

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the cause and leaves with status 2."""
        # A parser inside this one raises, so that this one can say where the error is.
        if not self.exit_on_error or os.environ.get("JSONARGPARSE_DEBUG"):
            super().error(message, ex)
        sys.stderr.write(f"error: {explain(message, self._option_string_actions)}\n")
        sys.exit(2)


def explain(message: str, options: Iterable[str] = ()) -> str:
    """Shortens an error of jsonargparse.

    Args:
        message: The error.
        options: Options that the parser takes, for what it calls unrecognized.

    Returns:
        The setting that is wrong, why, and what is near to it.
    """
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    where = f"{key}: " if key else ""
    if "arguments are required" in message:
        return f"{message}\n  a configuration has them: --config configs/quickstart.yaml"
    if match := re.search(r"unrecognized arguments: (--)?([^\s=]+)", message):
        name = match[2]
        return f"there is no option --{name}{_meant('--' + name, options)}"
    if match := re.search(r"Option '([\w.]+)' is not accepted", message):
        cls = _class(re.findall(r"class_path(?:=| )'([\w.]+)'", message))
        if cls is None:
            return f"{where}there is no option {match[1]!r}"
        known = [name for name in inspect.signature(cls).parameters if name != "input_size"]
        return (
            f"{where}{cls.__name__} has no option {match[1]!r}{_meant(match[1], known)}\n"
            f"  {cls.__name__} takes {', '.join(known)}"
        )
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        bases = re.findall(r"(\w+(?:\.\w+)+)", re.findall(r"Subtypes: (.*)", message)[-1])
        base = _class([name for name in bases if not name.startswith(("typing", "collections"))])
        known = sorted(_concrete(base)) if base else []
        listed = f"\n  known: {', '.join(known)}" if known else ""
        return (
            f"{where}there is no {base.__name__ if base else 'class'} called {match[1]!r}"
            f"{_meant(match[1], known)}{listed}"
        )
    if match := re.search(r"Expected a typing\.Literal\[(.*?)\]\. Got value: ([^\s.]+)", message):
        allowed = match[1].replace("'", "")
        return f"{where}expected one of {allowed}; got {match[2]!r}"
    causes = [line.strip(" -") for line in message.splitlines() if not _NOISE.match(line)]
    if match := re.search(r"Given value: (.*)", message):
        causes.append(f"got {match[1]!r}")
    # A message that is all noise is better whole than gone.
    first = re.sub(r'^Parser key "[\w.]+": ', "", message) if not causes else "; ".join(causes)
    return where + re.sub(r"Expected a <class '(\w+)'>", r"expected \1", first)


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 2, 0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _class(paths: list[str]) -> type | None:
    """Gives the last class of the paths, if it is already imported."""
    if not paths:
        return None
    module, _, name = paths[-1].rpartition(".")
    found = getattr(import_module(module), name, None) if module in sys.modules else None
    return found if isinstance(found, type) else None


def _concrete(base: type) -> Iterator[str]:
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            yield cls.__name__
        yield from _concrete(cls)
