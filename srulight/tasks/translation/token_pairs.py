"""Sentence pairs as token ids: made once, in a file that is mapped into memory."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError
from srulight.tasks.translation.corpora.base import Pair, Pairs
from srulight.text.line_tokenizers import Tokenizer

_VERSION = 1  # Of the files below; raised when what they hold changes.

Faulty = Literal["refuse", "skip"]


class Limits(NamedTuple):
    """Which pairs are left out.

    Attributes:
        length: Most tokens of a sentence.
        ratio: How many times as many tokens as the other the longer of two sentences may have.
        on_error: Whether a pair of which one sentence is empty is left out ("skip") or refused.
    """

    length: float
    ratio: float
    on_error: Faulty


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

    def lengths(self) -> Tensor:
        """Counts the tokens of each pair, both sides and an end of each, (N,) int64."""
        both = (self.source_ends, self.target_ends)
        return sum((ends.diff(prepend=ends.new_zeros(1)) + 1 for ends in both), torch.tensor(0))

    def get(self, index: int) -> tuple[Tensor, Tensor]:
        """Gives the ids of a sentence and of its translation, (S,) and (T,) int64."""
        return (
            _slice(self.source, self.source_ends, index),
            _slice(self.target, self.target_ends, index),
        )


def token_pairs(
    pairs: Pairs, source: Tokenizer, target: Tokenizer, limits: Limits, name: str
) -> TokenPairs:
    """Gives sentence pairs as token ids; makes their file first, if it is not in the cache.

    Args:
        pairs: The sentences.
        source: What makes tokens of the sentences.
        target: What makes tokens of their translations.
        limits: Which pairs are left out.
        name: What the progress bar calls them.

    Raises:
        InputError: If a file is not what it should be, or one sentence of a pair is empty.
    """
    recipe = [_VERSION, pairs.key, source.settings, target.settings, limits]
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]

    def make(folder: Path) -> None:
        made = _make(pairs, source, target, limits, name)
        torch.save(made._asdict(), folder / "pairs.pt")

    path = cached("pairs", key, make) / "pairs.pt"
    return TokenPairs(**torch.load(path, mmap=True, weights_only=True))


def kept(pairs: Pairs, limits: Limits, left_out: Counter[str] | None = None) -> Iterator[Pair]:
    """Gives the pairs that have something on both sides.

    Args:
        pairs: The sentences.
        limits: What to do with a pair of which one is empty.
        left_out: Counts the others.

    Raises:
        InputError: If one sentence of a pair is empty, and is refused.
    """
    for pair in pairs:
        empty = [not pair.source, not pair.target]
        if any(empty) and not all(empty) and limits.on_error == "refuse":
            raise InputError(
                f"{pair.where}: {'the sentence' if empty[0] else 'the translation'} is empty, and "
                f"{'its translation' if empty[0] else 'the sentence'} is not; mend it, or leave "
                "such pairs out: --data.on_error=skip"
            )
        if not any(empty):
            yield pair
        elif left_out is not None:
            left_out["empty on both sides" if all(empty) else "empty on one side"] += 1


def _make(
    pairs: Pairs, source: Tokenizer, target: Tokenizer, limits: Limits, name: str
) -> TokenPairs:
    ids = (array("i"), array("i"))
    ends = (array("q"), array("q"))
    left_out: Counter[str] = Counter()
    console = Console(stderr=True)
    for pair in track(kept(pairs, limits, left_out), f"encoding {name}", console=console):
        both = (source.encode(pair.source), target.encode(pair.target))
        short, long = sorted(map(len, both))
        if long > limits.length:
            left_out[f"longer than {limits.length:g} tokens"] += 1
        elif long > limits.ratio * short:
            left_out[f"one more than {limits.ratio:g} times as long as the other"] += 1
        else:
            for side, tokens in enumerate(both):
                ids[side].extend(tokens)
                ends[side].append(len(ids[side]))
    flat = [torch.tensor(side, dtype=torch.int32) for side in ids]
    stops = [torch.tensor(side, dtype=torch.int64) for side in ends]
    return TokenPairs(flat[0], stops[0], flat[1], stops[1], dict(left_out))


def _slice(ids: Tensor, ends: Tensor, index: int) -> Tensor:
    return ids[ends[index - 1] if index else 0 : ends[index]].long()
