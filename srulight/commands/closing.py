"""What fit says when it is done."""

from pathlib import Path

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from srulight.runtime.program import program
from srulight.training.logger import FILE, Log
from srulight.training.resume.last_checkpoint import LastCheckpoint


def closing(trainer: Trainer, begun: int) -> str:
    """Says what came out of a run, and how to go on.

    Args:
        trainer: It has trained.
        begun: Steps of the optimiser before it trained; those of the checkpoint that it resumed.
    """
    said = []
    if 0 < begun == trainer.global_step:
        said.append(
            f"nothing was left to train after step {begun} and epoch {trainer.current_epoch}: "
            "raise --trainer.max_epochs (or max_steps) to go on"
        )
    path = None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, LastCheckpoint) and path is None and callback.path.is_file():
            path = callback.path
        # A run that goes on elsewhere knows the path of the old best, and no score.
        if isinstance(callback, ModelCheckpoint) and callback.best_model_score is not None:
            path = Path(callback.best_model_path)
            said.append(f"best {callback.monitor}: {callback.best_model_score:.4f}")
    if path is not None:
        said += [
            f"  measure it: {program()} test --ckpt_path={short(path)}",
            f"  use it:     {program()} predict --ckpt_path={short(path)}",
        ]
    for logger in trainer.loggers:
        if isinstance(logger, Log) and (table := Path(logger.log_dir) / FILE).is_file():
            said.append(f"  log:        {short(table)}")
    return "\n".join(said)


def short(path: Path) -> str:
    """Gives a path as seen from the working directory, if it is below it."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else path)
