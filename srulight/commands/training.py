"""fit, validate and test: Lightning's command line, with what srulight adds to it.

- Every checkpoint carries the whole configuration. ``--ckpt_path`` reads it before all that the
  user says, so that the user wins; what differs is printed. (Lightning alone lets the checkpoint
  win over the command line, silently.)
- ``--ckpt_path=last`` and ``best`` find the newest run.
- The best and the last checkpoint are kept, and a log of every metric.
"""

import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    Checkpoint,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_info
from lightning_utilities.core.imports import module_available

from srulight.callbacks import Curves, EpochLine, NewSettings, RandomState, Stability, Throughput
from srulight.checkpoint import CONFIG, read
from srulight.commands.parser import Parser
from srulight.commands.runs import RUNS, files_first, find_checkpoint, with_packaged_configs
from srulight.data import TaskData
from srulight.errors import InputError
from srulight.plugins import load_plugins
from srulight.tasks import Task
from srulight.tasks.base import METADATA


class EmbedConfig(SaveConfigCallback):
    """Writes the configuration beside the log, and into every checkpoint."""

    @cached_property
    def plain(self) -> Any:  # noqa: ANN401
        """The configuration as plain data; it does not change while a run saves many times."""
        return yaml.safe_load(self.parser.dump(self.config, skip_none=False))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict) -> None:  # type: ignore[type-arg]  # noqa: ANN401
        checkpoint[CONFIG] = self.plain


