"""What makes a run resumable, bit for bit."""

from srulight.training.resume.last_checkpoint import LastCheckpoint
from srulight.training.resume.override_settings import OverrideSettings
from srulight.training.resume.random_state import RandomState
from srulight.training.resume.resume_position import ResumePosition

__all__ = [
    "LastCheckpoint",
    "OverrideSettings",
    "RandomState",
    "ResumePosition",
]
