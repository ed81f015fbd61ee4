"""A command-line parser whose errors are short and suggest what the user meant."""

import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor
from torch.optim import Adam

from srulight.commands import configurations  # noqa: F401  sets how jsonargparse reads files
from srulight.data.base import TaskData
from srulight.encoders import SRU, Encoder
from srulight.runtime.fields import arguments_of, options
from srulight.tasks.base import Task

# Lines in which jsonargparse lists every type that it tried; the cause is in the other lines.
_NOISE = re.compile(
    r"\s*(- )?(Parser key|Does not validate|Subtypes:|Errors:|Expected a <class 'NoneType'>"
    r"|Given value|Problem with given class_path|Expected a path but|$)"
)

# jsonargparse writes this in place of objects that it cannot serialize.
_NO_TEXT = "Unable to serialize instance "

# Help for the options that Lightning describes in another way than srulight treats them.
_HELP = {
    "ckpt_path": "Checkpoint to load: a path, or last or best for that checkpoint of the newest "
    "run, or owner/name for a model of the Hugging Face hub. For fit, auto resumes the newest run "
    "if there is one, and starts a new run otherwise.",
    "weights_only": "Whether to load the checkpoint without running code from it. With "
    "--ckpt_path, srulight sets this to true.",
}

# jsonargparse's own dumper does not support enums.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, one: dumper.represent_data(one.value))


class Parser(LightningArgumentParser):
    """LightningArgumentParser with short errors; set ``JSONARGPARSE_DEBUG`` to see the long ones.

    Args:
        *args: Arguments of LightningArgumentParser.
        **named: Arguments of LightningArgumentParser.
    """

    of = ""
    """Whose options these are, for the error about an unknown option; empty if it is clear."""

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401
        # An abbreviated option would work on the command line, but not in a configuration.
        super().__init__(*args, **{"allow_abbrev": False, **named})

    def add_method_arguments(self, *args: Any, **named: Any) -> list[str]:  # noqa: ANN401
        """Adds the arguments of a method of the trainer, with srulight's help for them."""
        added = super().add_method_arguments(*args, **named)
        for action in self._actions:
            action.help = _HELP.get(action.dest, action.help)
        return added

    # jsonargparse 4.53 passes the null for a class inside a class on as the text "None".
    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **named: Any) -> Namespace:  # type: ignore[override]  # noqa: ANN401
        """Treats None as null, unless an option is text."""
        if args is not None:
            args = [self._with_null(arg) for arg in args]
        return super().parse_args(args, *more, **named)

    def _with_null(self, arg: str) -> str:
        option, _, value = arg.partition("=")
        action = self._option_string_actions.get(option)
        is_text = getattr(action, "_typehint", None) is str
        return f"{option}=null" if value == "None" and not is_text else arg

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the cause and exits with status 2."""
        # A nested parser raises instead, so that the outer one can say where the error is.
        if not self.exit_on_error or os.environ.get("JSONARGPARSE_DEBUG"):
            super().error(message, ex)
        sys.stderr.write(f"error: {explain(message, self._option_string_actions, self.of)}\n")
        sys.exit(2)

    def dump(self, *args: Any, **named: Any) -> str:  # noqa: ANN401
        """Omits defaults that are objects, which no file can contain and no file needs."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=rf"\s*{_NO_TEXT}")
            # Parsing has validated it.
            text = super().dump(*args, **{"skip_validation": True, **named})
        if _NO_TEXT not in text:
            return text
        return yaml.safe_dump(_without_objects(yaml.safe_load(text)), sort_keys=False)


def _without_objects(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not str(v).startswith(_NO_TEXT)}
        return {k: _without_objects(v) for k, v in kept.items()}
    return [_without_objects(v) for v in value] if isinstance(value, list) else value


