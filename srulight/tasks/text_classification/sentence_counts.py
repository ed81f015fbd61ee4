"""What there is to know of labelled sentences before training on them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.base import Splits
from srulight.text.tokenizers import UNKNOWN_ID

_SHOWN = 6


def check_classes(splits: Splits) -> None:
    """Refuses sentences that there is nothing to learn from.

    Args:
        splits: The corpus.

    Raises:
        InputError: If the training sentences, if they are several, are all of one class.
    """
    found = {example.label for example in splits.train}
    if len(found) == 1 < len(splits.train):
        raise InputError(
            f"all {len(splits.train)} training sentences have the label "
            f"{splits.labels[found.pop()]!r}; expected two labels or more to tell apart"
        )


def counts(splits: Splits, encoded: Mapping[str, Sequence[Sequence[int]]]) -> Iterator[str]:
    """Says in a line for each split what it holds, and what may be a mistake.

    Args:
        splits: The corpus.
        encoded: Word indices of the sentences of ``train``, ``val`` and ``test``; an empty one is
            one unknown word.
    """
    examples = {"train": splits.train, "val": splits.val, "test": splits.test}
    known = {index for sentence in encoded["train"] for index in sentence}
    for name, sentences in encoded.items():
        if not sentences:
            continue
        indices = [index for sentence in sentences for index in sentence]
        unknown = sum(index == UNKNOWN_ID for index in indices) / len(indices)
        empty = sum(not example.text.strip() for example in examples[name])
        said = f"{name}: {len(sentences):,} sentences"
        if empty:
            said += f", {empty:,} of them empty (read as an unknown word)"
        if name == "train":
            said += f", {len(known):,} different words"
        shares = _shares([example.label for example in examples[name]], splits.labels)
        yield f"{said}, {unknown:.1%} of the words unknown; classes: {shares}"
    if fraction := next((label for label in splits.labels if _is_fraction(label)), None):
        yield (
            f"labels such as {fraction} are numbers: each of the {len(splits.labels)} is a class, "
            "no nearer to one than to another"
        )


def _shares(classes: Sequence[int], labels: Sequence[str]) -> str:
    found = Counter(classes).most_common()
    shown = [f"{labels[i]} {count / len(classes):.1%}" for i, count in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"


def _is_fraction(label: str) -> bool:
    try:
        return float(label) % 1 > 0  # false for what is not finite
    except ValueError:
        return False
