"""Sentences with one label each."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.base import TaskData
from srulight.data.sequences import SequenceDataset
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.sentence_counts import check_classes, counts
from srulight.text.tokenizers import PAD_UNKNOWN, UNKNOWN_ID, Tokenizer, Words, from_settings
from srulight.text.word_vectors import vocabulary_with_vectors


class TextClassificationData(TaskData):
    """Sentences with one label each, in batches of similar length.

    Its metadata: ``tokenizer`` (its settings), ``labels`` (names of the classes, in order),
    ``max_length`` and ``column`` (of tables; None without).

    Args:
        corpus: Where the sentences come from; the embedded ``Grammar``, which needs no files, if
            None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        batch_size: Training sentences per step and process, at most.
        eval_batch_size: Validation and test sentences per step and process, at most.
        tokenizer: What a token is: a word (``Words``), a character (``Characters``), a piece of a
            word (``SentencePiece``) or a byte (``Bytes``); lower-cased English words if None. The
            words of trees stay as they are.
        max_length: Tokens kept of a longer sentence, from its beginning.
        vectors: File of pretrained word vectors as text (GloVe, word2vec, fastText), for tokens
            that are words.
        num_workers: Processes that prepare batches; 0 prepares them in the main one, which is
            fast enough for sentences.
        seed: Number that decides the order of the batches and the vectors of unknown words.
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
                "vectors are those of words, and the tokenizer is "
                f"{type(self.tokenizer).__name__}: set --data.tokenizer=Words, or leave out "
                "--data.vectors"
            )
        self.max_length = max_length
        self.vectors = vectors
        self._word_vectors: Tensor | None = None

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        super().load_metadata(metadata)
        self.max_length = metadata["max_length"]

    @property
    def word_vectors(self) -> Tensor | None:
        """Pretrained vectors, (V, F) float32, one row a word; None without ``vectors``.

        Known after ``setup``.
        """
        return self._word_vectors

    def setup(self, stage: str | None = None) -> None:
        """Reads the corpus, once whatever the stages.

        Args:
            stage: "fit" says what there is to train on. All splits are read whatever it is: a
                vocabulary with vectors depends on them all.
        """
        if self.datasets:
            return
        splits = self.corpus.read(self.root)
        given = self._metadata
        if given and splits.labels != given["labels"]:
            raise InputError(
                f"the checkpoint tells {', '.join(given['labels'])} apart, and the data "
                f"{', '.join(splits.labels)}"
            )
        if stage == "fit":
            check_classes(splits)
        examples = {"train": splits.train, "val": splits.val, "test": splits.test}
        tokenizer, encoded = self._encode(examples, splits.is_tokenized)
        for name, split in examples.items():
            self.datasets[name] = SequenceDataset(encoded[name], [e.label for e in split])
        if stage == "fit":
            for said in counts(splits, encoded):
                rank_zero_info(said)
        self._metadata = {
            "tokenizer": tokenizer.settings,
            "labels": splits.labels,
            "max_length": self.max_length,
            "column": splits.column,
        }

    def _encode(
        self, examples: dict[str, list[Example]], is_tokenized: bool
    ) -> tuple[Tokenizer, dict[str, list[list[int]]]]:
        """Gives the tokenizer, fitted, and the token ids of all sentences."""
        tokenizer = self.tokenizer
        if self._metadata:
            tokenizer = from_settings(self._metadata["tokenizer"], PAD_UNKNOWN)
        texts: dict[str, list[Any]] = {
            name: [example.text for example in split] for name, split in examples.items()
        }
        if isinstance(tokenizer, Words):  # split once, to count and to look up
            # Prediction will split raw text; the words of a corpus that is split are its own.
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
        """Shortens in place what is longer than ``max_length``, and says how many were."""
        too_long = [sentence for sentence in sentences if len(sentence) > self.max_length]
        for sentence in too_long:
            del sentence[self.max_length :]
        if too_long:
            rank_zero_info(f"{len(too_long)} sentences were cut to {self.max_length} tokens")
