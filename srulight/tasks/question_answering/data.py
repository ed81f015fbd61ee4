"""The data module of question answering."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.data.base import BatchDataset, TaskData
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.question_answering.batch import QuestionBatch, QuestionContext
from srulight.tasks.question_answering.corpora.base import Paragraph, QuestionCorpus
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
    Windows,
    answer_words,
)
from srulight.tasks.question_answering.token_table import TokenTable, paragraph_tokens
from srulight.text.tokenizers import PAD_UNKNOWN, Words
from srulight.text.word_vectors import vocabulary_with_vectors


class _Questions(BatchDataset[QuestionBatch]):
    """Builds batches of questions.

    Args:
        featurizer: Featurizer that computes the batches.
        examples: Questions.
        contexts: Texts and reference answers of the questions; empty for training.
    """

    def __init__(
        self,
        featurizer: QuestionFeaturizer,
        examples: list[QuestionExample],
        contexts: list[QuestionContext],
    ) -> None:
        self._featurizer = featurizer
        self._examples = examples
        self._contexts = contexts
        numbers = torch.tensor([example.context for example in examples])
        self.lengths = featurizer.table.bounds.diff()[numbers.long()]

    def __getitems__(self, indices: list[int]) -> list[QuestionBatch]:
        examples = [self._examples[i] for i in indices]
        if not self._contexts:
            return [self._featurizer.batch(examples, training=True)]
        return [self._featurizer.batch(examples, [self._contexts[i] for i in indices])]


class QuestionAnsweringData(TaskData):
    """Loads questions about texts, in batches of texts of similar length.

    The metadata has the fields of ``FeaturizerSettings`` as plain data.

    srulight splits the texts into words only once, in several processes, and caches the result in
    SRULIGHT_CACHE (``~/.cache/srulight`` by default).

    Args:
        corpus: Corpus to read, such as ``Squad``. The default is ``SyntheticStories``, generated
            stories and questions.
        root: Folder with the files of the corpus.
        download: Whether to download missing files, for a corpus that has a public source.
        tokenizer: Tokenizer that splits texts into words: ``Words`` with split ``english``,
            ``characters`` (each character is a word, for Chinese, Japanese or Thai) or ``space``.
            The default is English words in lower case. Vectors of cased words, such as glove.840B,
            need lowercase=false.
        annotator: Name or folder of a spaCy pipeline, such as en_core_web_sm, that adds lemmas,
            parts of speech and entity types. The default adds none.
        vectors: File with pretrained word vectors in text format (GloVe, word2vec or fastText).
        windows: Size and overlap of the windows in which long texts are read.
        batch_size: Maximum number of questions per training batch on each process.
        eval_batch_size: Maximum number of questions per validation or test batch on each process.
        preparation_workers: Number of processes that split texts into words; 0 uses the main
            process. The default is one per core for large corpora, and the main process otherwise.
        num_workers: Number of worker processes that prepare batches; 0 prepares them in the main
            process.
        seed: Seed for the order of the batches and the vectors of words without a pretrained one.

    Attributes:
        word_vectors: Pretrained vectors in the order of the vocabulary, (V, F) float32; None
            without pretrained vectors, and before ``setup``.
    """

    examples = "questions"

    def __init__(
        self,
        corpus: QuestionCorpus | None = None,
        root: str = ".",
        download: bool = False,
        tokenizer: Words | None = None,
        annotator: str | None = None,
        vectors: str | None = None,
        windows: Windows = Windows(),
        batch_size: int = 32,
        eval_batch_size: int = 32,
        preparation_workers: int | None = None,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__(
            corpus or SyntheticStories(), root, download, num_workers, seed, batch_size,
            eval_batch_size,
        )  # fmt: skip
        check_range(0, preparation_workers=preparation_workers)
        self.tokenizer = tokenizer or Words(lowercase=True)
        self.tokenizer.spans("")  # raises an error if it does not know the positions of words
        self.annotator = annotator
        self.vectors = vectors
        self.windows = windows
        self.preparation_workers = preparation_workers
        self.word_vectors: Tensor | None = None

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        trained = FeaturizerSettings.from_metadata(metadata)
        for name, theirs, own in (
            ("annotator", trained.annotator, self.annotator),
            ("tokenizer.split", trained.tokenizer.split, self.tokenizer.split),
        ):
            if theirs != own:
                raise InputError(
                    f"{name} must be {theirs!r}, as in training, got {own!r}; set "
                    f"--data.{name}={'null' if theirs is None else theirs}"
                )
        super().load_metadata(metadata)

    def prepare(self) -> None:
        for name, paragraphs in self._paragraphs().items():
            self._table(paragraphs, name)

    def setup(self, stage: str | None = None) -> None:
        """Reads all splits on the first call, and does nothing afterwards.

        Args:
            stage: Ignored, because a vocabulary with pretrained vectors depends on all splits.
        """
        if self.datasets:
            return
        found = self._paragraphs(report=True)
        tables = {name: self._table(paragraphs, name) for name, paragraphs in found.items()}
        if self._metadata:
            settings = FeaturizerSettings.from_metadata(self._metadata)
        else:
            settings = FeaturizerSettings(
                self._fitted(len(found["train"]), tables),
                self.annotator,
                [[name for name in names if name] for names in tables["train"].tag_names],
                self.windows,
                any(not q.answers for paragraph in found["train"] for q in paragraph.questions),
            )
            self._metadata = settings.metadata
        for name, paragraphs in found.items():
            featurizer = QuestionFeaturizer(tables[name], settings)
            examples, contexts = _examples(paragraphs, tables[name], name)
            total = len(examples)
            if name == "train":
                examples = [one for one in examples if featurizer.windows(one, training=True)]
                contexts = []
            self.datasets[name] = _Questions(featurizer, examples, contexts)
            articles = len({paragraph.article for paragraph in paragraphs})
            skipped = total - len(examples)
            rank_zero_info(
                f"{name}: {articles:,} articles, {len(paragraphs):,} paragraphs, "
                f"{len(examples):,} questions"
                + (f"; skipped {skipped:,}: no window has the answer" if skipped else "")
            )

    def _paragraphs(self, report: bool = False) -> dict[str, list[Paragraph]]:
        splits = self.corpus.read(self.root)
        for what, count in splits.corrections.items() if report else ():
            rank_zero_info(f"{count:,} {what}")
        found = {"train": splits.train, "val": splits.val, "test": splits.test}
        return {name: paragraphs for name, paragraphs in found.items() if paragraphs is not None}

    def _table(self, paragraphs: list[Paragraph], name: str) -> TokenTable:
        return paragraph_tokens(
            paragraphs, self.tokenizer, self.annotator, self.preparation_workers, name
        )

    def _fitted(self, contexts: int, tables: dict[str, TokenTable]) -> Words:
        """Fits the vocabulary, with the most frequent words of questions first.

        The model tunes the vectors of a prefix of the vocabulary, hence this order.

        Args:
            contexts: Number of texts in the training table, which precede the questions.
            tables: Words of each split.
        """
        tokenizer = self.tokenizer
        counts = {name: table.counts(tokenizer.lowercase) for name, table in tables.items()}
        every = counts["train"]
        asked = tables["train"].counts(tokenizer.lowercase, first=contexts)
        if tokenizer.file is None:
            words = tokenizer.rank(every, PAD_UNKNOWN)
        else:
            words = list(tokenizer.fit((), PAD_UNKNOWN).tokens[len(PAD_UNKNOWN) :])
        words = [*PAD_UNKNOWN, *sorted(words, key=lambda word: (-asked[word], -every[word], word))]
        if self.vectors is not None:
            words, self.word_vectors = vocabulary_with_vectors(
                words, set().union(*counts.values()), Path(self.vectors).expanduser(), self.seed
            )
        return tokenizer.with_vocabulary(words, PAD_UNKNOWN)


def _examples(
    paragraphs: Sequence[Paragraph], table: TokenTable, name: str
) -> tuple[list[QuestionExample], list[QuestionContext]]:
    """Builds the examples of all questions, with their texts and reference answers."""
    examples: list[QuestionExample] = []
    contexts: list[QuestionContext] = []
    widened = 0
    for number, paragraph in enumerate(paragraphs):
        place = table.place(number)
        starts, ends = table.starts[place], table.ends[place]
        if not len(starts):
            raise InputError(
                f"article {paragraph.article}, question {paragraph.questions[0].id}: expected a "
                f"context with words, got {paragraph.context[:60]!r}; remove the question"
            )
        for question in paragraph.questions:
            words = None
            for answer in question.answers[:1]:
                if answer.start < 0 or not paragraph.context.startswith(*answer):
                    raise InputError(
                        f"article {paragraph.article}, question {question.id}: expected the answer "
                        f"at character {answer.start} of the context, got other text; fix its start"
                    )
                part = (answer.start, answer.start + len(answer.text))
                words = answer_words(*part, starts, ends)
                widened += part != (int(starts[words[0]]), int(ends[words[1]]))
            examples.append(QuestionExample(number, len(paragraphs) + len(examples), words))
            answers = [answer.text for answer in question.answers]
            contexts.append(QuestionContext(question.id, paragraph.context, starts, ends, answers))
    if widened:
        rank_zero_info(f"{name}: widened {widened:,} answers that begin or end inside a word")
    return examples, contexts
