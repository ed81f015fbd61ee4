"""The configuration in a checkpoint: saves it, vets it, and compares it with that of a new run."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from srulight.commands.runs import Resumed
from srulight.data.base import TaskData
from srulight.plugins import trusted_modules
from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError
from srulight.runtime.fields import Unknown, arguments_of, with_short_paths
from srulight.runtime.trust import Vetting, refuse_functions
from srulight.tasks.base import Task
from srulight.training.logger import Log
from srulight.training.resume.checkpoint_format import CONFIG

TAKEN = (
    "accumulate_grad_batches", "check_val_every_n_epoch", "detect_anomaly", "deterministic",
    "enable_model_summary", "enable_progress_bar", "gradient_clip_algorithm", "gradient_clip_val",
    "inference_mode", "limit_predict_batches", "limit_test_batches", "limit_train_batches",
    "limit_val_batches", "log_every_n_steps", "max_epochs", "max_steps", "max_time", "min_epochs",
    "min_steps", "num_sanity_val_steps", "overfit_batches", "precision",
    "reload_dataloaders_every_n_epochs", "sync_batchnorm", "use_distributed_sampler",
    "val_check_interval",
)  # fmt: skip
"""Settings of the trainer that a run takes from a checkpoint: those that determine how it trains.

The user must choose devices, folders, and objects that can run any code, such as callbacks.
"""


class EmbedConfig(SaveConfigCallback):
    """Saves the configuration beside the log, and in every checkpoint."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:  # noqa: ANN401
        folders = [logger.log_dir for logger in trainer.loggers if isinstance(logger, Log)]
        if not folders:
            return  # the checkpoints contain it
        with written(Path(folders[0]) / self.config_filename) as part:
            part.write_text(
                yaml.safe_dump(self.plain, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The configuration as plain data, which is the same for all checkpoints of a run."""
        return plain(self.parser, self.config)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict) -> None:  # type: ignore[type-arg]  # noqa: ANN401
        checkpoint[CONFIG] = self.plain


def plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """Converts a configuration to plain data, with the shortest import path of each class.

    Args:
        parser: Parser that parsed the configuration.
        config: Parsed configuration.
    """
    dumped: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_none=False))
    return with_short_paths(dumped)


def configuration(resumed: Resumed, args: Sequence[str]) -> dict[str, Any]:
    """Returns the part of a checkpoint's configuration that a run takes over, after vetting it.

    Args:
        resumed: Checkpoint that the run resumes from. It is not trusted.
        args: Command-line arguments. Classes that they name are imported on the user's behalf.

    Raises:
        InputError: If the checkpoint names a class or function that a file must not name.
    """
    stored = resumed.stored[CONFIG]
    vetting = Vetting(resumed.path, {*_paths(args), *trusted_modules()})
    kinds = arguments_of(Trainer)
    trainer = {
        name: vetting.one(value, kinds.get(name, Unknown), f"trainer.{name}")
        for name, value in stored["trainer"].items()
        if name in TAKEN
    }
    # Use the actual folder, not the stored one: the run may have been moved.
    if resumed.has_run:
        trainer["default_root_dir"] = str(resumed.folder.parent)
    data = vetting.one(stored["data"], TaskData, "data")
    # A download would write to a folder that the checkpoint names.
    data["init_args"].pop("download", None)
    model = vetting.one(stored["model"], Task, "model")
    seed = stored["seed_everything"]
    if not 0 <= seed < 2**32:
        raise InputError(f"{resumed.path}: seed_everything must be 0 to 2**32 - 1, got {seed}")
    return {"seed_everything": seed, "trainer": trainer, "model": model, "data": data}


def changes(stored: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the changed settings of the task and its data, by name, with old and new value.

    Args:
        stored: Configuration in a checkpoint.
        now: Configuration of this run.
    """
    before, after = (dict(flat({k: c.get(k) for k in ("model", "data")})) for c in (stored, now))
    names = sorted(before.keys() | after.keys())
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def left_out(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns the names of the trainer's settings in a checkpoint that this run does not use.

    Args:
        stored: Configuration in the checkpoint.
        now: Configuration of this run.
    """
    before, after = stored["trainer"], now["trainer"]
    names = sorted(before.keys() - {*TAKEN, "default_root_dir"})
    return [f"trainer.{name}" for name in names if before[name] != after.get(name)]


def require_classes(config: dict[str, Any]) -> None:
    """Raises InputError if the user's parsed configuration has a function in place of a class."""
    for name, kind in arguments_of(Trainer).items():
        refuse_functions(config["trainer"].get(name), kind, f"trainer.{name}")
    refuse_functions(config["model"], Task, "model")
    refuse_functions(config["data"], TaskData, "data")


def _paths(args: Sequence[str]) -> set[str]:
    """Returns all that looks like an import path in the arguments and the files they name."""
    words = [arg.rpartition("=")[2] for arg in args]
    files = [Path(w) for w in words if w.endswith((".yaml", ".yml")) and Path(w).is_file()]
    texts = [*words, *(file.read_text(encoding="utf-8", errors="replace") for file in files)]
    return {path for text in texts for path in re.findall(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+", text)}


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yields the name and the value of each setting, as options write the name.

    Args:
        config: A configuration as plain data, or a part of it.
        prefix: Name of that part, with a dot at its end.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            # class_path and init_args are syntax, not names of settings.
            inner = prefix if name in ("class_path", "init_args") else f"{prefix}{name}."
            yield from flat(value, inner)
    else:
        yield prefix.removesuffix("."), config
