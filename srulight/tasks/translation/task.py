"""From sentences of one language to sentences of another."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.base import Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.translation.batch import TranslationBatch
from srulight.tasks.translation.beam_search import Hypothesis, Penalties, search
from srulight.tasks.translation.generation import SentenceWriter, Translated, translated
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import Decoded, Memory, State, TranslatorFactory
from srulight.tasks.translation.quality import TranslationQuality
from srulight.text.line_tokenizers import BEGIN, END, PADDING, Tokenizer, make_tokenizer

Tied = Literal["none", "output", "all"]

_TOKENIZER = {
    "tokenization": str, "words?": [str], "model?": str, "language?": str, "lowercase": bool,
    "detokenize?": bool,
}  # fmt: skip


class Translation(Task):
    """Encodes a sentence, and writes its translation token by token.

    Losses are in nats a token, the end of a sentence among them. BLEU and chrF are sacrebleu's, of
    translations as texts.

    Args:
        embedding_size: Features of a token.
        tied: Which weights are the same: those of the target's vectors and of the "output" (Press
            and Wolf 2017), those of the source, too ("all", for a joint vocabulary), or "none".
        label_smoothing: Share of the probability that is spread over all tokens while training, 0
            to 1 (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        beam_size: Translations that compete while a test sentence, or one to predict, is
            translated; 1 takes the likeliest token at each step. Validation always does that.
        length_penalty: Exponent of the length that log-probabilities are divided by; 0 for none (Wu
            et al. 2016, arXiv 1609.08144, equation 14, alpha).
        coverage_penalty: Weight of what is lost by source tokens that were looked at too little; 0
            for none (the same equation, beta).
        max_ratio: Most tokens of a translation for each token of the sentence, of its end, too, and
            of eight more.
        replace_unknown: Whether a token that stands for an unknown word becomes the source token
            that was looked at most.
        translator: Builds what reads and writes: AttentionRNN, which has an encoder and a decoder
            of SRU if None, or Transformer.
        optimizer: Builds the optimiser from the parameters; Adam with a learning rate of 0.001
            if None.
        scheduler: Builds the learning-rate schedule from the optimiser, stepped after every batch:
            Noam, Cosine, Warmup, Decay or torch's (lightning.pytorch.cli.ReduceLROnPlateau: every
            epoch); a constant rate if None.
        compile: Whether to train and measure through ``torch.compile``, which on a CPU needs a C++
            compiler. An LSTM or GRU is not compiled, what surrounds it is.
    """

    monitor = ("val/bleu", "max")
    knows = {"source": _TOKENIZER, "target": _TOKENIZER, "joint": bool}  # noqa: RUF012

    def __init__(
        self,
        embedding_size: int = 256,
        tied: Tied = "output",
        label_smoothing: float = 0.1,
        beam_size: int = 5,
        length_penalty: float = 0.6,
        coverage_penalty: float = 0.0,
        max_ratio: float = 2.0,
        replace_unknown: bool = True,
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
        if not 0 < max_ratio < math.inf:
            raise InputError(f"max_ratio must be more than 0, got {max_ratio}")
        self.embedding_size = embedding_size
        self.tied: Tied = tied
        self.label_smoothing = label_smoothing
        self.max_ratio = max_ratio
        self.replace_unknown = replace_unknown
        self.translator_factory = translator or AttentionRNN
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.search_with(beam_size, length_penalty, coverage_penalty)

    def search_with(
        self, beam_size: int, length_penalty: float = 0.6, coverage_penalty: float = 0.0
    ) -> None:
        """Chooses how sentences are translated from now on; arguments as of the class.

        Raises:
            InputError: If a number is out of range.
        """
        check_range(1, beam_size=beam_size)
        check_range(0, length_penalty=length_penalty, coverage_penalty=coverage_penalty)
        self.beam_size = beam_size
        self.penalties = Penalties(length_penalty, coverage_penalty)

    def build(self, metadata: dict[str, Any]) -> None:
        self.source: Tokenizer = make_tokenizer(metadata["source"])
        self.target: Tokenizer = make_tokenizer(metadata["target"])
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
        self.train_loss = MeanLoss()
        self.val_loss, self.test_loss = MeanLoss(), MeanLoss()
        self._quality: TranslationQuality | None = None  # made when it is first asked for

    def check(self, data: LightningDataModule) -> None:
        self.quality()  # a missing package is found now

    def quality(self) -> TranslationQuality:
        """Gives what measures translations."""
        if self._quality is None:
            self._quality = TranslationQuality(self.target.lowercase)
        return self._quality

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

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
        logits = self(batch.source, batch.source_lengths, batch.target).flatten(0, 1)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        total = F.cross_entropy(
            logits, batch.labels.flatten(), ignore_index=IGNORED, reduction="sum",
            label_smoothing=smoothing,
        )  # fmt: skip
        return total, (batch.labels != IGNORED).sum()

    def training_step(self, batch: TranslationBatch, batch_idx: int) -> Tensor:
        total, count = self._loss(batch, self.label_smoothing)
        self.train_loss.update(total, count)
        return self.mean_loss(total, count)

    def on_train_epoch_end(self) -> None:
        self._log("train", self.train_loss, {})

    def validation_step(self, batch: TranslationBatch, batch_idx: int) -> None:
        self._measure(self.val_loss, batch, 1)

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_loss, self.quality().compute())

    def test_step(self, batch: TranslationBatch, batch_idx: int) -> None:
        self._measure(self.test_loss, batch, self.beam_size)

    def on_test_epoch_end(self) -> None:
        self._log("test", self.test_loss, self.quality().compute())
        rank_zero_info(self.quality().signatures)

    def _measure(self, metric: MeanLoss, batch: TranslationBatch, beam_size: int) -> None:
        total, count = self._loss(batch, 0.0)
        metric.update(total, count)
        texts = [(row, *text) for row, text in enumerate(batch.texts) if text is not None]
        if texts:
            rows, sources, references = map(list, zip(*texts, strict=True))
            lengths = batch.source_lengths[rows]
            found = self._search(batch.source[rows, : int(lengths.max())], lengths, beam_size, 1)
            written = [
                self._translated(source, best).text
                for source, (best,) in zip(sources, found, strict=True)
            ]
            self.quality().update(written, map(self.target.plain, references))

    def _log(self, stage: str, metric: MeanLoss, quality: dict[str, float]) -> None:
        # Already those of all processes.
        loss = metric.compute()
        metric.reset()
        values = {"loss": loss.float(), "perplexity": loss.exp().float()}
        values |= {name: torch.tensor(value) for name, value in quality.items()}
        if stage == "train":
            del values["perplexity"]  # of a smoothed loss it says nothing
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(named, prog_bar=True, sync_dist=True)

    @torch.no_grad()
    def predict(
        self, inputs: Sequence[str], batch_size: int = 64, n_best: int = 1
    ) -> list[list[Translated]]:
        """Translates sentences.

        Args:
            inputs: Sentences, as those of the training data were.
            batch_size: Sentences at a time.
            n_best: Translations of each, at most ``beam_size``.

        Returns:
            The best translations of each sentence, the best first, in order; an empty one of an
            empty sentence.
        """
        self.check_trained()
        check_range(1, batch_size=batch_size)
        self.eval()
        inputs = self.as_texts(inputs)
        ids = [torch.tensor([*self.source.encode(text), END]) for text in inputs]
        answers = [[Translated("", 0.0, 0.0, [], [], torch.zeros(0, 0))] for _ in inputs]
        # Sentences of like length together: less padding.
        said = sorted(
            (i for i, text in enumerate(inputs) if len(ids[i]) > 1), key=lambda i: len(ids[i])
        )
        for start in range(0, len(said), batch_size):
            chosen = said[start : start + batch_size]
            source = pad_sequence([ids[i] for i in chosen], batch_first=True).to(self.device)
            lengths = torch.tensor([len(ids[i]) for i in chosen], device=self.device)
            found = self._search(source, lengths, self.beam_size, n_best)
            for i, hypotheses in zip(chosen, found, strict=True):
                answers[i] = [self._translated(inputs[i], best) for best in hypotheses]
        return answers

    def _search(
        self, source: Tensor, lengths: Tensor, beam_size: int, n_best: int
    ) -> list[list[Hypothesis]]:
        limits = (self.max_ratio * (lengths + 8)).long()
        return search(
            SentenceWriter(self.decode, self.head, self.encode(source, lengths)),
            lengths, limits, BEGIN, END,
            beam_size=beam_size, n_best=n_best, penalties=self.penalties,
            forbidden=(PADDING, BEGIN),
        )  # fmt: skip

    def _translated(self, source: str, found: Hypothesis) -> Translated:
        return translated(source, found, self.source, self.target, self.replace_unknown)


def _embedding(tokens: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(tokens, size)
    # Tied weights are the output's, too: there a product over all features has variance 1.
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding
