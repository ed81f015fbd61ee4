"""The translation task."""

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
    """Translates sentences with an encoder-decoder model.

    Losses are in nats per token, including the end token of each sentence. BLEU and chrF are
    computed by sacrebleu on the detokenized text.

    Args:
        embedding_size: Number of features of a token embedding.
        tied: Which weights are shared: "output" shares the target embedding with the output layer
            (Press and Wolf 2017), "all" also shares it with the source embedding, which needs a
            joint vocabulary, and "none" shares nothing.
        label_smoothing: Share of the probability that the training loss spreads evenly over all
            tokens, at least 0 and below 1 (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        search: Settings of the beam search.
        translator: Encoder and decoder: AttentionRNN or Transformer. The default is an AttentionRNN
            with SRU on both sides.
        optimizer: Optimizer. The default is Adam with a learning rate of 0.001.
        scheduler: Learning-rate schedule, stepped after every batch: Noam, Cosine, Warmup, Decay
            or one of torch (lightning.pytorch.cli.ReduceLROnPlateau steps after every epoch). The
            default is a constant learning rate.
        compile: Whether to compile the network with ``torch.compile`` for training and evaluation,
            which needs a C++ compiler on a CPU. LSTM and GRU layers run uncompiled inside it.
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
        """Changes settings of the beam search.

        Args:
            **changes: Fields of ``SearchSettings`` to change; the others keep their values.

        Raises:
            InputError: If a number is out of range.
        """
        self.search = replace(self.search, **changes)

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.source: Tokenizer = from_settings(metadata["source"], SPECIALS, "source")
        self.target: Tokenizer = from_settings(metadata["target"], SPECIALS, "target")
        if self.tied == "all" and not metadata["joint"]:
            raise InputError(
                "tied=all needs a joint vocabulary; set --data.joint=true or --model.tied=output"
            )
        self.translator = self.translator_factory(self.embedding_size)
        size = self.translator.output_size
        if self.tied != "none" and size != self.embedding_size:
            raise InputError(
                f"tied={self.tied} needs a translator whose output size equals embedding_size "
                f"({self.embedding_size}), got {size}; set --model.tied=none"
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
        sacrebleu_scorers()  # reports a missing package now instead of after the first epoch

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encodes source sentences.

        Args:
            source: Token ids, (B, S) int64.
            lengths: Number of tokens of each sentence without padding, (B,) int64.

        Returns:
            The encoded sentences, for the decoder to attend to.
        """
        return self.translator.encode(self.source_embedding(source), lengths)

    def decode(self, target: Tensor, memory: Memory, state: State | None) -> Decoded:
        """Feeds the next target tokens to the decoder.

        Args:
            target: Token ids, (N, T) int64.
            memory: Encoded source sentences.
            state: Decoder state after the previous tokens; None at the beginning.

        Returns:
            Features, attention weights and the new state, as of ``Translator.decode``.
        """
        return self.translator.decode(self.target_embedding(target), memory, state)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Computes the logits of the token that follows each target token.

        Args:
            source: Source token ids, (B, S) int64.
            lengths: Number of tokens of each source sentence without padding, (B,) int64.
            target: Target token ids, (B, T) int64.

        Returns:
            Logits over the target vocabulary, (B, T, V).
        """
        logits: Tensor = self.head(self.decode(target, self.encode(source, lengths), None).features)
        return logits

    def _loss(self, batch: TranslationBatch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Computes the sum of the losses of all target tokens, and the number of tokens."""
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
        # The exponential of the smoothed training loss is no perplexity.
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
            inputs: Source sentences, in the same form as the training data.
            batch_size: Number of sentences to translate at a time.
            n_best: Number of translations of each sentence, from 1 to ``search.beam_size``.

        Returns:
            For each sentence, in the order of ``inputs``, its translations in order of decreasing
            score. The translation of an empty sentence is empty.

        Raises:
            InputError: If an input is not text, or a number is out of range.
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
        """Translates a batch of sentences, given as both text and token ids."""
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
        """Converts a hypothesis to a prediction for the source sentence."""
        tokens = [self.target.tokens[index] for index in found.tokens]
        source_tokens = self.source.tokenize(source)
        if self.search.replace_unknown and source_tokens:
            for place, index in enumerate(found.tokens):
                if index == UNKNOWN_ID:
                    # The last column is </s>, which cannot replace a word.
                    attention = found.attention[place, : len(source_tokens)]
                    tokens[place] = source_tokens[int(attention.argmax())]
        return PredictedTranslation(
            self.target.join(tokens), found.score, found.log_probability, tokens, source_tokens,
            found.attention,
        )  # fmt: skip


def _embedding(tokens: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(tokens, size)
    # Tied weights also form the output layer, where this gives logits of unit variance.
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding
