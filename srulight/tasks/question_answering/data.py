"""Questions about texts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srulight.data.base import TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import BucketBatchSampler
from srulight.runtime.errors import LARGEST_SEED, InputError, check_range
from srulight.tasks.question_answering.batch import AskedText, QuestionBatch
from srulight.tasks.question_answering.corpora.base import Paragraph, QuestionCorpus
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
    TokenTable,
    answer_words,
)
from srulight.tasks.question_answering.question_tokens import paragraph_tokens
from srulight.text.vocabulary import PAD, UNKNOWN, PlacingTokenizer, Vocabulary
from srulight.text.word_vectors import read_vectors, vector_matrix


class _Questions(Dataset[QuestionBatch]):
    """Questions, a batch at a time.

    Args:
        reading: Makes the batches.
        asked: The questions.
        texts: What their answers are compared with; none while training.
    """

    def __init__(
        self, reading: QuestionFeaturizer, asked: list[QuestionExample], texts: list[AskedText]
    ) -> None:
        self._reading = reading
        self._asked = asked
        self._texts = texts
        self.training = not texts
        table = reading.table
        self.lengths = table.bounds.diff()[torch.tensor([one.context for one in asked]).long()]

    def __len__(self) -> int:
        return len(self._asked)

    def __getitems__(self, indices: list[int]) -> list[QuestionBatch]:
        """Makes a whole batch, the only item: a loader asks for one this way if it can."""
        texts = [self._texts[i] for i in indices] if self._texts else []
        asked = [self._asked[i] for i in indices]
        return [self._reading.batch(asked, texts, self.training)]


class QuestionAnsweringData(TaskData):
    """Questions about texts, in batches of texts of similar length.

    The words of the texts are found once, by several processes, and kept in a file (in
    SRULIGHT_CACHE, or ~/.cache/srulight).

    Args:
        corpus: Where the questions come from; ``SyntheticStories``, made on the spot, which need
            no files, if None.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        annotator: Name or folder of a spaCy pipeline, such as en_core_web_sm, for lemmas, parts of
            speech and entities; words alone if None.
        tokenizer: What words are: ``english``, or ``characters`` (each one a word) for scripts
            without spaces, such as Chinese, Japanese and Thai.
        lowercase: Turn words into lower case before they are looked up; vectors of cased words,
            such as glove.840B, need False.
        min_count: Times that a word must occur in training to be in the vocabulary.
        max_size: Most words that the vocabulary takes from training; no limit if None.
        vectors: File of pretrained word vectors as text (GloVe, word2vec, fastText).
        window: Most words of a text that are read at once; a longer text is read in windows.
        overlap: Words that a window has in common with the next, 0 to below ``window``.
        batch_size: Training questions per step and process, at most.
        eval_batch_size: Validation and test questions per step and process, at most.
        preparation_workers: Processes that find the words; 0 for the main one, one a core if None,
            where that pays.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches and the vectors of unknown words.
    """

    def __init__(
        self,
        corpus: QuestionCorpus | None = None,
        root: str = ".",
        download: bool = False,
        annotator: str | None = None,
        tokenizer: PlacingTokenizer = "english",
        lowercase: bool = True,
        min_count: int = 1,
        max_size: int | None = None,
        vectors: str | None = None,
        window: int = 400,
        overlap: int = 100,
        batch_size: int = 32,
        eval_batch_size: int = 32,
        preparation_workers: int | None = None,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__()
        check_range(
            1, window=window, batch_size=batch_size, eval_batch_size=eval_batch_size,
            min_count=min_count, max_size=max_size,
        )  # fmt: skip
        check_range(0, preparation_workers=preparation_workers, num_workers=num_workers)
        check_range(0, LARGEST_SEED, seed=seed)
        if not 0 <= overlap < window:
            raise InputError(f"overlap must be 0 to below window, {window}, got {overlap}")
        self.corpus = SyntheticStories() if corpus is None else corpus
        self.root = Path(root).expanduser()
        self.download = download
        self.annotator = annotator
        self.tokenizer: PlacingTokenizer = tokenizer
        self.lowercase = lowercase
        self.min_count = min_count
        self.max_size = max_size
        self.vectors = vectors
        self.window = window
        self.overlap = overlap
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.preparation_workers = preparation_workers
        self.num_workers = num_workers
        self.seed = seed
        self._metadata: dict[str, Any] = {}
        self._word_vectors: Tensor | None = None
        self._splits: dict[str, _Questions] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What a task must know to read as this module does.

        The fields of ``FeaturizerSettings``, ``annotator`` and ``tokenizer``.
        """
        if not self._metadata:
            raise RuntimeError("call setup before asking for metadata")
        return self._metadata

    @property
    def word_vectors(self) -> Tensor | None:
        """Pretrained vectors in the order of the vocabulary, (V, F) float32; None without any."""
        return self._word_vectors

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        # Before it could be chosen, the tokenizer was this one.
        metadata = {"tokenizer": "english", **metadata}
        for name in ("annotator", "tokenizer"):
            if metadata[name] != getattr(self, name):
                raise InputError(
                    f"the checkpoint was trained with {name}={metadata[name]} and the data have "
                    f"{name}={getattr(self, name)}: set --data.{name}"
                )
        self._metadata = metadata

    def prepare_data(self) -> None:
        if self.download:
            self.corpus.fetch(self.root)
        # By one process of a machine; the others then find the files.
        for name, paragraphs in self._paragraphs().items():
            self._table(paragraphs, name)

    def setup(self, stage: str | None = None) -> None:
        """Reads the questions, once whatever the stages.

        Args:
            stage: Not used: a vocabulary with vectors depends on all the splits.
        """
        if self._splits is not None:
            return
        found = self._paragraphs(tell=True)
        tables = {name: self._table(paragraphs, name) for name, paragraphs in found.items()}
        if not self._metadata:
            self._metadata = self._settings(found["train"], tables)._asdict()
            self._metadata["annotator"] = self.annotator
            self._metadata["tokenizer"] = self.tokenizer
        settings = FeaturizerSettings.of(self._metadata)
        self._splits = {}
        for name, paragraphs in found.items():
            reading = QuestionFeaturizer(tables[name], settings)
            asked, texts = _ask(paragraphs, tables[name], name)
            if name == "train":
                asked, texts = [one for one in asked if reading.learnt(one)], []
            self._splits[name] = _Questions(reading, asked, texts)
            articles = len({paragraph.article for paragraph in paragraphs})
            total = sum(len(paragraph.questions) for paragraph in paragraphs)
            left = total - len(asked)
            rank_zero_info(
                f"{name}: {articles:,} articles, {len(paragraphs):,} paragraphs, {len(asked):,} "
                "questions" + (f"; {left:,} left out: no window has the answer" if left else "")
            )

    def _paragraphs(self, tell: bool = False) -> dict[str, list[Paragraph]]:
        splits = self.corpus.read(self.root)
        for what, count in splits.mended.items() if tell else ():
            rank_zero_info(f"{count:,} {what}")
        found = {"train": splits.train, "val": splits.val, "test": splits.test}
        return {name: paragraphs for name, paragraphs in found.items() if paragraphs is not None}

    def _table(self, paragraphs: list[Paragraph], name: str) -> TokenTable:
        return paragraph_tokens(
            paragraphs, self.annotator, self.tokenizer, self.preparation_workers, name
        )  # fmt: skip

    def _settings(
        self, train: list[Paragraph], tables: dict[str, TokenTable]
    ) -> FeaturizerSettings:
        table = tables["train"]
        vocabulary = self._vocabulary(len(train), tables)
        return FeaturizerSettings(
            words=vocabulary.words,
            lowercase=self.lowercase,
            tag_names=[[name for name in names if name] for names in table.tag_names],
            lemmas=self.annotator is not None,
            window=self.window,
            overlap=self.overlap,
            no_answer=any(not q.answers for p in train for q in p.questions),
        )

    def _vocabulary(self, contexts: int, tables: dict[str, TokenTable]) -> Vocabulary:
        """Puts the words of questions first, the most frequent first: they are tuned first."""
        table = tables["train"]
        every = self._counts(table, slice(None))
        asked = self._counts(table, slice(int(table.bounds[contexts]), None))
        common = Vocabulary.from_counts(every, self.min_count, self.max_size).words[2:]
        common.sort(key=lambda word: (-asked[word], -every[word], word))
        words = [PAD, UNKNOWN, *common]
        if self.vectors is None:
            return Vocabulary(words)
        path = Path(self.vectors).expanduser()
        others = set().union(*(self._counts(one, slice(None)) for one in tables.values()))
        found = read_vectors(path, others.union(words))
        known = sum(word in found for word in words)
        if not known:
            raise InputError(f"{path} has a vector for no word of the corpus")
        rank_zero_info(
            f"{path.name} has vectors for {known / len(words):.1%} of the vocabulary's "
            f"{len(words)} words"
        )
        # A model of pretrained words reads any word of the file.
        words += sorted((others & found.keys()).difference(words))
        self._word_vectors = vector_matrix(words, found, self.seed)
        return Vocabulary(words)

    def _counts(self, table: TokenTable, part: slice) -> Counter[str]:
        numbers = table.words[part].bincount(minlength=len(table.forms)).tolist()
        counts: Counter[str] = Counter()
        for form, number in zip(table.forms, numbers, strict=True):
            if number:
                counts[form.lower() if self.lowercase else form] += number
        return counts

    def train_dataloader(self) -> DataLoader[QuestionBatch]:
        return self._loader("train", self.batch_size)

    def val_dataloader(self) -> DataLoader[QuestionBatch]:
        return self._loader("val", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[QuestionBatch]:
        return self._loader("test", self.eval_batch_size)

    def _loader(self, name: str, batch_size: int) -> ResumableLoader[QuestionBatch]:
        if self._splits is None:
            raise RuntimeError("call setup before asking for batches")
        if name not in self._splits or not len(self._splits[name]):
            raise InputError(f"the corpus has no {name} questions: set --data.corpus.{name}")
        dataset = self._splits[name]
        # Before a trainer takes this module there is one process.
        trainer = self.trainer
        sampler = BucketBatchSampler(
            dataset.lengths,
            batch_size,
            shuffle=name == "train",
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return ResumableLoader(dataset, sampler, self.num_workers, self.seed)


def _ask(
    paragraphs: Sequence[Paragraph], table: TokenTable, name: str
) -> tuple[list[QuestionExample], list[AskedText]]:
    """Gives every question, and what its answer is compared with."""
    asked: list[QuestionExample] = []
    texts: list[AskedText] = []
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
            asked.append(QuestionExample(number, len(paragraphs) + len(asked), words))
            answers = [answer.text for answer in question.answers]
            texts.append(AskedText(question.id, paragraph.context, starts, ends, answers))
    if widened:
        rank_zero_info(f"{name}: {widened:,} answers begin or end inside a word, and are widened")
    return asked, texts
