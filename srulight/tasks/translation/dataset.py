"""Sentence pairs as token ids, made once and mapped into memory, and their batches."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED, BatchDataset
from srulight.runtime.cache import cache_key, cached
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.progress import progress
from srulight.tasks.translation.batch import BEGIN_ID, END_ID, TranslationBatch
from srulight.tasks.translation.corpora.base import Pair, Pairs
from srulight.text.tokenizers import Tokenizer

_VERSION = 2  # Of the files below; raised when what they hold changes.
_FIRST, _BEGIN, _END = torch.tensor([0]), torch.tensor([BEGIN_ID]), torch.tensor([END_ID])


@dataclass(frozen=True)
class PairFilters:
    """Which sentence pairs are left out. Those of validation and test are never left out by length.

    Args:
        max_length: Most tokens of a sentence; training pairs with more are left out and counted. No
            limit if None.
        max_ratio: How many times as many tokens as the other the longer of two training sentences
            may have, at least 1; no limit if None.
        on_error: What to do with pairs of which one sentence is empty: "refuse" to begin, or "skip"
            them and say how many they are.
    """

    max_length: int | None = 100
    max_ratio: float | None = 4.0
    on_error: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        check_range(1, max_length=self.max_length, max_ratio=self.max_ratio)

    def nonempty(
        self, pairs: Iterable[Pair], left_out: Counter[str] | None = None
    ) -> Iterator[Pair]:
        """Gives the pairs that have something on both sides.

        Args:
            pairs: Sentence pairs.
            left_out: Counts the others.

        Raises:
            InputError: If one sentence of a pair is empty, and ``on_error`` is "refuse".
        """
        for pair in pairs:
            empty = [not pair.source, not pair.target]
            if any(empty) and not all(empty) and self.on_error == "refuse":
                raise InputError(
                    f"{pair.where}: {'the sentence' if empty[0] else 'the translation'} is empty, "
                    f"and {'its translation' if empty[0] else 'the sentence'} is not; mend it, or "
                    "leave such pairs out: --data.filters.on_error=skip"
                )
            if not any(empty):
                yield pair
            elif left_out is not None:
                left_out["empty on both sides" if all(empty) else "empty on one side"] += 1

    def excludes(self, source: list[int], target: list[int]) -> str | None:
        """Says why a pair of token ids is left out; None if it is not."""
        shorter, longer = sorted((len(source), len(target)))
        if self.max_length is not None and longer > self.max_length:
            return f"longer than {self.max_length} tokens"
        if self.max_ratio is not None and longer > self.max_ratio * shorter:
            return f"one more than {self.max_ratio:g} times as long as the other"
        return None


class TokenPairs(NamedTuple):
    """Sentence pairs as token ids.

    Attributes:
        source: Ids of all sentences, one behind the other, (sum of S,) int32.
        source_ends: Where each sentence ends, (N,) int64.
        target: Ids of all translations, as ``source``.
        target_ends: Where each translation ends, (N,) int64.
        left_out: How many pairs were left out, by reason.
    """

    source: Tensor
    source_ends: Tensor
    target: Tensor
    target_ends: Tensor
    left_out: dict[str, int]


def token_pairs(
    pairs: Pairs, source: Tokenizer, target: Tokenizer, filters: PairFilters, name: str
) -> TokenPairs:
    """Gives sentence pairs as token ids; makes their file first, if it is not in the cache.

    Args:
        pairs: Sentence pairs.
        source: Tokenizer of the sentences.
        target: Tokenizer of their translations.
        filters: Which pairs are left out.
        name: What the progress bar calls them.

    Raises:
        InputError: If a file is not what it should be, or one sentence of a pair is empty.
    """

    def make(folder: Path) -> None:
        torch.save(_encode(pairs, source, target, filters, name)._asdict(), folder / "pairs.pt")

    key = cache_key(_VERSION, pairs.key, source.settings, target.settings, astuple(filters))
    path = cached("pairs", key, make) / "pairs.pt"
    return TokenPairs(**torch.load(path, mmap=True, weights_only=True))


def _encode(
    pairs: Pairs, source: Tokenizer, target: Tokenizer, filters: PairFilters, name: str
) -> TokenPairs:
    ids = (array("i"), array("i"))
    ends = (array("q"), array("q"))
    left_out: Counter[str] = Counter()
    for pair in progress(filters.nonempty(pairs, left_out), f"encoding {name}", None):
        both = (source.encode(pair.source), target.encode(pair.target))
        if reason := filters.excludes(*both):
            left_out[reason] += 1
            continue
        for side, tokens in enumerate(both):
            ids[side].extend(tokens)
            ends[side].append(len(ids[side]))
    flat = [torch.tensor(side, dtype=torch.int32) for side in ids]
    stops = [torch.tensor(side, dtype=torch.int64) for side in ends]
    return TokenPairs(flat[0], stops[0], flat[1], stops[1], dict(left_out))


class TranslationDataset(BatchDataset[TranslationBatch]):
    """Sentence pairs, a batch at a time.

    Args:
        pairs: Their token ids.
        texts: Source and reference of each pair, None for those that are not translated in
            validation; empty if none are.

    Attributes:
        lengths: Tokens of each pair, (N,) int64.
    """

    def __init__(self, pairs: TokenPairs, texts: Sequence[tuple[str, str] | None]) -> None:
        self._pairs = pairs
        self._texts = texts
        # One token more on each side: the end of the source, and begin or end of the target.
        self.lengths = pairs.source_ends.diff(prepend=_FIRST) + 1
        self.lengths += pairs.target_ends.diff(prepend=_FIRST) + 1

    def __getitems__(self, indices: list[int]) -> list[TranslationBatch]:
        pairs = self._pairs
        sources = [torch.cat((_slice(pairs.source, pairs.source_ends, i), _END)) for i in indices]
        targets = [_slice(pairs.target, pairs.target_ends, i) for i in indices]
        labels = [torch.cat((target, _END)) for target in targets]
        targets = [torch.cat((_BEGIN, target)) for target in targets]
        if not indices:  # an empty sentence with nothing to learn
            sources, targets, labels = [_END], [_BEGIN], [torch.full_like(_END, IGNORED)]
        return [
            TranslationBatch(
                pad_sequence(sources, batch_first=True),
                torch.tensor([len(source) for source in sources]),
                pad_sequence(targets, batch_first=True),
                pad_sequence(labels, batch_first=True, padding_value=IGNORED),
                [self._texts[i] for i in indices] if self._texts else [],
                int(self.lengths[indices].sum()) if indices else 0,
            )
        ]


def _slice(ids: Tensor, ends: Tensor, index: int) -> Tensor:
    return ids[ends[index - 1] if index else 0 : ends[index]].long()
