"""Encoders, tasks and data modules of other packages."""

import os
from importlib import import_module
from importlib.metadata import entry_points

from srulight.runtime.errors import InputError


def load_plugins() -> None:
    """Imports what installed packages offer under the entry point group ``srulight.plugins``.

    The modules that SRULIGHT_PLUGINS names, with commas between them, are imported too.

    Importing a subclass of Encoder, Task or LightningDataModule is all it takes for a configuration
    to know it by its name, and for a checkpoint that names it to load.

    Raises:
        InputError: If there is no module that SRULIGHT_PLUGINS names.
    """
    import srulight.encoders
    import srulight.tasks
    import srulight.training.schedules  # noqa: F401

    for plugin in entry_points(group="srulight.plugins"):
        plugin.load()
    for name in trusted_modules():
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise InputError(f"SRULIGHT_PLUGINS names {name}: {error}") from error


def trusted_modules() -> list[str]:
    """Gives the modules that SRULIGHT_PLUGINS names."""
    names = os.environ.get("SRULIGHT_PLUGINS", "").split(",")
    return [name.strip() for name in names if name.strip()]