class TrainingCLI(LightningCLI):
    """LightningCLI as described above.

    Args:
        stored: The checkpoint that ``--ckpt_path`` names; None without one.
        **kwargs: Arguments of LightningCLI.
    """

    def __init__(self, stored: dict[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        self.stored = stored
        self.changes: dict[str, tuple[Any, Any]] = {}
        super().__init__(**kwargs)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        # Without Lightning's warning that args are given although sys.argv has some too.
        self.config = parser.parse_args(args)  # type: ignore[arg-type]

    def _parse_ckpt_path(self) -> None:
        """Replaces Lightning's rule that the checkpoint wins; prints what the user changed."""
        if self.stored is None or CONFIG not in self.stored:
            return
        dumped = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        now = dumped.get(self.config.get("subcommand"), dumped)
        before = dict(_flat({k: self.stored[CONFIG].get(k) for k in ("model", "data")}))
        after = dict(_flat({k: now.get(k) for k in ("model", "data")}))
        self.changes = {
            name: (before.get(name), after.get(name))
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        }
        if self.changes:
            lines = [f"  {name}: {old} -> {new}" for name, (old, new) in self.changes.items()]
            rank_zero_info("changed since the checkpoint:\n" + "\n".join(lines))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        config = self._get(self.config_init, "trainer")
        given: list[Callback] = config["callbacks"] or []
        callbacks: list[Callback] = []
        if config["enable_progress_bar"] in (None, True):
            callbacks.append(RichProgressBar(refresh_rate=10))
        if self.subcommand in ("validate", "test"):
            # A measurement is printed; it is no run with a folder of its own.
            kwargs |= {"logger": False, "enable_checkpointing": False}
            given = [c for c in given if not isinstance(c, Checkpoint)]
            self.save_config_callback = None
        else:
            callbacks += [Throughput(), NewSettings(self.changes), EpochLine(), Curves()]
            callbacks += [RandomState(), Stability()]
            if config["logger"] in (None, True):
                kwargs["logger"] = _loggers(config["default_root_dir"])
            if config["logger"] is not False:
                scheduled = self.model.scheduler_factory is not None
                callbacks.append(LearningRateMonitor("step" if scheduled else "epoch"))
            if config["enable_checkpointing"] in (None, True):
                callbacks += _checkpoints(self.model, self._resumed_folder())
        kwargs["callbacks"] = given + callbacks
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            raise InputError(f"trainer: {error}") from error

    def _resumed_folder(self) -> Path | None:
        """Finds where the run that is resumed keeps its checkpoints: it goes on keeping them there.

        Elsewhere its best score would be forgotten, and the first new epoch would be the best.
        """
        if self.stored is None:
            return None
        return Path(self._get(self.config_init, "ckpt_path")).parent

    def after_instantiate_classes(self) -> None:
        if self.stored is not None:
            # Words and labels keep the indices that the weights were trained with.
            self.datamodule.use_metadata(self.stored[METADATA])

    def after_fit(self) -> None:
        best = [c for c in self.trainer.checkpoint_callbacks if c.best_model_path and c.monitor]  # type: ignore[attr-defined]
        if not best:
            return
        path, score = best[0].best_model_path, best[0].best_model_score  # type: ignore[attr-defined]
        program = "python train.py" if sys.argv[0].endswith(".py") else "srulight"
        rank_zero_info(
            f"best {best[0].monitor}: {score:.4f}\n"  # type: ignore[attr-defined]
            f"  measure it: {program} test --ckpt_path={_short(path)}\n"
            f"  use it:     {program} predict --ckpt_path={_short(path)}\n"
            f"  log:        {_short(self.trainer.log_dir or '')}/metrics.csv"
        )


def run(command: str, args: list[str]) -> None:
    """Runs one of fit, validate and test.

    Args:
        command: Which.
        args: What follows it on the command line.
    """
    _silence_noise()
    try:
        build([command, *args])
    except ValueError as error:
        # jsonargparse wraps what a constructor says.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__ or cause.__context__
        raise cause or error from None


def build(args: list[str], run: bool = True) -> TrainingCLI:
    """Parses a command line, builds what it describes, and does it.

    Args:
        args: Arguments; begins with the command if ``run``.
        run: False only builds, for tests and notebooks.

    Returns:
        The command line, whose ``model``, ``datamodule`` and ``trainer`` are built.

    Raises:
        InputError: If a checkpoint that is named does not exist or does not load.
    """
    load_plugins()
    command, rest = (args[:1], args[1:]) if run else ([], args)
    rest, stored = _with_checkpoint(files_first(with_packaged_configs(rest)))
    return TrainingCLI(
        stored=stored,
        model_class=Task,
        datamodule_class=TaskData,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        parser_class=Parser,
        parser_kwargs={
            "prog": "python train.py",
            # A shortened option would work on the command line and fail in a file.
            "allow_abbrev": False,
        },
        save_config_callback=EmbedConfig,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "default_root_dir": RUNS,
            "max_epochs": 10,
            # Batches are sharded by the data module's own sampler.
            "use_distributed_sampler": False,
        },
        seed_everything_default=1,
        args=command + rest,
        run=run,
    )


def _with_checkpoint(args: list[str]) -> tuple[list[str], dict[str, Any] | None]:
    """Resolves ``--ckpt_path`` and puts the configuration it holds before the user's."""
    place = next((i for i, a in enumerate(args) if a.split("=")[0] == "--ckpt_path"), None)
    if place is None:
        return args, None
    inline = "=" in args[place]
    if not inline and place + 1 == len(args):
        return args, None  # the parser says what is missing
    value = args[place].partition("=")[2] if inline else args[place + 1]
    others = args[:place] + args[place + (1 if inline else 2) :]
    path = find_checkpoint(value, others)
    stored = read(path)
    args = ["--weights_only=true", *others, f"--ckpt_path={path}"]
    if CONFIG in stored:
        keep = ("seed_everything", "model", "data", "trainer")
        config = {k: v for k, v in stored[CONFIG].items() if k in keep and v is not None}
        args = [f"--config={json.dumps(config)}", *args]
    return args, stored


def _loggers(root: str) -> list[Logger]:
    csv = CSVLogger(root, name="")
    loggers: list[Logger] = [csv]
    if module_available("tensorboard"):
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(root, name="", version=csv.version))
    return loggers


def _checkpoints(task: Task, folder: Path | None) -> list[Callback]:
    # Two, because Lightning's own save_last is the last one saved, not the latest.
    monitor, mode = task.monitor
    best = ModelCheckpoint(
        folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False
    )
    last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    return [best, last]


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(config, dict):
        for name, value in config.items():
            # class_path and init_args are how a configuration is written, not what it says.
            inner = prefix if name in ("class_path", "init_args") else f"{prefix}{name}."
            yield from _flat(value, inner)
    else:
        yield prefix.removesuffix("."), config


def _short(path: str) -> str:
    absolute = Path(path).absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)


# What Lightning says for its own sake, or of itself, not for the user's.
_NOISE = re.compile("^(💡|TPU available|`weights_only` was not set)")


def _silence_noise() -> None:
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: not _NOISE.match(record.getMessage()))
    for message in (
        "LeafSpec.*is deprecated",  # inside Lightning, with torch 2.13
        "does not have many workers",  # batches come from memory
        "smaller than the logging interval",
        # A resumed run keeps its checkpoints where they are; a measured one needs no callbacks.
        "Checkpoint directory .* exists and is not empty",
        "callbacks used to create the checkpoint need to be provided",
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")
