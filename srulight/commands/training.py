"""fit, validate and test: Lightning's command line, with what srulight adds to it.

- Every checkpoint carries the whole configuration. ``--ckpt_path`` reads it before all that the
  user says, so that the user wins; what differs is printed. (Lightning alone lets the checkpoint
  win over the command line, silently.)
- ``--ckpt_path=last`` and ``best`` find the newest run; ``auto`` goes on if there is one to go on
  with, and begins otherwise.
- The best and the last checkpoint are kept, and a log of every metric.
"""

import json
import logging
import re
import warnings
from typing import Any

from jsonargparse import Namespace
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_info

from srulight.checkpoint import describe, read
from srulight.commands.closing import closing
from srulight.commands.defaults import accelerator, evaluation_defaults, run_log, training_defaults
from srulight.commands.parser import Parser
from srulight.commands.runs import (
    RUNS,
    Resumed,
    files_first,
    find_checkpoint,
    find_resumable,
    with_packaged_configs,
)
from srulight.commands.stored import (
    EmbedConfig,
    changes,
    configuration,
    left_out,
    plain,
    require_classes,
)
from srulight.data.base import TaskData
from srulight.plugins import load_plugins
from srulight.runtime.distributed import check_launched, shutdown_process_group
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.tasks.base import Task
from srulight.training.logger import Log
from srulight.training.resume.checkpoint_format import CONFIG, METADATA, require_checkpoint
from srulight.training.resume.lightning_internals import CommandLine


