"""Sentences with one label each."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.base import IGNORED, BatchDataset, Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import BucketBatchSampler
from srulight.layers.masking import valid_steps
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.text_classification.batch import SPECIALS, UNKNOWN_INDEX, TextBatch
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.sentence_counts import check_classes, counts
from srulight.text.tokenizers import Tokenizer, Words, from_settings
from srulight.text.word_vectors import vocabulary_with_vectors


class _Sentences(BatchDataset[TextBatch]):
    """Encoded sentences, kept in one tensor so that a batch is gathered at once.

    Args:
        sentences: Word indices of each.
        labels: Class of each.
    """

    def __init__(self, sentences: Sequence[Sequence[int]], labels: Sequence[int]) -> None:
        self.lengths = torch.tensor([len(sentence) for sentence in sentences], dtype=torch.long)
        self._tokens = torch.tensor(list(chain.from_iterable(sentences)), dtype=torch.long)
        self._starts = self.lengths.cumsum(0) - self.lengths
        self._labels = torch.tensor(labels, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, indices: list[int]) -> list[TextBatch]:
        """Gathers a whole batch, the only item: a loader asks for one this way if it can.

        Args:
            indices: Sentences of the batch. Without any it is one unknown word without a label, so
                that a process that has no sentences at a step goes along with the others.
        """
        if not indices:
            word, one = torch.tensor([[UNKNOWN_INDEX]]), torch.tensor([1])
            return [TextBatch(word, one, torch.tensor([IGNORED]))]
        chosen = torch.tensor(indices)
        lengths = self.lengths[chosen]
        steps = int(lengths.max())
        places = self._starts[chosen].unsqueeze(-1) + torch.arange(steps)  # (B, T)
        # The end of the last sentence may lie before the end of the padded row.
        tokens = self._tokens[places.clamp_(max=len(self._tokens) - 1)]
        tokens *= valid_steps(lengths, steps)
        return [TextBatch(tokens, lengths, self._labels[chosen])]


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
        super().__init__(corpus or Grammar(), root, download, num_workers, seed)
        check_range(
            1, batch_size=batch_size, eval_batch_size=eval_batch_size, max_length=max_length
        )
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.tokenizer: Tokenizer = tokenizer or Words(lowercase=True)
        if vectors is not None and not isinstance(self.tokenizer, Words):
            raise InputError(
                "vectors are those of words, and the tokenizer is "
                f"{type(self.tokenizer).__name__}: set --data.tokenizer=Words, or leave out "
                "--data.vectors"
            )
        self.max_length = max_length
        self.vectors = vectors
        self._sentences: dict[str, _Sentences] = {}
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
        if self._sentences:
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
            self._sentences[name] = _Sentences(encoded[name], [e.label for e in split])
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
            tokenizer = from_settings(self._metadata["tokenizer"], SPECIALS)
        texts: dict[str, list[Any]] = {
            name: [example.text for example in split] for name, split in examples.items()
        }
        if isinstance(tokenizer, Words):  # split once, to count and to look up
            # Prediction will split raw text; the words of a corpus that is split are its own.
            reader = Words("space", lowercase=tokenizer.lowercase) if is_tokenized else tokenizer
            texts = {name: list(map(reader.tokenize, split)) for name, split in texts.items()}
            self._cut(chain.from_iterable(texts.values()))
        if not self._metadata:
            tokenizer = tokenizer.fit(texts["train"], SPECIALS)
            if self.vectors is not None:
                others = set(chain.from_iterable(texts["val"] + texts["test"]))
                path = Path(self.vectors).expanduser()
                words, self._word_vectors = vocabulary_with_vectors(
                    list(tokenizer.tokens), others, path, self.seed
                )
                tokenizer = tokenizer.with_vocabulary(words, SPECIALS)
        ids = {name: list(map(tokenizer.encode, split)) for name, split in texts.items()}
        self._cut(chain.from_iterable(ids.values()))
        return tokenizer, {
            name: [sentence or [UNKNOWN_INDEX] for sentence in split] for name, split in ids.items()
        }

    def _cut(self, sentences: Iterable[list[Any]]) -> None:
        """Shortens in place what is longer than ``max_length``, and says how many were."""
        too_long = [sentence for sentence in sentences if len(sentence) > self.max_length]
        for sentence in too_long:
            del sentence[self.max_length :]
        if too_long:
            rank_zero_info(f"{len(too_long)} sentences were cut to {self.max_length} tokens")

    def loader(self, split: Split) -> ResumableLoader[TextBatch]:
        sentences = self._sentences[split]
        if len(sentences) == 0:
            raise InputError(
                f"the corpus has no {split} sentences: set --data.corpus.{split} to a file of them"
            )
        size = self.batch_size if split == "train" else self.eval_batch_size
        return self.sharded(sentences, BucketBatchSampler, size, split)
