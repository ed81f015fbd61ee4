"""Reads configurations like all other text files, and limits their size."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from jsonargparse.typing import Path as ArgumentPath

from srulight.runtime.errors import InputError
from srulight.runtime.files import read_text

_MOST_VALUES = 100_000
_yaml = get_loader("yaml")
_elsewhere = ArgumentPath.read_text


def load_yaml(text: str) -> Any:  # noqa: ANN401
    """Parses YAML like jsonargparse does.

    Args:
        text: YAML text, or a value from the command line.

    Raises:
        yaml.YAMLError: If the text is not YAML, or expands to more than 100,000 values. A few lines
            of nested aliases can do that.
    """
    value = _yaml(text)
    # Count a value each time that it is referenced; a value that contains itself never ends.
    count, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
        count += 1
        if count > _MOST_VALUES:
            raise yaml.YAMLError(f"expected at most {_MOST_VALUES:,} values, got more")
    return value


def read_config(path: str | Path) -> Any:  # noqa: ANN401
    """Reads a configuration file.

    Args:
        path: Path of the file.

    Raises:
        InputError: If the file cannot be read, or is not YAML.
    """
    try:
        return load_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


def _read_path(path: ArgumentPath) -> str:
    if path.is_url or path.is_fsspec or str(path) == "-":
        return _elsewhere(path)
    return read_text(Path(path.absolute))


# By default, jsonargparse decodes files by the locale.
set_loader("yaml", load_yaml, (yaml.YAMLError,))
ArgumentPath.read_text = _read_path  # type: ignore[method-assign,assignment]
