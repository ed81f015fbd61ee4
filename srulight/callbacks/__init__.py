"""What happens beside training."""

from srulight.callbacks.bar import Bar
from srulight.callbacks.curves import Curves
from srulight.callbacks.epoch_line import EpochLine
from srulight.callbacks.last_checkpoint import LastCheckpoint
from srulight.callbacks.new_settings import NewSettings
from srulight.callbacks.place import Place
from srulight.callbacks.random_state import RandomState
from srulight.callbacks.stability import Stability
from srulight.callbacks.summary import Summary
from srulight.callbacks.throughput import Throughput

__all__ = [
    "Bar",
    "Curves",
    "EpochLine",
    "LastCheckpoint",
    "NewSettings",
    "Place",
    "RandomState",
    "Stability",
    "Summary",
    "Throughput",
]
