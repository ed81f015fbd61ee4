"""Corpora of sequences of numbers. A configuration can name each without its module."""

from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.corpora.cholec80 import Cholec80
from srulight.tasks.sequence_prediction.corpora.numpy_arrays import NumpyArrays
from srulight.tasks.sequence_prediction.corpora.synthetic_signals import SyntheticSignals
from srulight.tasks.sequence_prediction.corpora.tables import SequenceTables
from srulight.tasks.sequence_prediction.corpora.ts_files import TsFiles

__all__ = [
    "Cholec80",
    "NumpyArrays",
    "Part",
    "SequenceCorpus",
    "SequenceTables",
    "Sequences",
    "SyntheticSignals",
    "TsFiles",
]
