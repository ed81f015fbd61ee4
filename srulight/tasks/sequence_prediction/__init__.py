"""Sequence prediction: targets of sequences of numbers, or of their steps."""

from srulight.tasks.sequence_prediction.corpora import (
    Cholec80,
    NumpyArrays,
    Part,
    SequenceCorpus,
    Sequences,
    SequenceTables,
    SyntheticSignals,
    TsFiles,
)
from srulight.tasks.sequence_prediction.data import SequencePredictionData
from srulight.tasks.sequence_prediction.task import SequencePrediction

__all__ = [
    "Cholec80",
    "NumpyArrays",
    "Part",
    "SequenceCorpus",
    "SequencePrediction",
    "SequencePredictionData",
    "SequenceTables",
    "Sequences",
    "SyntheticSignals",
    "TsFiles",
]
