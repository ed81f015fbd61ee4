"""Parallel corpora. Configurations can name each class imported here without its module."""

from srulight.tasks.translation.corpora.base import ParallelCorpus
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers

__all__ = [
    "ParallelCorpus",
    "ParallelText",
    "SyntheticNumbers",
]
