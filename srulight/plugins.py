"""Loads encoders, tasks and data modules from other packages."""

import os
from importlib import import_module
from importlib.metadata import entry_points

from srulight.runtime.errors import InputError


def load_plugins() -> None:
    """Imports all plug-ins.

    Plug-ins are the entry points of installed packages in the group ``srulight.plugins``, and the
    modules in the environment variable ``SRULIGHT_PLUGINS``, separated by commas. Once a subclass
    of Encoder, Task or LightningDataModule is imported, configurations can use it by its name, and
    checkpoints that name it can be loaded.

    Raises:
        InputError: If a module in ``SRULIGHT_PLUGINS`` does not exist.
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
            raise InputError(
                f"SRULIGHT_PLUGINS must name modules that can be imported, got {name!r}: {error}"
            ) from error


def trusted_modules() -> list[str]:
    """Returns the names of the modules in ``SRULIGHT_PLUGINS``."""
    names = os.environ.get("SRULIGHT_PLUGINS", "").split(",")
    return [name.strip() for name in names if name.strip()]
