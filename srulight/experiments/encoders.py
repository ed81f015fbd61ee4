"""The encoders of a comparison: their settings, and widths for equal numbers of parameters."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from io import StringIO
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from srulight.commands.training import TrainingCLI, build, quiet
from srulight.data.base import TaskData
from srulight.encoders import Encoder
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task

WIDTHS = ("hidden_size", "channels")
"""Arguments that set the width of an encoder."""

STEPS = "{steps}"
"""Stands for the number of optimizer steps in options."""

ANY_STEPS = "1000"
"""What replaces it as long as the number is unknown."""

_MULTIPLE, _LARGEST = 4, 1 << 14


@dataclass(frozen=True)
class Choice:
    """An encoder to compare.

    Attributes:
        label: Its name in tables, as the user has written it.
        options: Options of ``fit`` that select it.
    """

    label: str
    options: tuple[str, ...]


def choose(text: str, parts: Sequence[str]) -> Choice:
    """Reads the name of an encoder, and its settings.

    Args:
        text: Name of a class or path of its import, with the settings of the configuration; or name
            of a preset in configs/encoders, or path of a YAML file, with their own settings. More
            settings may follow, as in ``SRU,num_layers=4,dropout=0.3``.
        parts: Settings that the encoder replaces, such as ["model.encoder"].

    Raises:
        InputError: If a setting has no value.
    """
    name, *settings = re.split(r",(?![^\[]*\])", text)
    for setting in settings:
        if not re.fullmatch(r"[\w.]+=.*", setting):
            raise InputError(
                f"--encoders must have settings of the form name=value after a comma, got "
                f"{setting!r} in {text!r}"
            )
    preset = f"configs/encoders/{name}.yaml"
    package = Path(__file__).parents[1]
    is_preset = any((place / preset).is_file() for place in (Path(), package, package.parent))
    value = preset if is_preset else name
    options = [f"--{part}={value}" for part in parts]
    options += [f"--{part}.{setting}" for part in parts for setting in settings]
    return Choice(text, tuple(options))


class Recipe:
    """A configuration, as options of ``fit``, and what follows from it without training.

    Args:
        options: Options of ``fit``.
        sizes: File that keeps the widths that were found; it need not exist.
    """

    def __init__(self, options: Sequence[str], sizes: Path) -> None:
        self.options = tuple(options)
        self._sizes = sizes
        self._configs: dict[tuple[str, ...], dict[str, Any]] = {}

    def build(self, more: Sequence[str] = ()) -> TrainingCLI:
        """Builds the task and the data without reading any data.

        Args:
            more: More options of ``fit``.

        Raises:
            InputError: If an option is wrong.
        """
        said = StringIO()
        try:
            with quiet(), redirect_stdout(said), redirect_stderr(said):
                # Such a trainer writes no files.
                options = [*self.options, *more, "--trainer.fast_dev_run=1"]
                return build([o.replace(STEPS, ANY_STEPS) for o in options], run=False)
        except SystemExit as error:
            found = re.findall(r"^error: (.*)", said.getvalue(), re.MULTILINE)
            raise InputError(found[-1] if found else said.getvalue().strip()) from error

    def config(self, more: Sequence[str] = ()) -> dict[str, Any]:
        """Returns the whole configuration, as plain data.

        Args:
            more: More options of ``fit``.
        """
        key = tuple(more)
        if key not in self._configs:
            self._configs[key] = self.build(more).config.as_dict()
        return self._configs[key]

    @cached_property
    def parts(self) -> list[str]:
        """Names of the settings that hold the encoder, such as ["model.encoder"].

        If there is another encoder beside it, called ``decoder``, it belongs to it.

        Raises:
            InputError: If the task has no encoder, or several.
        """
        config = self.config()
        found = list(_encoders(config["model"], "model"))
        if len(found) != 1:
            raise InputError(
                "expected one encoder in the configuration, got "
                f"{', '.join(found) or 'none'}; name the settings to compare, as in "
                "--parts model.encoder"
            )
        parent = found[0].rpartition(".")[0]
        decoder = f"{parent}.decoder"
        return [*found, decoder] if _is_encoder(setting(config, decoder)) else found

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the data, which are read for it."""
        data = self.build().datamodule
        assert isinstance(data, TaskData)
        data.prepare_data()
        data.setup("fit")
        return data.metadata

    def parameters(self, more: Sequence[str] = ()) -> int:
        """Counts the parameters of the network.

        Args:
            more: More options of ``fit``.
        """
        try:
            return self._count(more, "meta")  # needs neither memory nor time
        except NotImplementedError:  # a network may look at values while it is built
            return self._count(more, "cpu")

    def _count(self, more: Sequence[str], device: str) -> int:
        task, metadata = self.build(more).model, self.metadata
        assert isinstance(task, Task)
        try:
            with torch.device(device):
                task.build(metadata)
        except (ValueError, ArithmeticError) as error:  # from a setting of the encoder
            raise InputError(str(error)) from error
        return sum(p.numel() for p in task.parameters())

    def widened(self, more: Sequence[str], parts: Sequence[str], target: int) -> tuple[str, ...]:
        """Finds the widths at which the network comes closest to a number of parameters.

        Args:
            more: Options of ``fit`` that select the encoder.
            parts: Settings that hold the encoder; their widths keep their ratio.
            target: Number of parameters.

        Returns:
            Options of ``fit`` for the widths, multiples of 4.

        Raises:
            InputError: If the class of an encoder has no width.
        """
        config = self.config(more)
        names, widths = [], []
        for part in parts:
            name, width = _width(setting(config, part), part)
            names.append(f"{part}.{name}")
            widths.append(width)

        def options(unit: int) -> list[str]:
            """Returns the options for a first width of ``unit`` times 4."""
            sizes = [max(1, round(unit * width / widths[0])) * _MULTIPLE for width in widths]
            return [f"--{name}={size}" for name, size in zip(names, sizes, strict=True)]

        key = json.dumps([self.options, list(more), target])
        known = self._known()
        if key not in known:
            known[key] = self._search(more, options, widths[0] // _MULTIPLE, target)
            with written(self._sizes) as file:
                file.write_text(json.dumps(known, indent=1), encoding="utf-8")
        return tuple(options(known[key]))

    def _known(self) -> dict[str, int]:
        """Returns the widths that were found before. The file may be from someone else."""
        try:
            found = json.loads(self._sizes.read_text(encoding="utf-8"))
            return {key: int(unit) for key, unit in found.items() if 0 < int(unit) <= _LARGEST}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # they are found again

    def _search(
        self,
        more: Sequence[str],
        options: Callable[[int], list[str]],
        start: int,
        target: int,
    ) -> int:
        counts: dict[int, int] = {}

        def excess(unit: int) -> int:
            if unit not in counts:
                counts[unit] = self.parameters([*more, *options(unit)])
            return counts[unit] - target

        low, high = 1, max(2, start)
        while excess(high) < 0:
            low, high = high, 2 * high
            if high * _MULTIPLE > _LARGEST:
                raise InputError(
                    f"{' '.join(more)}: expected a width of up to {_LARGEST} with {target:,} "
                    "parameters, found none; leave out --equal_parameters"
                )
        while high - low > 1:
            # The number of parameters grows about quadratically.
            share = sqrt(max(0, -excess(low)) / max(1, excess(high) - excess(low)))
            middle = min(high - 1, max(low + 1, round(low + share * (high - low))))
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        return min((low, high), key=lambda unit: abs(excess(unit)))


def setting(config: dict[str, Any], name: str) -> Any:  # noqa: ANN401
    """Returns a setting of a configuration; None if there is none.

    Args:
        config: The configuration, as plain data.
        name: Name with dots, as on the command line: without ``init_args``.
    """
    found: Any = config
    for part in name.split("."):
        found = arguments(found).get(part)
    return found


def arguments(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns the settings inside a setting; none if it has none.

    Args:
        value: Value of a setting: a class with its ``init_args``, or a group of settings.
    """
    if not isinstance(value, dict):
        return {}
    return value.get("init_args") or {} if "class_path" in value else value


def _is_encoder(value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, dict) or "class_path" not in value:
        return False
    module, _, name = value["class_path"].rpartition(".")
    found = getattr(import_module(module), name)  # which the parser has imported already
    return inspect.isclass(found) and issubclass(found, Encoder)


def _encoders(value: Any, name: str) -> Iterator[str]:  # noqa: ANN401
    """Yields the names of all settings called ``encoder``, but not those inside an encoder."""
    for key, inner in arguments(value).items():
        if key == "encoder":
            yield f"{name}.{key}"
        else:
            yield from _encoders(inner, f"{name}.{key}")


def _width(encoder: Any, part: str) -> tuple[str, int]:  # noqa: ANN401
    """Returns the name and the value of the argument that sets the width."""
    if encoder is None:
        raise InputError(f"{part} must be set for --equal_parameters, got null")
    for name in WIDTHS:
        if isinstance(value := arguments(encoder).get(name), int):
            return name, value
    raise InputError(
        f"{encoder['class_path']} must have an argument {' or '.join(WIDTHS)} for "
        "--equal_parameters, got none of them; leave it out, or leave the encoder out"
    )
