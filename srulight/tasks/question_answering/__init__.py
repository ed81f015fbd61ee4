"""Extractive question answering: finds the part of a text that answers a question."""

from srulight.tasks.question_answering.corpora import QuestionCorpus, Squad, SyntheticStories
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.features import Windows
from srulight.tasks.question_answering.model import ReaderLayers
from srulight.tasks.question_answering.task import PredictedAnswer, QuestionAnswering

__all__ = [
    "PredictedAnswer",
    "QuestionAnswering",
    "QuestionAnsweringData",
    "QuestionCorpus",
    "ReaderLayers",
    "Squad",
    "SyntheticStories",
    "Windows",
]
