"""Base classes and tools of all data modules."""

from srulight.data.base import TaskData

__all__ = [
    "TaskData",
]
