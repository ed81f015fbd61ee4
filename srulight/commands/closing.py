"""The summary that ``fit`` prints at the end of a run."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from srulight.runtime.program import program
from srulight.runtime.terminal import decimal
from srulight.training.logger import FILE, Log
from srulight.training.resume.last_checkpoint import LastCheckpoint


def closing(trainer: Trainer, begun: int) -> str:
    """Returns the results of a run, and the commands to run next.

    Args:
        trainer: Trainer that has finished.
        begun: Number of optimizer steps before this run: those of the checkpoint that it resumed,
            or 0.
    """
    said = []
    if 0 < begun == trainer.global_step:
        epochs = trainer.current_epoch
        said.append(
            f"training was already complete (step {begun}, {epochs} epoch{'s' * (epochs != 1)}); "
            "raise --trainer.max_epochs or --trainer.max_steps to train longer"
        )
    path = None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LastCheckpoint) and path is None and callback.path.is_file():
            path = callback.path
        # A run that resumes in another folder knows the path of the old best, but no score.
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            path = Path(callback.best_model_path)
            said.append(f"best {callback.monitor}: {decimal(callback.best_model_score.item())}")
    if path is not None:
        said += [
            f"  evaluate: {program()} test --ckpt_path={short(path)}",
            f"  predict:  {program()} predict --ckpt_path={short(path)}",
        ]
    for logger in trainer.loggers:
        if isinstance(logger, Log) and (table := Path(logger.log_dir) / FILE).is_file():
            said.append(f"  log:      {short(table)}")
    return "\n".join(said)


def short(path: Path) -> str:
    """Returns a path relative to the working directory if it is inside, or else unchanged."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else path)
