"""Callbacks that report on a run and watch over it."""

from srulight.training.callbacks.epoch_line import EpochLine
from srulight.training.callbacks.plot_curves import PlotCurves
from srulight.training.callbacks.progress_bar import ProgressBar
from srulight.training.callbacks.sparse_epochs import SparseEpochs
from srulight.training.callbacks.stability import Stability
from srulight.training.callbacks.summary import Summary
from srulight.training.callbacks.throughput import Throughput

__all__ = [
    "EpochLine",
    "PlotCurves",
    "ProgressBar",
    "SparseEpochs",
    "Stability",
    "Summary",
    "Throughput",
]
