"""Statistics of sentences and their targets before training."""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from srulight.data.summary import describe_lengths, leakage
from srulight.targets import Kind
from srulight.targets.summary import describe_targets, suspicions
from srulight.tasks.text_classification.corpora.base import Splits
from srulight.text.tokenizers import UNKNOWN_ID


def statistics(
    splits: Splits,
    encoded: Mapping[str, Sequence[Sequence[int]]],
    targets: Mapping[str, Tensor],
    kind: Kind,
    unit: str,
) -> Iterator[str]:
    """Describes each split in one line, and points out what looks like a mistake.

    Args:
        splits: The corpus.
        encoded: Token ids of the sentences of ``train``, ``val`` and ``test``; an empty sentence
            has the one id ``UNKNOWN_ID``.
        targets: Targets of the same splits, as ``describe_target`` takes them.
        kind: Kind of the targets.
        unit: Name of a token in the singular, such as "word".

    Yields:
        Lines to log.
    """
    texts = {
        name: [example.text for example in split]
        for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
    }
    known = {index for sentence in encoded["train"] for index in sentence}
    for name, sentences in encoded.items():
        if not sentences:
            continue
        indices = [index for sentence in sentences for index in sentence]
        unknown = sum(index == UNKNOWN_ID for index in indices) / len(indices)
        empty = sum(not text.strip() for text in texts[name])
        line = f"{name}: {len(sentences):,} sentences"
        if empty:
            line += f" ({empty:,} of them empty, read as one out-of-vocabulary {unit})"
        if name == "train":
            line += f", {len(known):,} distinct {unit}s"
        about = describe_targets(kind, splits.labels, targets[name])
        yield f"{line}, {unknown:.1%} out-of-vocabulary {unit}s; {about}"
    if encoded["train"]:
        lengths = describe_lengths(list(map(len, encoded["train"])), unit)
        yield f"length of training sentences: {lengths}"
    numbers = [label for label in splits.labels if _is_fraction(label)]
    if kind == "class" and numbers:
        yield (
            f"labels such as {numbers[0]} are numbers, but each of {len(splits.labels):,} labels "
            "becomes a class; set --data.corpus.kind=numbers to predict numbers"
        )
    yield from suspicions(kind, splits.labels, targets["train"], "sentences")
    if repeated := leakage(texts, "sentences"):
        yield repeated


def _is_fraction(label: str) -> bool:
    try:
        return float(label) % 1 > 0  # False for nan and inf
    except ValueError:
        return False
