"""Configurations: read as every other text is, and never larger than what they say."""

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
    """Reads YAML as jsonargparse does.

    Args:
        text: YAML; or a value of the command line.

    Raises:
        yaml.YAMLError: If it is not YAML, or has more than 100,000 values, as lists that name other
            lists again and again can have in a few lines.
    """
    value = _yaml(text)
    # As often as they are there, and so without an end if something is inside itself.
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
    """Reads a configuration.

    Args:
        path: Its file.

    Raises:
        InputError: If it cannot be read, or is not YAML.
    """
    try:
        return load_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error


def _read_path(path: ArgumentPath) -> str:
    if path.is_url or path.is_fsspec or str(path) == "-":
        return _elsewhere(path)
    return read_text(Path(path.absolute))


# Else the locale would decide how the bytes of a file are read.
set_loader("yaml", load_yaml, (yaml.YAMLError,))
ArgumentPath.read_text = _read_path  # type: ignore[method-assign,assignment]
