"""Parallel corpora: each class imported here is known by its bare name."""

from srulight.tasks.translation.corpora.base import ParallelCorpus
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers

__all__ = [
    "ParallelCorpus",
    "ParallelText",
    "SyntheticNumbers",
]
