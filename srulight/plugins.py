"""Encoders, tasks and data modules of other packages."""

from importlib.metadata import entry_points


def load_plugins() -> None:
    """Imports what installed packages offer under the entry point group ``srulight.plugins``.

    Importing a subclass of Encoder, Task or LightningDataModule is all it takes for a configuration
    to know it by its name, and for a checkpoint that names it to load.
    """
    import srulight.data
    import srulight.encoders
    import srulight.schedules
    import srulight.tasks
    import srulight.translators  # noqa: F401

    for plugin in entry_points(group="srulight.plugins"):
        plugin.load()
