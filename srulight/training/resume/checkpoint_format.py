"""The format of a checkpoint: everything that Lightning saves, and what srulight adds."""

import re
from typing import Any

from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require
from srulight.training.resume.lightning_internals import LOOPS

METADATA = "metadata"
"""Key of the metadata of the data, such as vocabulary and labels."""
TASK = "task"
"""Key of the shortest import path of the task's class."""
DROPPED = "hyper_parameters_dropped"
"""Key of the names of the task's arguments that were passed as code, which no file can contain."""
CONFIG = "config"
"""Key of the whole configuration, in runs of the command line."""
RECURRENT_STATE = "recurrent_state"
"""Key of the states that the training of each process carries from batch to batch."""
TRAIN_LOSS = "train_loss"
"""Key of the sums of the losses in the current epoch, of each process."""
RANDOM_STATES = "random_states"
"""Key of the states of the random number generators of each process."""
QUANTIZATION = "quantization"
"""Key of how the weights were quantized; a checkpoint that was not quantized lacks it."""
POSITION = "resume_position"
"""Key of the position in the run, as far as Lightning does not save it."""

# Lightning would migrate checkpoints of version 1, by rules for entries that no longer exist.
_VERSION = re.compile(r"[2-9]\d*(\.\d+)+\w*")
_CLASS = {"class_path": str, "init_args": {"*": object}}

_CHECKPOINT: dict[str, Any] = {
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": {"*": Tensor},
    "hyper_parameters": {"*": object},
    DROPPED: [str],
    TASK: str,
    METADATA: {"*": object},
    f"{RECURRENT_STATE}?": [(Tensor, type(None))],
    f"{TRAIN_LOSS}?": [{"*": Tensor}],
    f"{RANDOM_STATES}?": [{"cpu": Tensor, "cuda?": Tensor}],
    f"{POSITION}?": {"batches": int, "metrics": {"*": Tensor}, "rows?": int, "steps?": int},
    f"{QUANTIZATION}?": {"bits": int, "activations": str, "activation_bits?": int},
    "metrics?": {"*": (int, float)},
    "callbacks?": {"*": {"*": object}},
    "optimizer_states?": [{"state": dict, "param_groups": [{"params": [int], "*": object}]}],
    "lr_schedulers?": [{"*": object}],
    f"{CONFIG}?": {
        "seed_everything": (int, bool),
        "trainer": {"*": object},
        "model": _CLASS,
        "data": _CLASS,
    },
    "loops?": LOOPS,
}


def require_checkpoint(checkpoint: Any, where: str) -> None:  # noqa: ANN401
    """Raises InputError if data do not have the structure of a checkpoint.

    Args:
        checkpoint: Data to check.
        where: Path of the file, for error messages.
    """
    require(checkpoint, _CHECKPOINT, where)
    version = checkpoint["pytorch-lightning_version"]
    if not _VERSION.fullmatch(version):
        raise InputError(
            f"{where}: expected a checkpoint of Lightning 2 or later, got version {version!r:.60}"
        )
