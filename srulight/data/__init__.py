"""What every data module shares."""

from srulight.data.base import TaskData

__all__ = [
    "TaskData",
]
