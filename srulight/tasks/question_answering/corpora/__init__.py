"""Question corpora. Configurations can name each class imported here without its module."""

from srulight.tasks.question_answering.corpora.base import QuestionCorpus
from srulight.tasks.question_answering.corpora.squad import Squad
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories

__all__ = [
    "QuestionCorpus",
    "Squad",
    "SyntheticStories",
]
