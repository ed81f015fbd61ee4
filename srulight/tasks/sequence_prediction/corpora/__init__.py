"""Corpora of sequences of numbers. A configuration can name each without its module."""

from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.corpora.synthetic_signals import SyntheticSignals

__all__ = ["Part", "SequenceCorpus", "Sequences", "SyntheticSignals"]
