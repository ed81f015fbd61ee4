"""The configuration that a checkpoint brings: what is taken of it, and what is left to the user."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer

from srulight.commands.runs import Resumed
from srulight.data.base import TaskData
from srulight.plugins import trusted_modules
from srulight.runtime.errors import InputError
from srulight.runtime.fields import Unknown, arguments_of
from srulight.runtime.trust import Vetting, refuse_functions
from srulight.tasks.base import Task
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
"""Settings of the trainer that are taken from a checkpoint: those that say how it trains.

Where it trains, where it writes, and objects that do as they like, are the user's to say.
"""


def configuration(resumed: Resumed, args: Sequence[str]) -> dict[str, Any]:
    """Gives what a run takes from the configuration in its checkpoint; nothing there is trusted.

    Args:
        resumed: The checkpoint.
        args: What the user says; a class that is named there is imported for their sake.

    Raises:
        InputError: If the checkpoint names what a file must not.
    """
    stored = resumed.stored[CONFIG]
    vetting = Vetting(resumed.path, {*_paths(args), *trusted_modules()})
    kinds = arguments_of(Trainer)
    trainer = {
        name: vetting.one(value, kinds.get(name, Unknown), f"trainer.{name}")
        for name, value in stored["trainer"].items()
        if name in TAKEN
    }
    # Its folder is where it lies, and not where it says: a run may have been moved.
    if resumed.path.parent.name == "checkpoints":
        trainer["default_root_dir"] = str(resumed.folder.parent)
    data = vetting.one(stored["data"], TaskData, "data")
    # What is downloaded is written where the data say.
    data["init_args"].pop("download", None)
    model = vetting.one(stored["model"], Task, "model")
    seed = stored["seed_everything"]
    if not 0 <= seed < 2**32:
        raise InputError(f"{resumed.path}: seed_everything must be 0 to 2**32 - 1, got {seed}")
    return {"seed_everything": seed, "trainer": trainer, "model": model, "data": data}


def left_out(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Gives the trainer's settings that a checkpoint was trained with, and this run will not use.

    Args:
        stored: The configuration in the checkpoint.
        now: That of this run.
    """
    before, after = stored["trainer"], now["trainer"]
    names = sorted(before.keys() - {*TAKEN, "default_root_dir"})
    return [f"trainer.{name}" for name in names if before[name] != after.get(name)]


def require_classes(config: dict[str, Any]) -> None:
    """Raises InputError if a parsed configuration, the user's own, has a function for a class."""
    for name, kind in arguments_of(Trainer).items():
        refuse_functions(config["trainer"].get(name), kind, f"trainer.{name}")
    refuse_functions(config["model"], Task, "model")
    refuse_functions(config["data"], TaskData, "data")


def _paths(args: Sequence[str]) -> set[str]:
    """Gives what looks like an import path in the user's words and in the files they name."""
    words = [arg.rpartition("=")[2] for arg in args]
    files = [Path(w) for w in words if w.endswith((".yaml", ".yml")) and Path(w).is_file()]
    texts = [*words, *(file.read_text(encoding="utf-8", errors="replace") for file in files)]
    return {path for text in texts for path in re.findall(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+", text)}
