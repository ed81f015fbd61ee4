"""From speech to text."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import Metric, MetricCollection
from torchmetrics.text import CharErrorRate, WordErrorRate

from srulight.encoders import SRU, EncoderFactory, Recurrent
from srulight.encoders.base import build_encoder
from srulight.layers.dropout import Dropout
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.base import Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.ctc.beam import BeamSearch
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.ctc.kenlm_model import read_ngram
from srulight.tasks.speech_recognition.ctc.ngram import WordModel
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugment
from srulight.tasks.speech_recognition.layers.subsampling import Convolutions, SubsamplingFactory
from srulight.tasks.speech_recognition.streaming import StreamingRecognizer
from srulight.text.spelling import get_speller


class Spoken(NamedTuple):
    """A token, and when it is said.

    Attributes:
        text: Its characters; a space begins a word.
        start: When it begins, in seconds.
        end: When it ends, in seconds.
    """

    text: str
    start: float
    end: float


class Transcript(NamedTuple):
    """What is said in a recording.

    Attributes:
        text: The words.
        seconds: How long the recording takes.
        tokens: What the text is made of.
    """

    text: str
    seconds: float
    tokens: list[Spoken]


class SpeechRecognition(Task):
    """Subsamples the frames, encodes them, and says of each step which token is heard, or none.

    Connectionist temporal classification: Graves et al. (2006), ICML. The loss is counted in nats
    a token.

    Args:
        subsampling: Builds what makes fewer steps of many frames, for the features of a frame:
            Convolutions or Stacking; two convolutions with 256 channels, which make a step of 4
            frames, if None.
        dropout: Probability of zeroing a feature of the encoder's input and output while training,
            0 to 1. Encoders have dropouts of their own.
        frequency_masks: Groups of neighbouring bands that are masked in each training utterance.
        frequency_width: Bands in such a group, at most.
        time_masks: Stretches of time that are masked in each training utterance.
        time_width: Frames in such a stretch, at most; it is also no more than a fifth of all.
        beam_size: Texts that compete while a test recording, or one to predict, is decoded; 1 takes
            the likeliest token at each step. Validation always does that.
        language_model: File of an n-gram model of words (ARPA, plain or .gz), which a beam of more
            than 1 heeds.
        language_weight: Factor of the language model's log-probabilities.
        word_bonus: Added to the score of a text for each word; balances a language model, which
            favours few.
        encoder: Builds the encoder; SRU with 3 layers of 256 units and dropout 0.1 if None.
        optimizer: Builds the optimiser from the parameters; Adam with a learning rate of 0.001
            if None.
        scheduler: Builds the learning-rate schedule from the optimiser, stepped after every batch:
            Noam, Cosine, Warmup, Decay or torch's (lightning.pytorch.cli.ReduceLROnPlateau: every
            epoch); a constant rate if None.
        compile: Whether to train and measure through ``torch.compile``, which on a CPU needs a C++
            compiler. An LSTM or GRU is not compiled, what surrounds it is.
    """

    monitor = ("val/wer", "min")
    knows = {  # noqa: RUF012
        "frontend": {
            "filter_bank": (dict, type(None)), "channels": str, "normalization": str,
            "mean": [(int, float)], "std": [(int, float)],
        },
        "speller": {"unit": str, "tokens?": [str], "model?": str},
        "num_mels": int, "frame_seconds": (int, float), "lowercase": bool,
    }  # fmt: skip

    def __init__(
        self,
        subsampling: SubsamplingFactory | None = None,
        dropout: float = 0.1,
        frequency_masks: int = 2,
        frequency_width: int = 8,
        time_masks: int = 2,
        time_width: int = 20,
        beam_size: int = 1,
        language_model: str | None = None,
        language_weight: float = 0.5,
        word_bonus: float = 0.0,
        encoder: EncoderFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_range(
            0, frequency_masks=frequency_masks, frequency_width=frequency_width,
            time_masks=time_masks, time_width=time_width,
        )  # fmt: skip
        self.subsampling_factory = subsampling or Convolutions
        self.masks = (frequency_masks, frequency_width, time_masks, time_width)
        self.encoder_factory = encoder or (lambda size: SRU(size, 256, 3, dropout=0.1))
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)
        self.decode_with(beam_size, language_model, language_weight, word_bonus)

    def decode_with(
        self,
        beam_size: int,
        language_model: str | None = None,
        language_weight: float = 0.5,
        word_bonus: float = 0.0,
    ) -> None:
        """Chooses how recordings are decoded from now on; arguments as of the class.

        Raises:
            InputError: If a number is out of range, or nothing would heed the language model.
        """
        check_range(1, beam_size=beam_size)
        check_range(0, language_weight=language_weight)
        check_range(-1000, 1000, word_bonus=word_bonus)
        if language_model is not None and beam_size == 1:
            raise InputError("a language model needs a beam_size above 1, such as 16")
        self.beam_size = beam_size
        self.language_model = language_model
        self.language_weight = language_weight
        self.word_bonus = word_bonus
        self._ngram: WordModel[Any] | None = None  # read when it is first asked for

    def build(self, metadata: dict[str, Any]) -> None:
        self.frontend = Frontend.from_settings(metadata["frontend"])
        self.speller = get_speller(metadata["speller"])
        self.augment = SpecAugment(*self.masks)
        self.subsampling = self.subsampling_factory(metadata["num_mels"])
        self.encoder = build_encoder(self.encoder_factory, self.subsampling.output_size)
        self.head = nn.Linear(self.encoder.output_size, len(self.speller.tokens))
        self.step_seconds: float = self.subsampling.shift * metadata["frame_seconds"]
        self.train_loss = MeanLoss()
        self.val_metrics, self.test_metrics = _metrics("val/"), _metrics("test/")

    def check(self, data: LightningDataModule) -> None:
        self.new_decoder()  # a language model that cannot be read is found now
        # Data modules of other packages need not look for what no step is left for.
        require: Any = getattr(data, "require_steps", None)
        if require is not None:
            require(self.subsampling.steps)

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores the tokens at each step.

        Args:
            features: Frames, (B, T, F).
            lengths: Real frames of each utterance, (B,) int64.

        Returns:
            Unnormalised log-probabilities, (B, T', V), and real steps of each, (B,) int64.
        """
        x, steps = self.subsampling(self.augment(features, lengths), lengths)
        return self.head(self.dropout(self.encoder(self.dropout(x), steps))), steps

    def _losses(self, batch: SpeechBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Gives the loss of each utterance, log-probabilities, (B, T', V), and steps, (B,)."""
        logits, steps = self(batch.features, batch.lengths)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        scores = logits.log_softmax(-1)
        losses = F.ctc_loss(
            scores.transpose(0, 1), batch.targets, steps, batch.target_lengths, reduction="none"
        )
        # What has no transcript fills up the batch of a process that has no utterance.
        return losses * (batch.target_lengths > 0), scores, steps

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        losses, _, _ = self._losses(batch)
        total, count = losses.sum(), batch.target_lengths.sum()
        self.train_loss.update(total, count)
        return self.mean_loss(total, count)

    def on_train_epoch_end(self) -> None:
        self._log({"train/loss": self.train_loss})

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        self._measure(self.val_metrics, batch, Greedy)

    def on_validation_epoch_end(self) -> None:
        self._log(dict(self.val_metrics.items()))

    def test_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        self._measure(self.test_metrics, batch, self.new_decoder)

    def on_test_epoch_end(self) -> None:
        self._log(dict(self.test_metrics.items()))

    def new_decoder(self) -> Decoder:
        """Makes what decodes one recording.

        Raises:
            InputError: If the language model cannot be read.
        """
        if self.beam_size == 1:
            return Greedy()
        if self._ngram is None and self.language_model is not None:
            self._ngram = read_ngram(Path(self.language_model).expanduser())
        return BeamSearch(
            self.beam_size,
            spell=self.speller.spell,
            ngram=self._ngram,
            lm_weight=self.language_weight,
            word_bonus=self.word_bonus,
        )

    def _measure(
        self, metrics: MetricCollection, batch: SpeechBatch, new_decoder: Callable[[], Decoder]
    ) -> None:
        losses, scores, steps = self._losses(batch)
        metrics["loss"].update(losses.double().sum(), batch.target_lengths.sum())
        heard, said = [], []
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        decoded = _decode(scores, steps, new_decoder)
        for found, (tokens, count) in zip(decoded, targets, strict=True):
            if count:
                heard.append(self.speller.decode(token.index for token in found))
                said.append(self.speller.decode(tokens[:count]))
        if said:
            metrics["wer"].update(heard, said)
            metrics["cer"].update(heard, said)

    def _log(self, metrics: dict[str, Metric]) -> None:
        # Already those of all processes.
        values = {name: metric.compute().float() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        self.log_dict(values, prog_bar=True, sync_dist=True)

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 16) -> list[Transcript]:
        """Writes down what is said in recordings.

        Args:
            inputs: Files of sound; of frames (.npy), if the task was trained with such. A file
                alone is one input.
            batch_size: Recordings at a time.

        Returns:
            A transcript of each, in order.

        Raises:
            InputError: If a file is not what it should be, or ``batch_size`` is below 1.
        """
        metadata = self.check_trained()
        check_range(1, batch_size=batch_size)
        self.eval()
        inputs = [inputs] if isinstance(inputs, str | Path) else inputs
        frames = [self.frontend.standardize(self.frontend.frames([Path(path)])) for path in inputs]
        transcripts = [Transcript("", len(f) * metadata["frame_seconds"], []) for f in frames]
        # Recordings of like length together: less padding. What is too short says nothing.
        heard = [i for i, f in enumerate(frames) if self.subsampling.steps(len(f)) > 0]
        heard.sort(key=lambda i: len(frames[i]))
        for start in range(0, len(heard), batch_size):
            chosen = heard[start : start + batch_size]
            features = pad_sequence([frames[i] for i in chosen], batch_first=True)
            lengths = torch.tensor([len(frames[i]) for i in chosen])
            logits, steps = self(features.to(self.head.weight), lengths.to(self.device))
            decoded = _decode(logits.float().log_softmax(-1), steps, self.new_decoder)
            for i, tokens in zip(chosen, decoded, strict=True):
                text = self.speller.decode(token.index for token in tokens)
                transcripts[i] = transcripts[i]._replace(text=text, tokens=self.when(tokens))
        return transcripts

    def when(self, tokens: Sequence[Token]) -> list[Spoken]:
        """Tells when tokens, counted in steps, are said."""
        second = self.step_seconds
        return [
            Spoken(self.speller.spell(index), round(start * second, 3), round(end * second, 3))
            for index, start, end in tokens
        ]

    def listen(self) -> StreamingRecognizer:
        """Begins to write down what is said while it is heard.

        Raises:
            InputError: If the task must hear a recording to its end.
        """
        self.check_trained()
        if not isinstance(self.encoder, Recurrent) or self.encoder.bidirectional:
            raise InputError(
                f"this {type(self.encoder).__name__} reads a recording from both ends, or as a "
                "whole; what listens along needs a recurrent encoder with bidirectional=false"
            )
        self.eval()
        return StreamingRecognizer(
            self.frontend, self.subsampling, self.encoder, self.head, self.new_decoder()
        )


def _decode(
    scores: Tensor, steps: Tensor, new_decoder: Callable[[], Decoder]
) -> Iterator[list[Token]]:
    """Decodes log-probabilities, (B, T', V), of which each utterance has so many steps, (B,)."""
    for utterance, length in zip(scores.cpu(), steps.tolist(), strict=True):
        decoder = new_decoder()
        decoder.advance(utterance[:length])
        yield decoder.finish()


def _metrics(prefix: str) -> MetricCollection:
    metrics: dict[str, Metric | MetricCollection] = {
        "loss": MeanLoss(),
        "wer": WordErrorRate(),
        "cer": CharErrorRate(),
    }
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
