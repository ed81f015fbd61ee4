"""The commands ``fit``, ``validate`` and ``test``: Lightning's command line, with additions.

- Every checkpoint contains the whole configuration. ``--ckpt_path`` reads it first, so that the
  user's options override it, and prints the differences. (In Lightning alone, the checkpoint
  silently overrides the command line.)
- ``--ckpt_path=last`` and ``best`` find the newest run. ``auto`` resumes it if there is one, and
  starts a new run otherwise.
- Every run keeps its best and its last checkpoint, and a log of all metrics.
"""

import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_info
from lightning_utilities.core.imports import module_available

from srulight.checkpoint import describe, read
from srulight.commands.closing import closing, short
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
from srulight.ops.product import SLOW_TYPES
from srulight.plugins import load_plugins
from srulight.runtime.distributed import check_launched, shutdown_process_group
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.program import program
from srulight.runtime.terminal import decimal
from srulight.targets.report import Report
from srulight.tasks.base import NOT_TRAINED, Task
from srulight.training.logger import Log
from srulight.training.resume.checkpoint_format import (
    CONFIG,
    METADATA,
    QUANTIZATION,
    require_checkpoint,
)
from srulight.training.resume.lightning_internals import CommandLine


class TrainingCLI(CommandLine):
    """Lightning's command line, with the additions described above.

    Args:
        resumed: Checkpoint that ``--ckpt_path`` names; None if there is none.
        callbacks: Callbacks of ``fit`` besides those of the configuration.
        reports: Whether ``validate`` and ``test`` print and save their results.
        **kwargs: Arguments of LightningCLI.
    """

    def __init__(
        self,
        resumed: Resumed | None = None,
        callbacks: Sequence[Callback] = (),
        reports: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.resumed = resumed
        self.reports = reports
        self.more_callbacks = callbacks
        self.stored = None if resumed is None else resumed.stored
        self.changes: dict[str, tuple[Any, Any]] = {}
        self.log: Log | None = None
        self._command = kwargs["args"][0] if kwargs["run"] else None
        try:
            super().__init__(**kwargs)
        except BaseException:
            if self.log is not None:
                self.log.discard()
            raise

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Returns the command that runs, because each takes a quarter of a second to prepare."""
        return {name: skip for name, skip in super().subcommands().items() if name == self._command}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        # Lightning's method warns about arguments that are passed while sys.argv has some, too.
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        command = self.config.get("subcommand")
        config = self.config.get(command, self.config)
        require_classes(config.as_dict())
        _check_ranges(config)
        if command in ("validate", "test"):
            # after_validate and after_test print the metrics, with fewer digits than Lightning.
            config["verbose"] = False

    def before_instantiate_classes(self) -> None:
        """Prints the settings that differ from those of the checkpoint."""
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
                f"not taken from the checkpoint: {', '.join(left)}; set them again if you need them"
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        config = self.config_init.get(self.subcommand, self.config_init)["trainer"]
        kwargs["accelerator"] = accelerator(config["accelerator"])
        monitored = self.model.monitored(self.datamodule)  # checks the setting
        if self.subcommand in ("validate", "test"):
            # An evaluation has no folder of its own.
            kwargs |= evaluation_defaults(config, self.resumed)
            self.save_config_callback = None
        else:
            resumed = self.resumed
            if resumed is not None and not resumed.is_run_of(config["default_root_dir"]):
                resumed = None  # it resumes in another folder, as a new run
            self.log = run_log(config, resumed)
            kwargs |= training_defaults(
                config, self.model, resumed, self.changes, self.log, monitored
            )
            kwargs["callbacks"] += self.more_callbacks
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise InputError(f"trainer: {error}") from error
        check_launched(trainer.world_size)
        return trainer

    def after_validate(self) -> None:
        self._print_results("val")

    def after_test(self) -> None:
        self._print_results("test")

    def _print_results(self, stage: str) -> None:
        if not self.reports:
            return
        metrics = self.trainer.callback_metrics
        first = self.model.monitored(self.datamodule)[0].partition("/")[2]
        for name in sorted(metrics, key=lambda name: (not name.endswith(f"/{first}"), name)):
            self.trainer.print(f"{name} {decimal(metrics[name].item())}")
        report = self.model.report
        if report is not None:
            self.trainer.print(f"\n{report.text()}")
            if self.trainer.is_global_zero and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
                _save(report, stage, self.resumed)

    def after_instantiate_classes(self) -> None:
        if self.resumed is not None and self.stored is not None:
            if QUANTIZATION in self.stored and self.config.get("subcommand") == "fit":
                raise InputError(f"{self.resumed.path}: {NOT_TRAINED}")
            if "loops" not in self.stored and self.config.get("subcommand") == "fit":
                raise InputError(
                    f"{self.resumed.path}: expected a checkpoint with the state of its training, "
                    "got an exported or downloaded model; pass a file last.ckpt or best.ckpt"
                )
            doing = "resuming from" if self.config.get("subcommand") == "fit" else "loading"
            rank_zero_info(f"{doing} {describe(self.resumed.path, self.stored)}")
            # Words and labels must keep the indices that the weights were trained with.
            self.model.check_metadata(self.stored[METADATA])
            self.model.resumed = self.stored["state_dict"]
            try:
                self.datamodule.load_metadata(self.stored[METADATA])
            except KeyError as error:
                name = type(self.datamodule).__name__
                raise InputError(
                    f"{self.resumed.path}: expected a checkpoint with {error} for {name}, got one "
                    "of another task; leave out --data"
                ) from error

    def before_fit(self) -> None:
        done = 0 if self.stored is None else self.stored.get("epoch", 0)
        limit = self.trainer.max_epochs
        if limit is not None and -1 < limit < done:
            raise InputError(
                f"trainer.max_epochs must be at least {done}, the epochs that the checkpoint has "
                f"trained, got {limit}; raise it, or leave out --ckpt_path to start a new run"
            )
        dtype = torch.bfloat16 if "bf16" in self.trainer.precision else torch.float16
        on_cpu = self.trainer.strategy.root_device.type == "cpu"
        if "16" in self.trainer.precision and on_cpu and dtype in SLOW_TYPES:
            rank_zero_info(
                "this processor is slow at matrix products of 16-bit types; "
                "--trainer.precision=32-true is usually faster"
            )

    def after_fit(self) -> None:
        begun = 0 if self.stored is None else self.stored["global_step"]
        if said := closing(self.trainer, begun):
            rank_zero_info(said)


def _save(report: Report, stage: str, evaluated: Resumed | None) -> None:
    """Writes the report into the folder of the run that was evaluated, and prints the paths."""
    if evaluated is None or not evaluated.has_run:
        rank_zero_info("the report was not saved, because the checkpoint is not in a run's folder")
        return
    if QUANTIZATION in evaluated.stored:  # the report of the original remains
        stage = f"{evaluated.path.stem}-{stage}"
    try:
        paths = report.write(evaluated.folder, stage)
    except InputError as error:
        rank_zero_info(f"the report was not saved: {error}")
        return
    rank_zero_info(f"saved {' and '.join(str(short(path)) for path in paths)}")
    if report.confusion is not None and not module_available("matplotlib"):
        rank_zero_info(
            "a picture of the confusion matrix needs matplotlib; install it: pip install "
            '"srulight[plot]"'
        )


def _check_ranges(config: Namespace) -> None:
    """Raises InputError for numbers out of range that Lightning (2.6) does not check itself."""
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
    """Runs ``fit``, ``validate`` or ``test``.

    Args:
        command: Name of the command.
        args: Command-line arguments that follow the command.
    """
    silence_noise()
    try:
        build([command, *args])
        shutdown_process_group()
    except SystemExit:
        shutdown_process_group()
        raise


_DESCRIPTIONS = {
    "fit": "Trains a task, and keeps the best and the last checkpoint. With --ckpt_path, resumes a "
    "run; no --config is needed then, and all other options override the checkpoint's.",
    "validate": "Evaluates a checkpoint on the validation data. With --ckpt_path, no --config is "
    "needed, and all other options override the checkpoint's.",
    "test": "Evaluates a checkpoint on the test data. With --ckpt_path, no --config is needed, and "
    "all other options override the checkpoint's.",
}


def build(
    args: list[str], run: bool = True, callbacks: Sequence[Callback] = (), reports: bool = True
) -> TrainingCLI:
    """Parses a command line, builds the objects that it describes, and runs its command.

    Args:
        args: Command-line arguments. They start with the command if ``run`` is true.
        run: Whether to run the command. False only builds the objects, for tests and notebooks.
        callbacks: Callbacks of ``fit`` besides those of the configuration.
        reports: Whether ``validate`` and ``test`` print and save their results.

    Returns:
        The command line, with its ``model``, ``datamodule`` and ``trainer``.

    Raises:
        InputError: If the named checkpoint does not exist or does not load.
    """
    load_plugins()
    command, rest = (args[:1], args[1:]) if run else ([], args)
    rest, resumed = _with_checkpoint(files_first(with_packaged_configs(rest)))
    return TrainingCLI(
        resumed=resumed,
        callbacks=callbacks,
        reports=reports,
        model_class=Task,
        datamodule_class=TaskData,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        parser_class=Parser,
        parser_kwargs={
            "prog": program(),
            **{
                name: {
                    "usage": f"{program()} {name} --config FILE [options]",
                    "description": _DESCRIPTIONS[name],
                }
                for name in command
            },
        },
        save_config_callback=EmbedConfig,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={
            "default_root_dir": RUNS,
            "max_epochs": 10,
            # The data module's own sampler distributes batches over processes.
            "use_distributed_sampler": False,
        },
        seed_everything_default=1,
        args=command + rest,
        run=run,
    )


def _with_checkpoint(args: list[str]) -> tuple[list[str], Resumed | None]:
    """Resolves ``--ckpt_path``, and puts the checkpoint's configuration before the user's."""
    place = next((i for i, a in enumerate(args) if a.split("=")[0] == "--ckpt_path"), None)
    if place is None:
        return args, None
    inline = "=" in args[place]
    if not inline and place + 1 == len(args):
        return args, None  # the parser reports the missing value
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


# Messages of Lightning that do not help the user.
_NOISE = re.compile(
    "^(💡|TPU available|`weights_only` was not set|`Trainer.fit` stopped"
    "|Restoring states|Restored all states|Loaded model weights)"
)


def silence_noise() -> None:
    """Silences messages of Lightning that do not help the user."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: not _NOISE.match(record.getMessage()))
    for message in (
        "WeightAveraging callback with a model that overrides",  # srulight shards no model
        "LeafSpec.*is deprecated",  # inside Lightning, with torch 2.13
        "does not have many workers",  # batches come from memory
        "smaller than the logging interval",
        # A resumed run uses the same folder again, and an evaluation needs no callbacks.
        "Checkpoint directory .* exists and is not empty",
        "callbacks used to create the checkpoint need to be provided",
        # An epoch that is cut short ends without validation.
        r"ModelCheckpoint\(monitor=.*could not find the monitored key",
    ):
        warnings.filterwarnings("ignore", message=f".*{message}")


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what Lightning says about a run, such as its devices."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
