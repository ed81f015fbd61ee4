"""Questions about texts."""

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
    """Questions, a batch at a time.

    Args:
        featurizer: Makes the batches.
        examples: The questions.
        contexts: Their texts and reference answers; none while training.
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
    """Questions about texts, in batches of texts of similar length.

    Its metadata: the fields of ``FeaturizerSettings``, as plain data.

    The words of the texts are found once, by several processes, and kept in a file (in
    SRULIGHT_CACHE, or ~/.cache/srulight).

    Args:
        corpus: Where the questions come from; ``SyntheticStories``, made on the spot, which need
            no files, if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        tokenizer: Splits texts into words: ``Words``, whose ``split`` is ``english``,
            ``characters`` (each one a word, for scripts without spaces, such as Chinese, Japanese
            and Thai) or ``space``. English words in lower case if None; vectors of cased words,
            such as glove.840B, need ``lowercase=False``.
        annotator: Name or folder of a spaCy pipeline, such as en_core_web_sm, for lemmas, parts of
            speech and entities; words alone if None.
        vectors: File of pretrained word vectors as text (GloVe, word2vec, fastText).
        windows: How texts that are too long to be read at once are split.
        batch_size: Training questions per step and process, at most.
        eval_batch_size: Validation and test questions per step and process, at most.
        preparation_workers: Processes that find the words; 0 for the main one, one a core if None,
            where that pays.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches and the vectors of unknown words.

    Attributes:
        word_vectors: Pretrained vectors in the order of the vocabulary, (V, F) float32; None
            without any, and before ``setup``.
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
        self.tokenizer.spans("")  # raises if it does not tell where words stand
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
                    f"the checkpoint was trained with {name}={theirs} and the data have "
                    f"{name}={own}: set --data.{name}"
                )
        super().load_metadata(metadata)

    def prepare(self) -> None:
        for name, paragraphs in self._paragraphs().items():
            self._table(paragraphs, name)

    def setup(self, stage: str | None = None) -> None:
        """Reads the questions, once whatever the stages.

        Args:
            stage: Not used: a vocabulary with vectors depends on all the splits.
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
            left = total - len(examples)
            rank_zero_info(
                f"{name}: {articles:,} articles, {len(paragraphs):,} paragraphs, "
                f"{len(examples):,} questions"
                + (f"; {left:,} left out: no window has the answer" if left else "")
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
        """Gives the tokenizer a vocabulary: frequent words of questions first, as they are tuned.

        Args:
            contexts: Texts in the table of training, which come before the questions.
            tables: The words of each split.
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
    """Gives every question, with its text and reference answers."""
    examples: list[QuestionExample] = []
    contexts: list[QuestionContext] = []
    widened = 0
    for number, paragraph in enumerate(paragraphs):
        place = table.place(number)
        starts, ends = table.starts[place], table.ends[place]
        if not len(starts):
            raise InputError(
                f"article {paragraph.article}: the context of question "
                f"{paragraph.questions[0].id} has no words"
            )
        for question in paragraph.questions:
            words = None
            for answer in question.answers[:1]:
                if answer.start < 0 or not paragraph.context.startswith(*answer):
                    raise InputError(
                        f"article {paragraph.article}: the answer of question {question.id} is not "
                        f"at character {answer.start} of its context"
                    )
                part = (answer.start, answer.start + len(answer.text))
                words = answer_words(*part, starts, ends)
                widened += part != (int(starts[words[0]]), int(ends[words[1]]))
            examples.append(QuestionExample(number, len(paragraphs) + len(examples), words))
            answers = [answer.text for answer in question.answers]
            contexts.append(QuestionContext(question.id, paragraph.context, starts, ends, answers))
    if widened:
        rank_zero_info(f"{name}: {widened:,} answers begin or end inside a word, and are widened")
    return examples, contexts
