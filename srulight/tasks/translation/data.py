"""The data module of translation."""

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

_VERSION = 2  # Format of the cached tokenizers; increase it when their content changes.


class TranslationData(TaskData):
    """Loads sentences and their translations, in batches of pairs of similar length.

    The metadata has ``source`` and ``target``, the settings of both tokenizers, and ``joint``,
    whether both sides share one tokenizer.

    srulight trains the tokenizers and encodes the sentences only once. It caches both in
    SRULIGHT_CACHE (``~/.cache/srulight`` by default), and maps the token ids into memory.

    Args:
        corpus: Corpus to read, such as ``ParallelText``. The default is ``SyntheticNumbers``,
            generated numbers in English and German.
        root: Folder with the files of the corpus.
        download: Whether to download missing files, for a corpus that has a public source.
        tokenizer: Tokenizer of both sides: ``SentencePiece`` (subwords) or ``Words`` (with
            split=moses, or split=space for files that are already tokenized). It is fitted to each
            side with the rules of its language. The default is SentencePiece with 8000 subwords of
            a unigram model. With lowercase, BLEU ignores case.
        joint: Whether both sides share one vocabulary; always true with tokenizer.file.
        filters: Conditions under which sentence pairs are skipped.
        batch_tokens: Approximate number of training tokens per batch on each process, source and
            target together.
        eval_batch_tokens: Approximate number of tokens per validation or test batch on each
            process.
        val_translations: Number of validation sentences to translate for BLEU and chrF, evenly
            spaced over the validation set. The loss always covers the whole set.
        num_workers: Number of worker processes that prepare batches; 0 prepares them in the main
            process.
        seed: Seed for the order of the batches.
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
                f"{file}: expected the vocabulary of the checkpoint, got another one; remove "
                "--data.tokenizer.file to use that of the checkpoint"
            )
        super().load_metadata(metadata)

    def prepare(self) -> None:
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Reads all splits on the first call, and does nothing afterwards.

        Args:
            stage: Ignored; every stage gets all splits.
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
            skipped = "".join(f"; skipped {n:,}: {why}" for why, n in tokens.left_out.items())
            rank_zero_info(
                f"{name}: {len(tokens.source_ends):,} pairs, {len(tokens.source):,} and "
                f"{len(tokens.target):,} tokens{skipped}"
            )
            if not len(tokens.source_ends):
                raise InputError(
                    f"expected {name} pairs that pass the filters, got none; raise "
                    "--data.filters.max_length and --data.filters.max_ratio"
                )

    def _read(self) -> dict[str, tuple[Pairs, TokenPairs]]:
        splits = self.corpus.read(self.root)
        if not self._metadata:
            self._metadata = self._fit_once(splits.train)
        source, target = (
            from_settings(self._metadata[side], SPECIALS, side) for side in ("source", "target")
        )
        # Validation and test must cover all of their pairs, whatever their length.
        whole = replace(self.filters, max_length=None, max_ratio=None)
        found = {}
        for name, pairs in splits._asdict().items():
            if pairs is not None:
                filters = self.filters if name == "train" else whole
                found[name] = (pairs, token_pairs(pairs, source, target, filters, name))
        return found

    def _fit_once(self, train: Pairs) -> dict[str, Any]:
        """Gives the metadata, from the cache if the tokenizers were fitted before."""
        if self.tokenizer.file is not None:
            return self._fit(())

        def fit() -> dict[str, Any]:
            rank_zero_info(f"fitting the {type(self.tokenizer).__name__} tokenizer")
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
    """Keeps ``count`` evenly spaced texts and replaces the others by None."""
    if count >= len(texts):
        return texts
    chosen = {i * len(texts) // count for i in range(count)}
    return [text if i in chosen else None for i, text in enumerate(texts)]