def explain(message: str, options: Iterable[str] = (), of: str = "") -> str:
    """Shortens an error message of jsonargparse.

    Args:
        message: Original message.
        options: Options of the parser, from which a replacement for an unknown one is suggested.
        of: Whose options they are, such as a command; empty if it is clear.

    Returns:
        The setting that is wrong, the reason, and what the user may have meant.
    """
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    where = f"{key}: " if key else ""
    if said := _unknown_field(message):
        return where + said
    if match := re.search(r"unrecognized arguments: (--)?([^\s=]+)", message):
        known = [option for option in _everywhere(options) if option not in ("-h", "--help")]
        none = f"{of} has no option" if of else "there is no option"
        return f"{none} --{match[2]}{_meant('--' + match[2], known)}"
    for kind in (_missing, _no_class, _wrong_type, _unknown_option, _unknown_class, _unknown_word):
        if said := kind(message, key):
            return where + said
    causes = [line.strip(" -") for line in message.splitlines() if not _NOISE.match(line)]
    first = "; ".join(causes)
    if match := re.search(r"Given value: (.*)", message):
        first += f"{', ' if first else ''}got {match[1]!r}"
    # If every line is noise, show the whole message.
    first = first or re.sub(r'^Parser key "[\w.]+": ', "", message)
    first = re.sub(r"File does not exist: ", "no such file: ", first)
    return where + re.sub(r"Expected a <class '(\w+)'>", r"expected \1", first)


def _missing(message: str, key: str) -> str | None:
    """Says which arguments a class needs, or that there is no configuration at all."""
    match = re.search(r"the following arguments are required: (.*)", message)
    if match is None:
        return None
    if not key:
        command, _, name = match[1].split(",")[0].rpartition(".")
        if name not in ("data", "model"):
            return match[0]
        checkpoint = "" if command == "fit" else ", or a checkpoint with --ckpt_path=best"
        return (
            f"{command or 'srulight'} needs a model and data; pass a configuration such as "
            f"--config configs/quickstart.yaml{checkpoint}"
        )
    before = re.findall(r"class_path '([\w.]+)':\s*$", message[: match.start()])
    after = re.findall(r"Namespace\(class_path='([\w.]+)'", message[match.end() :])
    needs = [name.strip() for name in match[1].split(",")]
    settings = " ".join(f"--{key}.{name}=..." for name in needs)
    name = (before + after)[0].rpartition(".")[2]
    return f"{name} needs {' and '.join(needs)}; add {settings}"


def _no_class(message: str, key: str) -> str | None:
    """Handles an option of a class where no class is set, such as --data.tokenizer.split."""
    match = re.search(r"but ([\w.]+) is abstract\s.*?NestedArg\(key='(\w+)", message, re.DOTALL)
    base = _class([match[1]]) if match else None
    if match is None or base is None:
        return None
    classes = list(_subclasses(base))
    fitting = [cls for cls in classes if match[2] in inspect.signature(cls).parameters]
    names = sorted({cls.__name__ for cls in fitting or classes})
    setting = names[0] if len(names) == 1 else f"CLASS, where CLASS is {' or '.join(names)}"
    return f"expected a class before its option {match[2]!r}; add --{key}={setting}"


def _wrong_type(message: str, _: str) -> str | None:
    match = re.search(r"Expected a <class '(\w+)'>\. Got value: ([^\n]*?)(?:\. Got |\n|$)", message)
    return f"expected {match[1]}, got {match[2]!r}" if match else None


def _unknown_option(message: str, _: str) -> str | None:
    match = re.search(r"Option '([\w.]+)' is not accepted(.*)", message)
    if match is None:
        return None
    paths = re.findall(r"class_path '([\w.]+)'", message[: match.start()])
    cls = _class(paths + re.findall(r"class_path='([\w.]+)'", match[2]))
    if cls is None:
        return f"there is no option {match[1]!r}"
    known = [name for name in inspect.signature(cls).parameters if name != "input_size"]
    near = [*known, "optimizer.lr"] if "optimizer" in known else known
    return (
        f"{cls.__name__} has no option {match[1]!r}{_meant(match[1], near)}\n"
        f"  {cls.__name__} takes {', '.join(known)}"
    )


