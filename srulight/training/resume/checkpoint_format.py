"""What a checkpoint holds: all that Lightning writes, and what srulight adds."""

import re
from typing import Any

from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.runtime.structure import require
from srulight.training.resume.lightning_internals import LOOPS

METADATA = "metadata"
"""What the data know: vocabulary, labels."""
TASK = "task"
"""Import path of the task's class, the shortest."""
DROPPED = "hyper_parameters_dropped"
"""Names of the task's arguments that were given as code, which no file can hold."""
CONFIG = "config"
"""The whole configuration, of runs of the command line."""
RECURRENT_STATE = "recurrent_state"
"""What the training of each process carries from batch to batch."""
TRAIN_LOSS = "train_loss"
"""The sums of the losses of the epoch so far, of each process."""
RANDOM_STATES = "random_states"
"""States of the generators of each process."""
POSITION = "resume_position"
"""Where the run is, beyond what Lightning keeps."""

# Lightning would bring an older one up to date, by rules for what it has no more.
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
    "callbacks?": {"*": {"*": object}},
    "optimizer_states?": [{"state": dict, "param_groups": [{"params": [int], "*": object}]}],
    "lr_schedulers?": [{"*": object}],
    f"{CONFIG}?": {
        "seed_everything": (int, bool),
        "trainer": {"*": object},
        "model": _CLASS,
        "data": _CLASS,
    },
    "loops": LOOPS,
}


def require_checkpoint(checkpoint: Any, where: str) -> None:  # noqa: ANN401
    """Raises InputError if what was read is not built as a checkpoint is.

    Args:
        checkpoint: What was read.
        where: The file, for messages.
    """
    require(checkpoint, _CHECKPOINT, where)
    version = checkpoint["pytorch-lightning_version"]
    if not _VERSION.fullmatch(version):
        raise InputError(f"{where}: {version!r:.60} is no version of Lightning from 2 on")
