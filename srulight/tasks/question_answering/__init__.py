"""The part of a text that answers a question."""

from srulight.tasks.question_answering.corpora import QuestionCorpus, Squad, SyntheticStories
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.task import PredictedAnswer, QuestionAnswering

__all__ = [
    "PredictedAnswer",
    "QuestionAnswering",
    "QuestionAnsweringData",
    "QuestionCorpus",
    "Squad",
    "SyntheticStories",
]
