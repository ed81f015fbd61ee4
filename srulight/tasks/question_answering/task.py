"""The question answering task."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.text import SQuAD

from srulight.encoders import SRU, EncoderFactory
from srulight.layers.dropout import Dropout
from srulight.ops.product import lookup
from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import well_formed
from srulight.tasks.base import Stage, Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.prediction import by_length
from srulight.tasks.question_answering.annotation import Annotator
from srulight.tasks.question_answering.batch import QuestionBatch, QuestionContext
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
)
from srulight.tasks.question_answering.model import (
    DocumentReader,
    ReaderLayers,
    Scores,
    span_loss,
)
from srulight.tasks.question_answering.predict import QuestionPredictor
from srulight.tasks.question_answering.spans import Span, best_spans
from srulight.tasks.question_answering.token_table import token_table
from srulight.text.tokenizers import PAD_UNKNOWN, SETTINGS
from srulight.text.word_vectors import pretrained_vectors


class PredictedAnswer(NamedTuple):
    """A predicted answer.

    Attributes:
        text: Part of the text, character for character; "" for no answer.
        start: Start of the answer in the text, in characters; -1 for no answer.
        probability: Probability of the answer, from 0 to 1.
    """

    text: str
    start: int
    probability: float


class QuestionAnswering(Task):
    """Finds the part of a text that answers a question.

    The model is the document reader of Chen et al. (2017), arXiv 1704.00051, section 3.2. Exact
    match and F1 are those of SQuAD, computed by torchmetrics. For a question without an answer,
    both are 100 if the model gives no answer, and 0 otherwise.

    Args:
        embedding_size: Number of features of a word vector.
        tuned_words: Number of word vectors to train, those of the most frequent words in the
            questions. The other vectors keep their initial values, which are pretrained with
            data.vectors and random otherwise. The default trains all vectors.
        word_dropout: Probability of zeroing a feature of the word vectors during training, from 0
            to 1.
        dropout: Probability of zeroing a feature of the input of each encoder and of the encoder
            outputs during training, from 0 to 1.
        layers: Number of stacked encoders for the text and for the question.
        max_answer: Maximum number of words in an answer.
        encoder: Encoder of the text, built once for each layer, and hence with one layer of its
            own. The default is a bidirectional SRU with 128 units per direction.
        question_encoder: Encoder of the question, built once for each layer. The default is the
            encoder of the text.
        optimizer: Optimizer. The default is Adam with a learning rate of 0.001.
        scheduler: Learning-rate schedule, stepped after every batch
            (lightning.pytorch.cli.ReduceLROnPlateau steps after every epoch). The default is a
            constant learning rate.
        compile: Whether to compile the network with ``torch.compile`` for training and evaluation,
            which needs a C++ compiler on a CPU. LSTM and GRU layers run uncompiled inside it.
    """

    monitor = ("val/f1", "max")
    matrices: ClassVar = ("fixed",)
    predictor = QuestionPredictor
    knows = {  # noqa: RUF012
        "tokenizer": SETTINGS, "annotator": (str, type(None)), "tag_names": [[str]],
        "windows": {"size": int, "overlap": int}, "no_answer": bool,
    }  # fmt: skip

    def __init__(
        self,
        embedding_size: int = 300,
        tuned_words: int | None = None,
        word_dropout: float = 0.4,
        dropout: float = 0.2,
        layers: ReaderLayers = ReaderLayers(),
        max_answer: int = 15,
        encoder: EncoderFactory | None = None,
        question_encoder: EncoderFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(0, tuned_words=tuned_words)
        check_range(1, embedding_size=embedding_size, max_answer=max_answer)
        check_range(0, 1, word_dropout=word_dropout, dropout=dropout)
        self.embedding_size = embedding_size
        self.tuned_words = tuned_words
        self.dropout = dropout
        self.layers = layers
        self.max_answer = max_answer
        self.encoder_factory = encoder or (
            lambda size: SRU(size, 128, num_layers=1, bidirectional=True)
        )
        self.question_encoder_factory = question_encoder or self.encoder_factory
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.word_dropout = Dropout(word_dropout)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.settings = FeaturizerSettings.from_metadata(metadata)
        words = len(self.settings.tokenizer.tokens)
        tuned = (
            words if self.tuned_words is None else min(len(PAD_UNKNOWN) + self.tuned_words, words)
        )
        vectors = torch.empty(words, self.embedding_size).uniform_(-0.25, 0.25)
        vectors[0] = 0
        self.tuned = nn.Embedding.from_pretrained(vectors[:tuned], freeze=False, padding_idx=0)
        # A buffer, because a parameter would take part in optimization and gradient exchange.
        self.fixed: Tensor
        self.register_buffer("fixed", vectors[tuned:])
        self.reader = DocumentReader(
            self.embedding_size,
            self.settings.feature_size,
            self.encoder_factory,
            self.question_encoder_factory,
            self.layers,
            self.dropout,
            self.settings.no_answer,
        )

    def load_pretrained_embeddings(self, data: LightningDataModule) -> None:
        vectors = pretrained_vectors(data, self.embedding_size)
        if vectors is not None:
            tuned = len(self.tuned.weight)
            self.tuned.weight.data.copy_(vectors[:tuned])
            self.fixed.copy_(vectors[tuned:])

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(
        self,
        document: Tensor,
        lengths: Tensor,
        features: Tensor,
        question: Tensor,
        question_lengths: Tensor,
    ) -> Scores:
        """Scores the words of texts as the first and last word of an answer.

        Args:
            document: Word ids of the windows, (W, T) int64.
            lengths: Number of words of each window without padding, (W,) int64.
            features: Additional features of each word, (W, T, A).
            question: Word ids of the question of each window, (W, Q) int64.
            question_lengths: Number of words of each question without padding, (W,) int64.

        Returns:
            Logits of the first and last word of the answer.
        """
        document_vectors = self.word_dropout(self._embed(document))
        question_vectors = self.word_dropout(self._embed(question))
        scores: Scores = self.reader(
            document_vectors, lengths, features.to(document_vectors.dtype), question_vectors,
            question_lengths,
        )  # fmt: skip
        return scores

    def _embed(self, words: Tensor) -> Tensor:
        tuned = len(self.tuned.weight)
        if not len(self.fixed):
            return self.tuned(words)
        fixed = lookup((words - tuned).clamp(min=0), self.fixed)
        trained = self.tuned(words.clamp(max=tuned - 1))
        return torch.where((words < tuned).unsqueeze(-1), trained, fixed)

    def _scores(self, batch: QuestionBatch) -> Scores:
        return self(
            batch.document, batch.lengths, batch.features, batch.question, batch.question_lengths
        )

    def loss(self, batch: QuestionBatch) -> tuple[Tensor, Tensor]:
        return span_loss(self._scores(batch), batch.first, batch.last)

    def new_metrics(self) -> dict[str, Metric]:
        return {"answers": SQuAD()}

    def measure(self, batch: QuestionBatch, metrics: MetricCollection, stage: Stage) -> None:
        scores = self._scores(batch)
        metrics["loss"].update(*span_loss(scores, batch.first, batch.last))
        # A placeholder batch has a window, but no question to answer.
        best = self._best_answers(scores, batch, 1) if batch.contexts else []
        metrics["answers"].update(
            [
                {"id": context.id, "prediction_text": answers[0].text}
                for context, answers in zip(batch.contexts, best, strict=True)
            ],
            [
                {"id": c.id, "answers": {"text": c.answers or [""], "answer_start": [0]}}
                for c in batch.contexts
            ],
        )

    def _best_answers(
        self, scores: Scores, batch: QuestionBatch, count: int
    ) -> list[list[PredictedAnswer]]:
        spans = best_spans(
            scores.start, scores.end, scores.none, batch.question_index, batch.offsets,
            max_words=self.max_answer, count=count,
        )  # fmt: skip
        return [
            [_answer(span, context) for span in best]
            for best, context in zip(spans, batch.contexts, strict=True)
        ]

    @torch.no_grad()
    def predict(
        self, inputs: Sequence[tuple[str, str]], batch_size: int = 64, n_best: int = 1
    ) -> list[list[PredictedAnswer]]:
        """Answers questions about texts.

        Args:
            inputs: Pairs of a text and a question about it.
            batch_size: Number of questions to answer at a time.
            n_best: Maximum number of answers to each question.

        Returns:
            For each question, in the order of ``inputs``, its answers by decreasing probability.

        Raises:
            InputError: If an input is not a pair of strings, a text has no words, or ``batch_size``
                or ``n_best`` is below 1.
        """
        self.begin_predicting(batch_size)
        check_range(1, n_best=n_best)
        featurizer, items = self._read([_pair(one) for one in inputs])

        def answer(
            chosen: list[tuple[QuestionExample, QuestionContext]],
        ) -> list[list[PredictedAnswer]]:
            examples, contexts = map(list, zip(*chosen, strict=True))
            batch = featurizer.batch(examples, contexts)
            moved = self.transfer_batch_to_device(batch, self.device, 0)
            return self._best_answers(self._scores(moved), moved, n_best)

        return by_length(items, lambda one: len(one[1].starts), batch_size, answer)

    def batch_of(self, inputs: Sequence[tuple[str, str]]) -> QuestionBatch:
        """Builds a batch of questions about texts.

        Args:
            inputs: Pairs of a text and a question about it.

        Raises:
            InputError: If an input is not a pair of strings, or a text has no words.
        """
        featurizer, items = self._read([_pair(one) for one in inputs])
        examples, contexts = map(list, zip(*items, strict=True))
        return featurizer.batch(examples, contexts)

    def _read(
        self, inputs: list[tuple[str, str]]
    ) -> tuple[QuestionFeaturizer, list[tuple[QuestionExample, QuestionContext]]]:
        """Splits texts and questions into words, and each distinct text only once."""
        annotate = Annotator(self.settings.tokenizer, self.settings.annotator)
        texts = list(dict.fromkeys(text for text, _ in inputs))
        number = {text: i for i, text in enumerate(texts)}
        table = token_table(annotate([*texts, *(question for _, question in inputs)]))
        for text, words in zip(texts, table.bounds.diff().tolist(), strict=False):
            if not words:
                raise InputError(f"text must have words, got {text[:60]!r}; replace or remove it")
        items = []
        for i, (text, _) in enumerate(inputs):
            place = table.place(number[text])
            context = QuestionContext("", text, table.starts[place], table.ends[place], [])
            items.append((QuestionExample(number[text], len(texts) + i, None), context))
        return QuestionFeaturizer(table, self.settings), items


def _pair(given: object) -> tuple[str, str]:
    if isinstance(given, tuple | list) and [type(one) for one in given] == [str, str]:
        return well_formed(given[0]), well_formed(given[1])
    raise InputError(f"inputs must be pairs (text, question), got {str(given)[:60]!r}")


def _answer(span: Span, context: QuestionContext) -> PredictedAnswer:
    probability = torch.tensor(span.log_probability).exp().item()
    if span.first < 0:
        return PredictedAnswer("", -1, probability)
    start, end = int(context.starts[span.first]), int(context.ends[span.last])
    return PredictedAnswer(context.text[start:end], start, probability)