class TrainingCLI(CommandLine):
    """LightningCLI as described above.

    Args:
        resumed: The checkpoint that ``--ckpt_path`` names; None without one.
        **kwargs: Arguments of LightningCLI.
    """

    def __init__(self, resumed: Resumed | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        self.resumed = resumed
        self.stored = None if resumed is None else resumed.stored
        self.changes: dict[str, tuple[Any, Any]] = {}
        self.log: Log | None = None
        try:
            super().__init__(**kwargs)
        except BaseException:
            if self.log is not None:
                self.log.discard()
            raise

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        # Without Lightning's warning that args are given although sys.argv has some too.
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        command = self.config.get("subcommand")
        config = self.config.get(command, self.config)
        require_classes(config.as_dict())
        _check_ranges(config)
        if command in ("validate", "test"):
            # What is measured is printed below, and not as float32 looks in float64.
            config["verbose"] = False

    def before_instantiate_classes(self) -> None:
        """Prints what the user changed since the checkpoint."""
        if self.stored is None or CONFIG not in self.stored:
            return
        dumped = plain(self.parser, self.config)
        now = dumped.get(self.config.get("subcommand"), dumped)
        self.changes = changes(self.stored[CONFIG], now)
        if self.changes:
            lines = [f"  {name}: {old} -> {new}" for name, (old, new) in self.changes.items()]
            rank_zero_info("changed since the checkpoint:\n" + "\n".join(lines))
        if self.config.get("subcommand") == "fit" and (left := left_out(self.stored[CONFIG], now)):
            rank_zero_info(
                f"not taken from the checkpoint: {', '.join(left)}; say again what is wanted"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        config = self.config_init.get(self.subcommand, self.config_init)["trainer"]
        kwargs["accelerator"] = accelerator(config["accelerator"])
        if self.subcommand in ("validate", "test"):
            # A measurement is printed; it is no run with a folder of its own.
            kwargs |= evaluation_defaults(config)
            self.save_config_callback = None
        else:
            resumed = self.resumed
            if resumed is not None and not resumed.is_run_of(config["default_root_dir"]):
                resumed = None  # it goes on elsewhere, as a run of its own
            self.log = run_log(config, resumed)
            kwargs |= training_defaults(config, self.model, resumed, self.changes, self.log)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise InputError(f"trainer: {error}") from error
        check_launched(trainer.world_size)
        return trainer

    def after_validate(self) -> None:
        self._print_measured()

    def after_test(self) -> None:
        self._print_measured()

    def _print_measured(self) -> None:
        metrics = self.trainer.callback_metrics
        first = self.model.monitor[0].partition("/")[2]
        for name in sorted(metrics, key=lambda name: (not name.endswith(f"/{first}"), name)):
            self.trainer.print(f"{name} {metrics[name].item():.4f}")

    def after_instantiate_classes(self) -> None:
        if self.resumed is not None and self.stored is not None:
            rank_zero_info(describe(self.resumed.path, self.stored))
            # Words and labels keep the indices that the weights were trained with.
            self.model.check_metadata(self.stored[METADATA])
            self.model.resumed = self.stored["state_dict"]
            try:
                self.datamodule.load_metadata(self.stored[METADATA])
            except KeyError as error:
                name = type(self.datamodule).__name__
                raise InputError(
                    f"a {name} needs {error} of what the checkpoint knows of its data, which "
                    "were of another task: leave out --data"
                ) from error

    def before_fit(self) -> None:
        done = 0 if self.stored is None else self.stored.get("epoch", 0)
        limit = self.trainer.max_epochs
        if limit is not None and -1 < limit < done:
            raise InputError(
                f"trainer.max_epochs is {limit}, and the checkpoint has trained {done} epochs: "
                "raise it, or leave out --ckpt_path to train anew"
            )

    def after_fit(self) -> None:
        begun = 0 if self.stored is None else self.stored["global_step"]
        if said := closing(self.trainer, begun):
            rank_zero_info(said)


def _check_ranges(config: Namespace) -> None:
    """Raises InputError for numbers that Lightning (2.6) divides by, or takes as they are."""
    seed = config["seed_everything"]
    check_range(0, (1 << 32) - 1, seed_everything=None if isinstance(seed, bool) else seed)
    trainer = config["trainer"]
    for least, names in (
        (1, ("accumulate_grad_batches", "check_val_every_n_epoch")),
        (0, ("gradient_clip_val", "log_every_n_steps")),
    ):
        check_range(least, **{f"trainer.{name}": trainer[name] for name in names})
    if trainer["val_check_interval"] == 0:
        raise InputError("trainer.val_check_interval must be above 0, got 0")


def run(command: str, args: list[str]) -> None:
    """Runs one of fit, validate and test.

    Args:
        command: Which.
        args: What follows it on the command line.
    """
    _silence_noise()
    try:
        build([command, *args])
        shutdown_process_group()
    except SystemExit:
        shutdown_process_group()
        raise


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
    rest, resumed = _with_checkpoint(files_first(with_packaged_configs(rest)))
    return TrainingCLI(
        resumed=resumed,
        model_class=Task,
        datamodule_class=TaskData,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        parser_class=Parser,
        parser_kwargs={"prog": program()},
        save_config_callback=EmbedConfig,
        save_config_kwargs={"save_to_log_dir": False},
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


def _with_checkpoint(args: list[str]) -> tuple[list[str], Resumed | None]:
    """Resolves ``--ckpt_path`` and puts the configuration it holds before the user's."""
    place = next((i for i, a in enumerate(args) if a.split("=")[0] == "--ckpt_path"), None)
    if place is None:
        return args, None
    inline = "=" in args[place]
    if not inline and place + 1 == len(args):
        return args, None  # the parser says what is missing
    value = args[place].partition("=")[2] if inline else args[place + 1]
    others = args[:place] + args[place + (1 if inline else 2) :]
    if value == "auto":
        resumed = find_resumable(others)
        if resumed is None:
            return others, None
    else:
        path = find_checkpoint(value, others)
        resumed = Resumed(path, read(path))
    require_checkpoint(resumed.stored, str(resumed.path))
    args = ["--weights_only=true", *others, f"--ckpt_path={resumed.path}"]
    if CONFIG in resumed.stored:
        args = [f"--config={json.dumps(configuration(resumed, others))}", *args]
    return args, resumed


# What Lightning says for its own sake, or of itself, not for the user's.
_NOISE = re.compile(
    "^(💡|TPU available|`weights_only` was not set|`Trainer.fit` stopped"
    "|Restoring states|Restored all states|Loaded model weights)"
)


def _silence_noise() -> None:
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: not _NOISE.match(record.getMessage()))
    for message in (
        "WeightAveraging callback with a model that overrides",  # srulight shards no model
        "LeafSpec.*is deprecated",  # inside Lightning, with torch 2.13
        "does not have many workers",  # batches come from memory
        "smaller than the logging interval",
        # A resumed run keeps its checkpoints where they are; a measured one needs no callbacks.
        "Checkpoint directory .* exists and is not empty",
        "callbacks used to create the checkpoint need to be provided",
        # An epoch that is cut short has no validation.
        r"ModelCheckpoint\(monitor=.*could not find the monitored key",
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")
