"""What makes a run resumable, bit for bit.

The command line adds it to every run. From Python, a trainer needs
``callbacks=[RandomState(), ResumePosition(), LastCheckpoint()]``, first and in this order, and
``plugins=[AtomicCheckpointIO()]`` for checkpoints that are never half written.
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