def _unknown_field(message: str) -> str | None:
    """Says which fields an option has that is a dataclass."""
    match = re.search(r"unrecognized arguments: --(\w+)\.([\w.]+)", message) or re.search(
        r"Group '(\w+)' does not accept option '(\w+)'", message
    )
    cls = _class(re.findall(r"class_path '([\w.]+)'", message[: match.start()])) if match else None
    if match is None or cls is None:
        return None
    known = [
        f"{match[1]}.{field.name}"
        for kind in options(arguments_of(cls).get(match[1]))
        if is_dataclass(kind)
        for field in fields(kind)
    ]
    if not known:
        return None
    name = f"{match[1]}.{match[2]}"
    return (
        f"{cls.__name__} has no option {name!r}{_meant(name, known)}\n  it takes {', '.join(known)}"
    )


def _unknown_class(message: str, _: str) -> str | None:
    match = re.search(r"Expected a dot import path string: (\S+)", message)
    if match is None:
        return None
    bases = re.findall(r"(\w+(?:\.\w+)+)", re.findall(r"Subtypes: (.*)", message)[-1])
    base = _class([name for name in bases if not name.startswith(("typing", "collections"))])
    if base is Tensor:  # such as the learning rate of an optimizer
        return f"expected a number, got {match[1]!r}"
    known = sorted(_concrete(base)) if base else []
    listed = f"\n  known: {', '.join(known)}" if known else ""
    if base and issubclass(base, Encoder) and match[1] in _concrete(Encoder):
        promise = (inspect.getdoc(base) or "").splitlines()[0].rstrip(".")
        promise = promise[0].lower() + promise[1:]
        return f"expected a {base.__name__} ({promise}), got {match[1]}{listed}"
    return (
        f"there is no {base.__name__ if base else 'class'} called {match[1]!r}"
        f"{_meant(match[1], known)}{listed}"
    )


def _unknown_word(message: str, _: str) -> str | None:
    match = re.search(r"Expected a typing\.Literal\[(.*?)\]\. Got value: ([^\s.]+)", message)
    if match is None:
        return None
    allowed = match[1].replace("'", "")
    return f"expected one of {allowed}, got {match[2]!r}"


def _everywhere(options: Iterable[str]) -> list[str]:
    """Adds the options of tasks and their data, which depend on their classes, to those of fit."""
    options = list(options)
    if "--model" not in options:
        return options
    inside: list[tuple[str, type]] = [
        *(("--model", task) for task in _subclasses(Task)),
        *(("--data", data) for data in _subclasses(TaskData)),
        ("--model.encoder", SRU),
        ("--model.optimizer", Adam),
    ]
    more = {
        f"{prefix}.{name}" for prefix, cls in inside for name in inspect.signature(cls).parameters
    }
    return options + sorted(more)


def _meant(name: str, known: Iterable[str]) -> str:
    """Suggests similar names; a name without dots may also be the last part of a dotted one."""
    known = list(known)
    bare = name.lstrip("-")
    ends = {option: option.lstrip("-").rpartition(".")[2] for option in known if "." in option}
    near = [] if "." in bare else get_close_matches(bare, sorted({*ends.values()}), 2, 0.7)
    near = [bare] if bare in near else near
    close = [option for option in known if ends.get(option) in near]
    close = close or get_close_matches(name, known, 2, 0.6)
    return f"; did you mean {' or '.join(close[:2])}?" if close else ""


def _class(paths: list[str]) -> type | None:
    """Returns the class of the last path, if it is already imported."""
    if not paths:
        return None
    module, _, name = paths[-1].rpartition(".")
    found = getattr(import_module(module), name, None) if module in sys.modules else None
    return found if isinstance(found, type) else None


def _subclasses(base: type) -> Iterator[type]:
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            yield cls
        yield from _subclasses(cls)


def _concrete(base: type) -> set[str]:
    return {cls.__name__ for cls in _subclasses(base)}
