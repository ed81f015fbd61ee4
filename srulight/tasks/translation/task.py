"""From sentences of one language to sentences of another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from srulight.layers.padding import pad
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.base import Stage, Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.losses import cross_entropy
from srulight.tasks.prediction import by_length
from srulight.tasks.translation.batch import (
    BEGIN_ID,
    END_ID,
    PAD_ID,
    SPECIALS,
    UNKNOWN_ID,
    TranslationBatch,
)
from srulight.tasks.translation.beam_search import beam_search
from srulight.tasks.translation.beams import Hypothesis
from srulight.tasks.translation.generation import PredictedTranslation, TranslationDecoder
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import Decoded, Memory, State, TranslatorFactory
from srulight.tasks.translation.predict import TranslationPredictor
from srulight.tasks.translation.quality import TranslationQuality, sacrebleu_scorers
from srulight.tasks.translation.settings import SearchSettings
from srulight.text.tokenizers import SETTINGS, Tokenizer, from_settings

Tied = Literal["none", "output", "all"]


class Translation(Task):
    """Encodes a sentence, and decodes its translation token by token.

    Losses are in nats per token, the end of a sentence among them. BLEU and chrF are sacrebleu's,
    of translations as texts.

    Args:
        embedding_size: Features of a token.
        tied: Which weights are shared: target embedding and "output" layer (Press and Wolf 2017),
            "all", the source embedding among them, which needs a joint vocabulary, or "none".
        label_smoothing: Share of the probability that is spread over all tokens while training, at
            least 0 and below 1 (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        search: How translations are found.
        translator: Builds encoder and decoder: AttentionRNN (with SRU for both if None) or
            Transformer.
        optimizer: Builds the optimiser from the parameters; Adam with a learning rate of 0.001
            if None.
        scheduler: Builds the learning-rate schedule from the optimiser, stepped after every batch:
            Noam, Cosine, Warmup, Decay or torch's (lightning.pytorch.cli.ReduceLROnPlateau: every
            epoch); a constant rate if None.
        compile: Whether to train and measure through ``torch.compile``, which on a CPU needs a C++
            compiler. An LSTM or GRU is not compiled, what surrounds it is.
    """

    monitor = ("val/bleu", "max")
    predictor = TranslationPredictor
    knows = {"source": SETTINGS, "target": SETTINGS, "joint": bool}  # noqa: RUF012

    def __init__(
        self,
        embedding_size: int = 256,
        tied: Tied = "output",
        label_smoothing: float = 0.1,
        search: SearchSettings = SearchSettings(),
        translator: TranslatorFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(1, embedding_size=embedding_size)
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f"label_smoothing must be at least 0 and below 1, got {label_smoothing}"
            )
        self.embedding_size = embedding_size
        self.tied: Tied = tied
        self.label_smoothing = label_smoothing
        self.search = search
        self.translator_factory = translator or AttentionRNN
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile

    def search_with(self, **changes: Any) -> None:  # noqa: ANN401
        """Changes how sentences are translated from now on.

        Args:
            **changes: Fields of ``SearchSettings`` to change; the others stay as they are.

        Raises:
            InputError: If a number is out of range.
        """
        self.search = replace(self.search, **changes)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.source: Tokenizer = from_settings(metadata["source"], SPECIALS, "source")
        self.target: Tokenizer = from_settings(metadata["target"], SPECIALS, "target")
        if self.tied == "all" and not metadata["joint"]:
            raise InputError("tied=all needs a joint vocabulary: use --data.joint=true")
        self.translator = self.translator_factory(self.embedding_size)
        size = self.translator.output_size
        if self.tied != "none" and size != self.embedding_size:
            raise InputError(
                f"tied={self.tied} needs as many features of an output, {size}, as of a token, "
                f"{self.embedding_size}"
            )
        self.target_embedding = _embedding(len(self.target.tokens), self.embedding_size)
        if self.tied == "all":
            self.source_embedding = self.target_embedding
        else:
            self.source_embedding = _embedding(len(self.source.tokens), self.embedding_size)
        self.head = nn.Linear(size, len(self.target.tokens))
        if self.tied != "none":
            self.head.weight = self.target_embedding.weight

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def check(self, data: LightningDataModule) -> None:
        sacrebleu_scorers()  # a missing package is found now, and not after the first epoch

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Reads sentences.

        Args:
            source: Token ids, (B, S) int64.
            lengths: Real tokens of each, (B,) int64.
        """
        return self.translator.encode(self.source_embedding(source), lengths)

    def decode(self, target: Tensor, memory: Memory, state: State | None) -> Decoded:
        """Reads the next tokens of translations, (N, T) int64; the rest as of a translator."""
        return self.translator.decode(self.target_embedding(target), memory, state)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Scores what may come after each token of translations.

        Args:
            source: Token ids of sentences, (B, S) int64.
            lengths: Real tokens of each, (B,) int64.
            target: Token ids of their translations, (B, T) int64.

        Returns:
            Unnormalised log-probabilities of the next token, (B, T, V).
        """
        logits: Tensor = self.head(self.decode(target, self.encode(source, lengths), None).features)
        return logits

    def _loss(self, batch: TranslationBatch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Gives the sum of the losses of all tokens, and how many they are."""
        logits = self(batch.source, batch.source_lengths, batch.target)
        return cross_entropy(logits, batch.labels, smoothing)

    def loss(self, batch: TranslationBatch) -> tuple[Tensor, Tensor]:
        return self._loss(batch, self.label_smoothing)

    def new_metrics(self) -> dict[str, Metric]:
        return {"quality": TranslationQuality(self.target.lowercase)}

    def measure(self, batch: TranslationBatch, metrics: MetricCollection, stage: Stage) -> None:
        metrics["loss"].update(*self._loss(batch, 0.0))
        texts = [(row, *text) for row, text in enumerate(batch.texts) if text is not None]
        translations: list[str] = []
        references: list[str] = []
        if texts:
            rows, sources, references = map(list, zip(*texts, strict=True))
            lengths = batch.source_lengths[rows]
            source = batch.source[rows, : int(lengths.max())]
            settings = replace(self.search, beam_size=1) if stage == "val" else self.search
            found = self._translate(sources, source, lengths, settings)
            translations = [best.text for (best,) in found]
        metrics["quality"].update(translations, map(self.target.plain, references))

    def summarize(self, stage: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        # Of a smoothed loss a perplexity says nothing.
        return values if stage == "train" else {**values, "perplexity": values["loss"].exp()}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        quality = self.test_metrics["quality"]
        assert isinstance(quality, TranslationQuality)
        rank_zero_info(quality.signatures)

    @torch.no_grad()
    def predict(
        self, inputs: Sequence[str], batch_size: int = 64, n_best: int = 1
    ) -> list[list[PredictedTranslation]]:
        """Translates sentences.

        Args:
            inputs: Sentences, as those of the training data were.
            batch_size: Sentences at a time.
            n_best: Translations of each, at most ``search.beam_size``.

        Returns:
            The best translations of each sentence, the best first, in order; an empty one of an
            empty sentence.
        """
        self.begin_predicting(batch_size)
        check_range(1, self.search.beam_size, n_best=n_best)
        inputs = self.as_texts(inputs)
        ids = [torch.tensor([*self.source.encode(text), END_ID]) for text in inputs]
        nonempty = [(text, one) for text, one in zip(inputs, ids, strict=True) if len(one) > 1]

        def answer(batch: list[tuple[str, Tensor]]) -> list[list[PredictedTranslation]]:
            source, lengths = pad([one for _, one in batch], self.device)
            texts = [text for text, _ in batch]
            return self._translate(texts, source, lengths, self.search, n_best)

        answers = iter(by_length(nonempty, lambda item: len(item[1]), batch_size, answer))
        empty = [PredictedTranslation("", 0.0, 0.0, [], [], torch.zeros(0, 0))]
        return [next(answers) if len(one) > 1 else empty for one in ids]

    def _translate(
        self,
        texts: Sequence[str],
        source: Tensor,
        lengths: Tensor,
        settings: SearchSettings,
        n_best: int = 1,
    ) -> list[list[PredictedTranslation]]:
        """Translates a batch of sentences, of which it gets texts and token ids."""
        decoder = TranslationDecoder(self.decode, self.head, self.encode(source, lengths))
        found = beam_search(
            decoder, lengths, (settings.max_ratio * (lengths + 8)).long(), BEGIN_ID, END_ID,
            settings, n_best=n_best, forbidden=(PAD_ID, BEGIN_ID),
        )  # fmt: skip
        return [
            [self._prediction(text, hypothesis) for hypothesis in hypotheses]
            for text, hypotheses in zip(texts, found, strict=True)
        ]

    def _prediction(self, source: str, found: Hypothesis) -> PredictedTranslation:
        """Makes text of a hypothesis for a sentence."""
        tokens = [self.target.tokens[index] for index in found.tokens]
        source_tokens = self.source.tokenize(source)
        if self.search.replace_unknown and source_tokens:
            for place, index in enumerate(found.tokens):
                if index == UNKNOWN_ID:
                    # The end of the sentence is no word.
                    attention = found.attention[place, : len(source_tokens)]
                    tokens[place] = source_tokens[int(attention.argmax())]
        return PredictedTranslation(
            self.target.join(tokens), found.score, found.log_probability, tokens, source_tokens,
            found.attention,
        )  # fmt: skip


def _embedding(tokens: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(tokens, size)
    # Tied weights are the output's, too: there a product over all features has variance 1.
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding
