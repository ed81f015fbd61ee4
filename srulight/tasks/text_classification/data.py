"""The data module of text classification."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.base import TaskData
from srulight.data.sequences import SequenceDataset
from srulight.runtime.errors import InputError, check_range
from srulight.targets import Kind
from srulight.targets.statistics import describe_target, standardize
from srulight.targets.summary import check_targets
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.sentence_counts import statistics
from srulight.text.tokenizers import PAD_UNKNOWN, UNKNOWN_ID, Tokenizer, Words, from_settings
from srulight.text.word_vectors import vocabulary_with_vectors


class TextClassificationData(TaskData):
    """Sentences with a target each, in batches of similar length.

    The metadata contain ``tokenizer`` (settings of the tokenizer), ``target`` (what is predicted,
    as ``targets.build.KNOWS`` describes), ``max_length`` and ``column`` (name of the text column of
    tables, or None).

    Args:
        corpus: Corpus that provides the sentences and their labels; if None, the embedded
            ``Grammar``, which needs no files.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        batch_size: Maximum number of training sentences per batch on each process.
        eval_batch_size: Maximum number of validation or test sentences per batch on each process.
        tokenizer: Splits text into words (``Words``), characters (``Characters``), subwords
            (``SentencePiece``) or bytes (``Bytes``); lowercase English words if None. ``Words``
            splits text that a corpus provides as separate words, such as trees, only at spaces.
        max_length: Maximum number of tokens per sentence; the rest of a longer sentence is cut off.
        vectors: Text file of pretrained word vectors in the format of GloVe, word2vec or fastText.
            Requires the tokenizer ``Words``.
        num_workers: Number of processes that prepare batches. 0 prepares them in the main process,
            which is fast enough for sentences.
        seed: Seed for the order of the batches, and for the vectors of words that the file of
            vectors lacks.
    """

    examples = "sentences"

    def __init__(
        self,
        corpus: SentenceCorpus | None = None,
        root: str = ".",
        download: bool = False,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        tokenizer: Tokenizer | None = None,
        max_length: int = 400,
        vectors: str | None = None,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__(
            corpus or Grammar(), root, download, num_workers, seed, batch_size, eval_batch_size
        )
        check_range(1, max_length=max_length)
        self.tokenizer: Tokenizer = tokenizer or Words(lowercase=True)
        if vectors is not None and not isinstance(self.tokenizer, Words):
            raise InputError(
                "--data.vectors needs the tokenizer Words, got "
                f"{type(self.tokenizer).__name__}; set --data.tokenizer=Words, or remove "
                "--data.vectors"
            )
        self.max_length = max_length
        self.vectors = vectors
        self._word_vectors: Tensor | None = None

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        super().load_metadata(metadata)
        self.max_length = metadata["max_length"]

    @property
    def target_kind(self) -> Kind:
        """Kind of the targets."""
        return self.corpus.kind  # type: ignore[attr-defined]

    @property
    def word_vectors(self) -> Tensor | None:
        """Pretrained vectors, (V, F) float32, one row per word; None without ``vectors``.

        Available after ``setup``.
        """
        return self._word_vectors

    def setup(self, stage: str | None = None) -> None:
        """Reads and encodes the corpus; does nothing if that has been done already.

        All splits are read at any stage, because a vocabulary with vectors depends on all of them.

        Args:
            stage: "fit" also logs statistics of the data.

        Raises:
            InputError: If the corpus cannot be read, or does not match the checkpoint.
        """
        if self.datasets:
            return
        splits = self.corpus.read(self.root)
        given = self._metadata
        if given and self.target_kind != given["target"]["kind"]:
            raise InputError(
                f"the targets must be of the kind {given['target']['kind']!r}, as in the "
                f"checkpoint, got {self.target_kind!r}; use the corpus of the checkpoint, or train "
                "a new model"
            )
        if given and splits.labels != given["target"]["names"]:
            raise InputError(
                "the labels must be those of the checkpoint "
                f"({', '.join(given['target']['names'])}), got "
                f"{', '.join(splits.labels)}; use data with the same labels, or train a new model"
            )
        examples = {"train": splits.train, "val": splits.val, "test": splits.test}
        kind, names = self.target_kind, splits.labels
        targets = {name: _targets(split, kind, len(names)) for name, split in examples.items()}
        if stage == "fit":
            check_targets(kind, names, targets["train"], self.examples)
        tokenizer, encoded = self._encode(examples, splits.is_tokenized)
        if stage == "fit":
            for line in statistics(splits, encoded, targets, kind, tokenizer.unit):
                rank_zero_info(line)
        target = given.get("target") or describe_target(
            kind, names, splits.targets, targets["train"]
        )
        for name in examples:
            self.datasets[name] = SequenceDataset(encoded[name], standardize(targets[name], target))
        self._metadata = {
            "tokenizer": tokenizer.settings,
            "target": target,
            "max_length": self.max_length,
            "column": splits.column,
        }

    def _encode(
        self, examples: dict[str, list[Example]], is_tokenized: bool
    ) -> tuple[Tokenizer, dict[str, list[list[int]]]]:
        """Returns the fitted tokenizer, and the token ids of all sentences."""
        tokenizer = self.tokenizer
        if self._metadata:
            tokenizer = from_settings(self._metadata["tokenizer"], PAD_UNKNOWN)
        texts: dict[str, list[Any]] = {
            name: [example.text for example in split] for name, split in examples.items()
        }
        if isinstance(tokenizer, Words):  # splits only once, for the vocabulary and the ids
            # The tokenizer of the checkpoint still splits raw text, for prediction.
            reader = Words("space", lowercase=tokenizer.lowercase) if is_tokenized else tokenizer
            texts = {name: list(map(reader.tokenize, split)) for name, split in texts.items()}
            self._cut(chain.from_iterable(texts.values()))
        if not self._metadata:
            tokenizer = tokenizer.fit(texts["train"], PAD_UNKNOWN)
            if self.vectors is not None:
                others = set(chain.from_iterable(texts["val"] + texts["test"]))
                path = Path(self.vectors).expanduser()
                words, self._word_vectors = vocabulary_with_vectors(
                    list(tokenizer.tokens), others, path, self.seed
                )
                tokenizer = tokenizer.with_vocabulary(words, PAD_UNKNOWN)
        ids = {name: list(map(tokenizer.encode, split)) for name, split in texts.items()}
        self._cut(chain.from_iterable(ids.values()))
        return tokenizer, {
            name: [sentence or [UNKNOWN_ID] for sentence in split] for name, split in ids.items()
        }

    def _cut(self, sentences: Iterable[list[Any]]) -> None:
        """Shortens longer sentences to ``max_length`` in place, and logs their number."""
        too_long = [sentence for sentence in sentences if len(sentence) > self.max_length]
        for sentence in too_long:
            del sentence[self.max_length :]
        if too_long:
            rank_zero_info(
                f"cut {len(too_long):,} sentences to {self.max_length} tokens (--data.max_length)"
            )


def _targets(examples: Sequence[Example], kind: Kind, size: int) -> Tensor:
    values = [example.label for example in examples]
    if kind == "class":
        return torch.tensor(values, dtype=torch.int64)
    return torch.tensor(values, dtype=torch.float32).view(-1, size)
