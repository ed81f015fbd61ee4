"""Sentences with one label each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srulight.data.base import IGNORED, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import BucketBatchSampler
from srulight.layers.masking import valid_steps
from srulight.runtime.errors import LARGEST_SEED, InputError, check_range
from srulight.tasks.text_classification.batch import TextBatch
from srulight.tasks.text_classification.corpora.base import Corpus
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.sentence_counts import check_classes, counts
from srulight.text.vocabulary import UNKNOWN_INDEX, Vocabulary, get_tokenizer
from srulight.text.word_vectors import read_vectors, vector_matrix


class _Sentences(Dataset[TextBatch]):
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

    Args:
        corpus: Where the sentences come from; the embedded ``Grammar``, which needs no files, if
            None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        batch_size: Training sentences per step and process, at most.
        eval_batch_size: Validation and test sentences per step and process, at most.
        tokenizer: How raw text is split into words, in training and in prediction: ``english``,
            ``characters`` (each one a word, for scripts without spaces), ``space`` or a tokenizer
            of torchtext. The words of trees stay as they are.
        lowercase: Turn words into lower case.
        max_length: Words kept of a longer sentence, from its beginning.
        min_count: Times that a word must occur in training to be in the vocabulary.
        max_size: Most words that the vocabulary takes from training; no limit if None.
        vectors: File of pretrained word vectors as text (GloVe, word2vec, fastText).
        num_workers: Processes that prepare batches; 0 prepares them in the main one, which is
            fast enough for sentences.
        seed: Number that decides the order of the batches and the vectors of unknown words.
    """

    def __init__(
        self,
        corpus: Corpus | None = None,
        root: str = ".",
        download: bool = False,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        tokenizer: str = "english",
        lowercase: bool = True,
        max_length: int = 400,
        min_count: int = 1,
        max_size: int | None = None,
        vectors: str | None = None,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__()
        check_range(
            1, batch_size=batch_size, eval_batch_size=eval_batch_size, max_length=max_length,
            min_count=min_count, max_size=max_size,
        )  # fmt: skip
        check_range(0, num_workers=num_workers)
        check_range(0, LARGEST_SEED, seed=seed)
        self.corpus = Grammar() if corpus is None else corpus
        self.root = Path(root).expanduser()
        self.download = download
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.tokenizer = tokenizer
        self.lowercase = lowercase
        self.max_length = max_length
        self.min_count = min_count
        self.max_size = max_size
        self.vectors = vectors
        self.num_workers = num_workers
        self.seed = seed
        self._sentences: dict[str, _Sentences] = {}
        self._metadata: dict[str, Any] = {}
        self._word_vectors: Tensor | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What a task must know to read text as this module does.

        ``words`` (the vocabulary, in order), ``labels`` (names of the classes, in order),
        ``tokenizer``, ``lowercase``, ``max_length`` and ``column`` (of tables; None without).
        """
        if not self._metadata:
            raise RuntimeError("call setup before asking for metadata")
        return self._metadata

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        self._metadata = metadata
        self.tokenizer = metadata["tokenizer"]
        self.lowercase = metadata["lowercase"]
        self.max_length = metadata["max_length"]

    @property
    def word_vectors(self) -> Tensor | None:
        """Pretrained vectors, (V, F) float32, one row a word; None without ``vectors``.

        Known after ``setup``.
        """
        return self._word_vectors

    def prepare_data(self) -> None:
        if self.download:
            self.corpus.fetch(self.root)

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
        # The corpus may be split already, but prediction will need this one: better to fail now.
        tokenize = get_tokenizer(self.tokenizer)
        if splits.is_tokenized:
            tokenize = str.split
        words = {
            name: [tokenize(e.text.lower() if self.lowercase else e.text) for e in split]
            for name, split in examples.items()
        }
        self._cut(chain.from_iterable(words.values()))

        vocabulary = Vocabulary(given["words"]) if given else self._new_vocabulary(words)
        encoded = {
            name: [vocabulary.encode(sentence) for sentence in split]
            for name, split in words.items()
        }
        for name, split in examples.items():
            self._sentences[name] = _Sentences(encoded[name], [e.label for e in split])
        if stage == "fit":
            for said in counts(splits, encoded):
                rank_zero_info(said)
        self._metadata = {
            "words": vocabulary.words,
            "labels": splits.labels,
            "tokenizer": self.tokenizer,
            "lowercase": self.lowercase,
            "max_length": self.max_length,
            "column": splits.column,
        }

    def _new_vocabulary(self, words: dict[str, list[list[str]]]) -> Vocabulary:
        counts = Counter(chain.from_iterable(words["train"]))
        vocabulary = Vocabulary.from_counts(counts, self.min_count, self.max_size)
        if self.vectors is None:
            return vocabulary
        others = set(chain.from_iterable(words["val"] + words["test"]))
        return self._read_vectors(vocabulary, others, Path(self.vectors).expanduser())

    def _cut(self, sentences: Iterable[list[str]]) -> None:
        """Shortens in place what is longer than ``max_length``, and says how many were."""
        too_long = [sentence for sentence in sentences if len(sentence) > self.max_length]
        for sentence in too_long:
            del sentence[self.max_length :]
        if too_long:
            rank_zero_info(f"{len(too_long)} sentences were cut to {self.max_length} words")

    def _read_vectors(self, vocabulary: Vocabulary, others: set[str], path: Path) -> Vocabulary:
        """Reads the words' vectors; the vocabulary grows by the other words that have one.

        Those occur in validation or test alone. Their vectors come from the file as the others'
        do, and no label is looked at; a model of pretrained words reads any word of the file.
        """
        found = read_vectors(path, others.union(vocabulary.words))
        if not found:
            raise InputError(f"{path} has a vector for no word of the corpus")
        known = sum(word in found for word in vocabulary.words)
        rank_zero_info(
            f"{path.name} has vectors for {known / len(vocabulary):.1%} of the vocabulary's "
            f"{len(vocabulary)} words"
        )
        extra = sorted((others & found.keys()).difference(vocabulary.words))
        vocabulary = Vocabulary(vocabulary.words + extra)
        self._word_vectors = vector_matrix(vocabulary.words, found, self.seed)
        return vocabulary

    def train_dataloader(self) -> DataLoader[TextBatch]:
        return self._loader("train", self.batch_size)

    def val_dataloader(self) -> DataLoader[TextBatch]:
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[TextBatch]:
        return self._loader("test", self.eval_batch_size)

    def _loader(self, name: str, batch_size: int) -> ResumableLoader[TextBatch]:
        sentences = self._sentences[name]
        if len(sentences) == 0:
            raise InputError(
                f"the corpus has no {name} sentences: set --data.corpus.{name} to a file of them"
            )
        # Before a trainer takes this module there is one process.
        trainer = self.trainer
        sampler = BucketBatchSampler(
            sentences.lengths,
            batch_size,
            shuffle=name == "train",
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return ResumableLoader(sentences, sampler, self.num_workers, self.seed)
