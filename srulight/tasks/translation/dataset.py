"""Sentence pairs as cached, memory-mapped token ids, and batches of them."""

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

_VERSION = 3  # Format of the cached token ids; increase it when their content changes.
_FIRST, _BEGIN, _END = torch.tensor([0]), torch.tensor([BEGIN_ID]), torch.tensor([END_ID])


@dataclass(frozen=True)
class PairFilters:
    """Conditions under which sentence pairs are skipped.

    The limits on the length apply to training pairs only.

    Args:
        max_length: Maximum number of tokens in a training sentence, at least 1. Pairs with a longer
            sentence are skipped and counted. None means no limit.
        max_ratio: Maximum ratio of the longer to the shorter sentence of a training pair, in
            tokens, at least 1. None means no limit.
        on_error: What to do if one sentence of a pair is empty: "refuse" stops with an error,
            "skip" skips such pairs and counts them.
    """

    max_length: int | None = 100
    max_ratio: float | None = 4.0
    on_error: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        check_range(1, max_length=self.max_length, max_ratio=self.max_ratio)

    def nonempty(
        self, pairs: Iterable[Pair], left_out: Counter[str] | None = None
    ) -> Iterator[Pair]:
        """Gives the pairs that have text on both sides.

        Args:
            pairs: Sentence pairs.
            left_out: Counter to update with the number of skipped pairs, by reason.

        Raises:
            InputError: If one sentence of a pair is empty, and ``on_error`` is "refuse".
        """
        for pair in pairs:
            empty = [not pair.source, not pair.target]
            if any(empty) and not all(empty) and self.on_error == "refuse":
                raise InputError(
                    f"{pair.where}: expected text on both sides, got an empty "
                    f"{'sentence' if empty[0] else 'translation'}; fix the line, or skip such "
                    "pairs with --data.filters.on_error=skip"
                )
            if not any(empty):
                yield pair
            elif left_out is not None:
                left_out["empty on both sides" if all(empty) else "empty on one side"] += 1

    def excludes(self, source: list[int], target: list[int]) -> str | None:
        """Gives the reason why a pair of token ids is skipped, or None."""
        shorter, longer = sorted((len(source), len(target)))
        if self.max_length is not None and longer > self.max_length:
            return f"longer than {self.max_length} tokens"
        if self.max_ratio is not None and longer > self.max_ratio * shorter:
            return f"one side more than {self.max_ratio:g} times as long as the other"
        return None


class TokenPairs(NamedTuple):
    """Sentence pairs as token ids.

    Attributes:
        source: Token ids of all source sentences, concatenated, (sum of S,) int32.
        source_ends: End of each source sentence in ``source``, (N,) int64.
        target: Token ids of all translations, concatenated, (sum of T,) int32.
        target_ends: End of each translation in ``target``, (N,) int64.
        left_out: Number of skipped pairs, by reason.
    """

    source: Tensor
    source_ends: Tensor
    target: Tensor
    target_ends: Tensor
    left_out: dict[str, int]


def token_pairs(
    pairs: Pairs, source: Tokenizer, target: Tokenizer, filters: PairFilters, name: str
) -> TokenPairs:
    """Encodes sentence pairs as token ids, or reads them from the cache.

    Args:
        pairs: Sentence pairs.
        source: Tokenizer of the source sentences.
        target: Tokenizer of the translations.
        filters: Conditions under which pairs are skipped.
        name: Name of the split, for the progress bar.

    Returns:
        The token ids, mapped into memory.

    Raises:
        InputError: If a file cannot be read, or one sentence of a pair is empty and the filters
            refuse that.
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
    """Builds batches of sentence pairs.

    Args:
        pairs: Token ids of the pairs.
        texts: Source sentence and reference translation of each pair as text, None for pairs that
            validation does not translate; empty if no pair is translated.

    Attributes:
        lengths: Number of tokens of each pair, source and target together, (N,) int64.
    """

    def __init__(self, pairs: TokenPairs, texts: Sequence[tuple[str, str] | None]) -> None:
        self._pairs = pairs
        self._texts = texts
        # Each side has one special token: </s> on the source; <s> or </s> on the target.
        self.lengths = pairs.source_ends.diff(prepend=_FIRST) + 1
        self.lengths += pairs.target_ends.diff(prepend=_FIRST) + 1

    def __getitems__(self, indices: list[int]) -> list[TranslationBatch]:
        pairs = self._pairs
        sources = [torch.cat((_slice(pairs.source, pairs.source_ends, i), _END)) for i in indices]
        targets = [_slice(pairs.target, pairs.target_ends, i) for i in indices]
        labels = [torch.cat((target, _END)) for target in targets]
        targets = [torch.cat((_BEGIN, target)) for target in targets]
        if not indices:  # a placeholder whose labels are all ignored
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
