"""Sequence prediction: targets of sequences of numbers, or of their steps."""

from srulight.tasks.sequence_prediction.corpora import (
    Part,
    SequenceCorpus,
    Sequences,
    SyntheticSignals,
)
from srulight.tasks.sequence_prediction.data import SequencePredictionData
from srulight.tasks.sequence_prediction.task import SequencePrediction

__all__ = [
    "Part",
    "SequenceCorpus",
    "SequencePrediction",
    "SequencePredictionData",
    "Sequences",
    "SyntheticSignals",
]
