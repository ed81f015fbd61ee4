"""Sentences and their translations."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from srulight.data.base import TaskData
from srulight.data.samplers import LengthBatchSampler
from srulight.runtime.cache import cache_key, cached_json
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.translation.batch import SPECIALS
from srulight.tasks.translation.corpora.base import Pair, Pairs, ParallelCorpus
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers
from srulight.tasks.translation.dataset import (
    PairFilters,
    TokenPairs,
    TranslationDataset,
    token_pairs,
)
from srulight.text.tokenizers import SentencePiece, Tokenizer, from_settings

_VERSION = 2  # Of the files with tokenizers; raised when what they hold changes.


class TranslationData(TaskData):
    """Sentences and their translations, in batches of similar length.

    Its metadata: ``source`` and ``target``, the settings of their tokenizers, and ``joint``,
    whether both are the same.

    Tokenizers are trained once, and sentences turned into token ids once; both are kept in files
    (in SRULIGHT_CACHE, or ~/.cache/srulight), and the ids are mapped into memory.

    Args:
        corpus: Where the sentences are; ``SyntheticNumbers``, numbers in English and German, which
            need no files, if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        tokenizer: What a token is: a piece of a word (``SentencePiece``) or a word (``Words``, with
            split=moses, or split=space for sentences that are split already), fitted to each side
            in its own language; ``SentencePiece``, 8000 tokens by the unigram model, if None. With
            lowercase, BLEU ignores case.
        joint: Whether both sides have one vocabulary, as they always have with tokenizer.file.
        filters: Which sentence pairs are left out.
        batch_tokens: Training tokens of both sides per step and process, about.
        eval_batch_tokens: Validation and test tokens per step and process, about.
        val_translations: Validation sentences that are translated for BLEU and chrF, evenly spaced;
            the loss is that of all.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches.
    """

    corpus: ParallelCorpus
    sampler = LengthBatchSampler
    examples = "sentence pairs"

    def __init__(
        self,
        corpus: ParallelCorpus | None = None,
        root: str = ".",
        download: bool = False,
        tokenizer: Tokenizer | None = None,
        joint: bool = True,
        filters: PairFilters = PairFilters(),
        batch_tokens: int = 4000,
        eval_batch_tokens: int = 8000,
        val_translations: int = 200,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        check_range(
            1, batch_tokens=batch_tokens, eval_batch_tokens=eval_batch_tokens,
            val_translations=val_translations,
        )  # fmt: skip
        super().__init__(
            corpus or SyntheticNumbers(), root, download, num_workers, seed, batch_tokens,
            eval_batch_tokens,
        )  # fmt: skip
        self.tokenizer = tokenizer or SentencePiece()
        self.joint = joint or self.tokenizer.file is not None
        self.filters = filters
        self.val_translations = val_translations

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        file = self.tokenizer.file
        is_there = file is not None and Path(file).expanduser().is_file()
        if is_there and self._fit(()) != metadata:
            raise InputError(
                f"{file} is not the vocabulary that the checkpoint was trained with; leave out "
                "--data.tokenizer.file to use that"
            )
        super().load_metadata(metadata)

    def prepare(self) -> None:
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Reads the sentences, once whatever the stages.

        Args:
            stage: Not used.
        """
        if self.datasets:
            return
        for name, (pairs, tokens) in self._read().items():
            texts: list[tuple[str, str] | None] = []
            if name != "train":
                texts = [(pair.source, pair.target) for pair in self.filters.nonempty(pairs)]
            if name == "val":
                texts = _evenly_spaced(texts, self.val_translations)
            self.datasets[name] = TranslationDataset(tokens, texts)
            left = "".join(f"; left out {n:,}: {why}" for why, n in tokens.left_out.items())
            rank_zero_info(
                f"{name}: {len(tokens.source_ends):,} pairs, {len(tokens.source):,} and "
                f"{len(tokens.target):,} tokens{left}"
            )
            if not len(tokens.source_ends):
                raise InputError(
                    f"no {name} pairs are left: raise filters.max_length and filters.max_ratio"
                )

    def _read(self) -> dict[str, tuple[Pairs, TokenPairs]]:
        splits = self.corpus.read(self.root)
        if not self._metadata:
            self._metadata = self._fit_once(splits.train)
        source, target = (
            from_settings(self._metadata[side], SPECIALS, side) for side in ("source", "target")
        )
        # What is measured is measured whole.
        whole = replace(self.filters, max_length=None, max_ratio=None)
        found = {}
        for name, pairs in splits._asdict().items():
            if pairs is not None:
                filters = self.filters if name == "train" else whole
                found[name] = (pairs, token_pairs(pairs, source, target, filters, name))
        return found

    def _fit_once(self, train: Pairs) -> dict[str, Any]:
        """Gives the metadata; fits the tokenizers first, if they are not in the cache."""
        if self.tokenizer.file is not None:
            return self._fit(())

        def fit() -> dict[str, Any]:
            rank_zero_info(f"making a vocabulary of {type(self.tokenizer).__name__}")
            return self._fit(train)

        languages = self.corpus.languages
        key = cache_key(_VERSION, train.key, self.tokenizer.recipe, self.joint, languages)
        found: dict[str, Any] = cached_json("tokenizers", key, fit)
        return found

    def _fit(self, train: Iterable[Pair]) -> dict[str, Any]:
        """Fits the tokenizers, and gives the metadata."""

        def sentences(side: Literal["source", "target"]) -> Iterator[str]:
            for pair in self.filters.nonempty(train):
                yield pair.source if side == "source" else pair.target

        def fit(texts: Iterable[str], language: str) -> dict[str, Any]:
            return self.tokenizer.in_language(language).fit(texts, SPECIALS).settings

        from_language, to_language = self.corpus.languages
        if self.joint:
            both = fit(chain(sentences("source"), sentences("target")), to_language)
            return {"source": both, "target": both, "joint": True}
        source = fit(sentences("source"), from_language)
        target = fit(sentences("target"), to_language)
        return {"source": source, "target": target, "joint": False}


def _evenly_spaced(texts: list[tuple[str, str] | None], count: int) -> list[tuple[str, str] | None]:
    """Keeps so many texts, and puts None in the place of the others."""
    if count >= len(texts):
        return texts
    chosen = {i * len(texts) // count for i in range(count)}
    return [text if i in chosen else None for i, text in enumerate(texts)]
