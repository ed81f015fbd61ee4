"""Sentences and their translations."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from srulight.data.base import Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import LengthBatchSampler
from srulight.runtime.cache import cached
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.translation.batch import TranslationBatch
from srulight.tasks.translation.corpora.base import Pairs, ParallelCorpus
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers
from srulight.tasks.translation.dataset import TranslationDataset
from srulight.tasks.translation.token_pairs import Faulty, Limits, TokenPairs, kept, token_pairs
from srulight.text.line_tokenizers import Subwords, Tokenizer, Words, make_tokenizer

_VERSION = 1  # Of the files with tokenizers; raised when what they hold changes.

Tokenization = Literal["unigram", "bpe", "moses", "space"]


class TranslationData(TaskData):
    """Sentences and their translations, in batches of similar length.

    Its metadata: ``source`` and ``target``, the settings of their tokenizers, and ``joint``,
    whether both are the same.

    Tokenizers are trained once, and sentences turned into token ids once; both are kept in files
    (in SRULIGHT_CACHE, or ~/.cache/srulight), and the ids are mapped into memory.

    Args:
        corpus: Where the sentences lie; ``SyntheticNumbers``, numbers in English and German, which
            need no files, if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        tokenization: What a token is: a piece of a word, found by SentencePiece ("unigram" or
            "bpe"); or a word: of sentences that Moses' rules split ("moses"), or that are split
            already ("space").
        subword_model: File of a trained SentencePiece model, for both sides, in place of one made
            from the training sentences. Its first four tokens must be padding, unknown, begin and
            end, as ``spm_train --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3`` makes them.
        joint: Whether both sides have one vocabulary.
        vocabulary_size: Tokens to make of each side's sentences, or of both together if joint; of
            words, at most.
        min_count: Times that a word must occur in training to be in the vocabulary.
        lowercase: Turn sentences into lower case; BLEU then does not look at the case.
        detokenize: For sentences that are split already: put words and punctuation together by
            Moses' rules in what is written, and in what it is compared with.
        max_length: Most tokens of a sentence; training pairs with more are left out and counted.
        max_ratio: How many times as many tokens as the other the longer of two training sentences
            may have.
        on_error: What to do with pairs of which one sentence is empty: "refuse" to begin, or "skip"
            them and say how many they are.
        batch_tokens: Training tokens of both sides per step and process, about.
        eval_batch_tokens: Validation and test tokens per step and process, about.
        val_translations: Validation sentences that are translated for BLEU and chrF, evenly spread;
            the loss is that of all.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches.
    """

    corpus: ParallelCorpus

    def __init__(
        self,
        corpus: ParallelCorpus | None = None,
        root: str = ".",
        download: bool = False,
        tokenization: Tokenization = "unigram",
        subword_model: str | None = None,
        joint: bool = True,
        vocabulary_size: int = 8000,
        min_count: int = 1,
        lowercase: bool = False,
        detokenize: bool = False,
        max_length: int = 100,
        max_ratio: float = 4.0,
        on_error: Faulty = "refuse",
        batch_tokens: int = 4000,
        eval_batch_tokens: int = 8000,
        val_translations: int = 200,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(corpus or SyntheticNumbers(), root, download, num_workers, seed)
        check_range(
            1, vocabulary_size=vocabulary_size, min_count=min_count, max_length=max_length,
            max_ratio=max_ratio, batch_tokens=batch_tokens, eval_batch_tokens=eval_batch_tokens,
            val_translations=val_translations,
        )  # fmt: skip
        if detokenize and tokenization != "space":
            raise InputError(
                "detokenize is for sentences that are split already (tokenization=space), and "
                f"tokenization is {tokenization}"
            )
        if subword_model is not None and tokenization not in ("unigram", "bpe"):
            raise InputError(f"subword_model is of no use with tokenization={tokenization}")
        self.tokenization: Tokenization = tokenization
        self.subword_model = None if subword_model is None else Path(subword_model).expanduser()
        self.joint = joint or subword_model is not None
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.detokenize = detokenize
        self.max_length = max_length
        self.max_ratio = max_ratio
        self.on_error: Faulty = on_error
        self.batch_tokens = batch_tokens
        self.eval_batch_tokens = eval_batch_tokens
        self.val_translations = val_translations
        self._splits: dict[str, TranslationDataset] | None = None

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        if self.subword_model is not None and self.subword_model.is_file():
            own = Subwords.read(self.subword_model, self.lowercase).settings
            if own != metadata["source"]:
                raise InputError(
                    f"{self.subword_model} is not the subword model that the checkpoint was "
                    "trained with; leave out --data.subword_model to use that"
                )
        super().load_metadata(metadata)

    def prepare(self) -> None:
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Reads the sentences, once whatever the stages.

        Args:
            stage: Not used.
        """
        if self._splits is not None:
            return
        self._splits = {}
        for name, (pairs, tokens) in self._read().items():
            texts: list[tuple[str, str] | None] = []
            if name != "train":
                texts = [(pair.source, pair.target) for pair in kept(pairs, self._limits(name))]
                texts = _spread(texts, self.val_translations) if name == "val" else texts
            self._splits[name] = TranslationDataset(tokens, texts)
            left = "".join(f"; left out {n:,}: {why}" for why, n in tokens.left_out.items())
            rank_zero_info(
                f"{name}: {len(tokens.source_ends):,} pairs, {len(tokens.source):,} and "
                f"{len(tokens.target):,} tokens{left}"
            )

    def _read(self) -> dict[str, tuple[Pairs, TokenPairs]]:
        splits = self.corpus.read(self.root)
        if not self._metadata:
            self._metadata = self._tokenizers(splits.train)
        source, target = (make_tokenizer(self._metadata[side]) for side in ("source", "target"))
        found = {}
        for name, pairs in splits._asdict().items():
            if pairs is not None:
                tokens = token_pairs(pairs, source, target, self._limits(name), name)
                found[name] = (pairs, tokens)
        return found

    def _limits(self, name: str) -> Limits:
        if name == "train":
            return Limits(self.max_length, self.max_ratio, self.on_error)
        # What is measured is measured whole.
        return Limits(float("inf"), float("inf"), self.on_error)

    def _tokenizers(self, train: Pairs) -> dict[str, Any]:
        """Gives the tokenizers' settings; trains them first, if they are not in the cache."""
        if self.subword_model is not None:
            both = Subwords.read(self.subword_model, self.lowercase).settings
            return {"source": both, "target": both, "joint": True}
        recipe = [_VERSION, train.key, self.tokenization, self.joint, self.vocabulary_size]
        recipe += [self.min_count, self.lowercase, self.detokenize, self.corpus.languages]
        key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:24]

        def make(folder: Path) -> None:
            rank_zero_info(f"making a vocabulary: {self.tokenization}")
            text = json.dumps(self._train(train), ensure_ascii=False)
            (folder / "tokenizers.json").write_text(text, encoding="utf-8")

        path = cached("tokenizers", key, make) / "tokenizers.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _train(self, pairs: Pairs) -> dict[str, Any]:
        def lines(side: Literal["source", "target"]) -> Iterator[str]:
            for pair in kept(pairs, self._limits("train")):
                yield pair.source if side == "source" else pair.target

        def both() -> Iterator[str]:
            yield from lines("source")
            yield from lines("target")

        def train(texts: Iterator[str], language: str) -> Tokenizer:
            if self.tokenization == "unigram" or self.tokenization == "bpe":
                return Subwords.train(
                    texts, self.vocabulary_size, self.tokenization, self.lowercase
                )
            return Words.train(
                texts, self.min_count, self.vocabulary_size, self.tokenization, language,
                lowercase=self.lowercase, detokenize=self.detokenize,
            )  # fmt: skip

        languages = self.corpus.languages
        if self.joint:
            settings = train(both(), languages[1]).settings
            return {"source": settings, "target": settings, "joint": True}
        return {
            "source": train(lines("source"), languages[0]).settings,
            "target": train(lines("target"), languages[1]).settings,
            "joint": False,
        }

    def loader(self, split: Split) -> ResumableLoader[TranslationBatch]:
        if self._splits is None:
            raise RuntimeError("call setup before asking for batches")
        if split not in self._splits:
            raise InputError(f"the corpus has no {split} sentences: set --data.corpus.{split}")
        dataset = self._splits[split]
        if not len(dataset):
            raise InputError(f"no {split} pairs are left: raise max_length and max_ratio")
        size = self.batch_tokens if split == "train" else self.eval_batch_tokens
        return self.sharded(dataset, LengthBatchSampler, size, split)


def _spread(texts: list[tuple[str, str] | None], count: int) -> list[tuple[str, str] | None]:
    """Keeps so many texts, evenly spread, and puts None in the place of the others."""
    chosen = {i * len(texts) // count for i in range(min(count, len(texts)))}
    if count >= len(texts):
        return texts
    return [text if i in chosen else None for i, text in enumerate(texts)]
