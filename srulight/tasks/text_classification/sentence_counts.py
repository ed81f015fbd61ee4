"""Checks and statistics of labeled sentences before training."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.base import Splits
from srulight.text.tokenizers import UNKNOWN_ID

_SHOWN = 6


def check_classes(splits: Splits) -> None:
    """Checks that there is something to learn.

    Args:
        splits: The corpus.

    Raises:
        InputError: If there are several training sentences, and all have the same label.
    """
    found = {example.label for example in splits.train if isinstance(example.label, int)}
    if len(found) == 1 < len(splits.train):
        raise InputError(
            f"expected training sentences with at least two labels, got "
            f"{splits.labels[found.pop()]!r} for all {len(splits.train)}; add sentences with "
            "another label"
        )


def statistics(
    splits: Splits, encoded: Mapping[str, Sequence[Sequence[int]]], unit: str
) -> Iterator[str]:
    """Describes each split in one line, and points out labels that look like a mistake.

    Args:
        splits: The corpus.
        encoded: Token ids of the sentences of ``train``, ``val`` and ``test``; an empty sentence
            has the one id ``UNKNOWN_ID``.
        unit: Name of a token in the singular, such as "word".

    Yields:
        Lines to log.
    """
    examples = {"train": splits.train, "val": splits.val, "test": splits.test}
    known = {index for sentence in encoded["train"] for index in sentence}
    for name, sentences in encoded.items():
        if not sentences:
            continue
        indices = [index for sentence in sentences for index in sentence]
        unknown = sum(index == UNKNOWN_ID for index in indices) / len(indices)
        empty = sum(not example.text.strip() for example in examples[name])
        line = f"{name}: {len(sentences):,} sentences"
        if empty:
            line += f" ({empty:,} of them empty, read as one out-of-vocabulary {unit})"
        if name == "train":
            line += f", {len(known):,} distinct {unit}s"
        classes = [e.label for e in examples[name] if isinstance(e.label, int)]
        shares = _shares(classes, splits.labels)
        yield f"{line}, {unknown:.1%} out-of-vocabulary {unit}s; classes: {shares}"
    if fraction := next((label for label in splits.labels if _is_fraction(label)), None):
        yield (
            f"labels such as {fraction} are numbers, but each of the {len(splits.labels)} labels "
            "becomes a class of its own; round them if you want fewer classes"
        )


def _shares(classes: Sequence[int], labels: Sequence[str]) -> str:
    found = Counter(classes).most_common()
    shown = [f"{labels[i]} {count / len(classes):.1%}" for i, count in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"


def _is_fraction(label: str) -> bool:
    try:
        return float(label) % 1 > 0  # False for nan and inf
    except ValueError:
        return False
