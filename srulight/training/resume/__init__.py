"""Callbacks and plug-ins with which a run can resume exactly, bit for bit.

The command line adds them to every run. In Python, pass the trainer
``callbacks=[RandomState(), ResumePosition(), LastCheckpoint()]``, in this order and before all
other callbacks, and ``plugins=[AtomicCheckpointIO()]``, so that no checkpoint is half written.
"""

from srulight.training.resume.checkpoint_io import AtomicCheckpointIO
from srulight.training.resume.last_checkpoint import LastCheckpoint
from srulight.training.resume.override_settings import OverrideSettings
from srulight.training.resume.random_state import RandomState
from srulight.training.resume.resume_position import ResumePosition

__all__ = [
    "AtomicCheckpointIO",
    "LastCheckpoint",
    "OverrideSettings",
    "RandomState",
    "ResumePosition",
]
