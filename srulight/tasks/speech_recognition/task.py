"""Speech recognition with connectionist temporal classification (CTC)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

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
from srulight.runtime.errors import InputError
from srulight.tasks.base import Stage, Task
from srulight.tasks.compiling import compile_function
from srulight.tasks.prediction import by_length
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.ctc.base import Decoder, Token
from srulight.tasks.speech_recognition.ctc.beam import BeamSearch
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.ctc.kenlm_model import read_ngram
from srulight.tasks.speech_recognition.ctc.ngram import WordModel
from srulight.tasks.speech_recognition.ctc.settings import DecoderSettings
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugment, SpecAugmentSettings
from srulight.tasks.speech_recognition.layers.subsampling import Convolutions, SubsamplingFactory
from srulight.tasks.speech_recognition.predict import SpeechPredictor
from srulight.tasks.speech_recognition.streaming import StreamingRecognizer
from srulight.tasks.speech_recognition.transcript import (
    SPECIALS,
    Spoken,
    Transcript,
    single_spaced,
)
from srulight.text.tokenizers import SETTINGS, from_settings


@runtime_checkable
class ChecksSteps(Protocol):
    """A data module that can check its utterances against the steps of a network."""

    def require_steps(self, steps: Callable[[int], int]) -> None:
        """Rejects or skips utterances that have more tokens than the network has steps for.

        Args:
            steps: Maps a number of frames to the number of encoder steps.
        """


class SpeechRecognition(Task):
    """A CTC model that subsamples frames, encodes them, and scores tokens and blank at each step.

    Connectionist temporal classification (CTC): Graves et al. (2006), ICML. The loss is in nats per
    token.

    Args:
        subsampling: Layer that reduces the number of frames before the encoder: Convolutions or
            Stacking. None means two convolutions with 256 channels, which subsample by a factor of
            4.
        dropout: Dropout probability at the input and the output of the encoder, 0 to 1. Dropout
            between the layers of the encoder is an argument of the encoder.
        augmentation: SpecAugment masks on training utterances.
        decoder: How log-probabilities are decoded into text.
        encoder: Encoder of the subsampled frames. None means an SRU with 3 layers of 256 units and
            dropout 0.1.
        optimizer: Optimizer of the parameters. None means Adam with a learning rate of 0.001.
        scheduler: Learning-rate schedule, stepped after every batch: Noam, Cosine, Warmup, Decay or
            one of torch's (lightning.pytorch.cli.ReduceLROnPlateau is stepped after every epoch).
            None means a constant learning rate.
        compile: Whether to run the network through ``torch.compile`` in training and evaluation,
            which on a CPU needs a C++ compiler. LSTM and GRU layers stay uncompiled; the rest of
            the network is compiled.
    """

    monitor = ("val/wer", "min")
    predictor = SpeechPredictor
    knows = {  # noqa: RUF012
        "frontend": {
            "filter_bank": (dict, type(None)), "channels": str, "normalization": str,
            "mean": [(int, float)], "std": [(int, float)],
        },
        "tokenizer": SETTINGS, "num_mels": int, "frame_seconds": (int, float),
    }  # fmt: skip

    def __init__(
        self,
        subsampling: SubsamplingFactory | None = None,
        dropout: float = 0.1,
        augmentation: SpecAugmentSettings = SpecAugmentSettings(),
        decoder: DecoderSettings = DecoderSettings(),
        encoder: EncoderFactory | None = None,
        optimizer: OptimizerCallable | None = None,
        scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.subsampling_factory = subsampling or Convolutions
        self.augmentation = augmentation
        self.encoder_factory = encoder or (lambda size: SRU(size, 256, 3, dropout=0.1))
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.compiled = compile
        self.dropout = Dropout(dropout)
        self.decoder = decoder
        self._ngram: WordModel[Any] | None = None  # Read on first use.

    def decode_with(self, **changes: Any) -> None:  # noqa: ANN401
        """Changes how recordings are decoded from now on.

        Args:
            **changes: Fields of ``DecoderSettings`` and their new values.

        Raises:
            InputError: If a value is out of range, or a setting needs a larger beam.
        """
        self.decoder = replace(self.decoder, **changes)
        self._ngram = None

    def build_network(self, metadata: dict[str, Any]) -> None:
        self.frontend = Frontend.from_settings(metadata["frontend"])
        self.tokenizer = from_settings(metadata["tokenizer"], SPECIALS)
        self.augment = SpecAugment(self.augmentation)
        self.subsampling = self.subsampling_factory(metadata["num_mels"])
        self.encoder = build_encoder(self.encoder_factory, self.subsampling.output_size)
        self.head = nn.Linear(self.encoder.output_size, len(self.tokenizer.tokens))
        self.step_seconds: float = self.subsampling.shift * metadata["frame_seconds"]

    def check(self, data: LightningDataModule) -> None:
        self.new_decoder()  # Fail before training if the language model cannot be read.
        if isinstance(data, ChecksSteps):
            data.require_steps(self.subsampling.steps)

    def compile_network(self) -> None:
        self.forward = compile_function(self.forward)  # type: ignore[method-assign]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores the tokens at each step.

        Args:
            features: Frames, (B, T, F).
            lengths: Number of valid frames in each utterance, (B,) int64.

        Returns:
            Logits, (B, T', V), and the number of valid steps in each utterance, (B,) int64.
        """
        x, steps = self.subsampling(self.augment(features, lengths), lengths)
        return self.head(self.dropout(self.encoder(self.dropout(x), steps))), steps

    def _losses(self, batch: SpeechBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns losses, (B,), log-probabilities, (B, T', V), and valid steps, (B,)."""
        logits, steps = self(batch.features, batch.lengths)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        scores = logits.log_softmax(-1)
        losses = F.ctc_loss(
            scores.transpose(0, 1), batch.targets, steps, batch.target_lengths, reduction="none"
        )
        # An utterance without a transcript is a placeholder: this process has an empty batch.
        return losses * (batch.target_lengths > 0), scores, steps

    def loss(self, batch: SpeechBatch) -> tuple[Tensor, Tensor]:
        losses, _, _ = self._losses(batch)
        return losses.sum(), batch.target_lengths.sum()

    def new_metrics(self) -> dict[str, Metric]:
        return {"wer": WordErrorRate(), "cer": CharErrorRate()}

    def new_decoder(self) -> Decoder:
        """Returns a decoder for one recording.

        Raises:
            InputError: If the language model cannot be read.
        """
        settings = self.decoder
        if settings.beam_size == 1:
            return Greedy()
        if self._ngram is None and settings.path is not None:
            self._ngram = read_ngram(settings.path)
        return BeamSearch(
            settings.beam_size,
            text_of=self.tokenizer.text_of,
            ngram=self._ngram,
            lm_weight=settings.language_weight,
            word_bonus=settings.word_bonus,
        )

    def measure(self, batch: SpeechBatch, metrics: MetricCollection, stage: Stage) -> None:
        losses, scores, steps = self._losses(batch)
        metrics["loss"].update(losses.double().sum(), batch.target_lengths.sum())
        hypotheses, references = [], []
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        decoded = _decode(scores, steps, Greedy if stage == "val" else self.new_decoder)
        for found, (tokens, count) in zip(decoded, targets, strict=True):
            if count:
                hypotheses.append(self.text(token.index for token in found))
                references.append(self.text(tokens[:count]))
        if references:
            metrics["wer"].update(hypotheses, references)
            metrics["cer"].update(hypotheses, references)

    @torch.no_grad()
    def predict(self, inputs: Sequence[str], batch_size: int = 16) -> list[Transcript]:
        """Transcribes recordings.

        Args:
            inputs: Paths of audio files, or of frames (.npy) if the task was trained on frames. A
                single path is one input.
            batch_size: Number of recordings per batch.

        Returns:
            A transcript of each recording, in order. A recording that is too short for one step has
            an empty transcript.

        Raises:
            InputError: If a file cannot be read, or ``batch_size`` is below 1.
        """
        metadata = self.begin_predicting(batch_size)
        inputs = [inputs] if isinstance(inputs, str | Path) else inputs
        frames = [self.frontend.standardize(self.frontend.frames([Path(path)])) for path in inputs]
        usable = [f for f in frames if self.subsampling.steps(len(f)) > 0]
        recognized = iter(by_length(usable, len, batch_size, self._recognize))
        found = [next(recognized) if self.subsampling.steps(len(f)) > 0 else [] for f in frames]
        return [
            Transcript(
                self.text(token.index for token in tokens),
                len(f) * metadata["frame_seconds"],
                self.timestamps(tokens),
            )
            for f, tokens in zip(frames, found, strict=True)
        ]

    def _recognize(self, frames: list[Tensor]) -> Iterator[list[Token]]:
        features = pad_sequence(frames, batch_first=True)
        lengths = torch.tensor(list(map(len, frames)))
        logits, steps = self(features.to(self.head.bias), lengths.to(self.device))
        return _decode(logits.float().log_softmax(-1), steps, self.new_decoder)

    def text(self, tokens: Iterable[int]) -> str:
        """Decodes token ids to text with single spaces between words."""
        return single_spaced(self.tokenizer.decode(tokens))

    def timestamps(self, tokens: Sequence[Token]) -> list[Spoken]:
        """Returns the texts of tokens with their start and end times in seconds."""
        seconds = self.step_seconds
        return [
            Spoken(self.tokenizer.text_of(i), round(start * seconds, 3), round(end * seconds, 3))
            for i, start, end in tokens
        ]

    @property
    def is_online(self) -> bool:
        """Whether the encoder reads steps as they arrive, so that ``listen`` works."""
        return isinstance(self.encoder, Recurrent) and not self.encoder.bidirectional

    def listen(self) -> StreamingRecognizer:
        """Returns a recognizer that transcribes one recording while it arrives.

        Raises:
            InputError: If the model can only transcribe whole recordings.
        """
        self.check_trained()
        encoder = self.encoder
        if not (isinstance(encoder, Recurrent) and self.is_online):
            kind = "a bidirectional " if isinstance(encoder, Recurrent) else ""
            raise InputError(
                "streaming needs a recurrent encoder with bidirectional=False, got "
                f"{kind}{type(encoder).__name__}; train such an encoder, or transcribe whole files"
            )
        self.eval()
        return StreamingRecognizer(
            self.frontend, self.subsampling, encoder, self.head, self.new_decoder()
        )


def _decode(
    scores: Tensor, steps: Tensor, new_decoder: Callable[[], Decoder]
) -> Iterator[list[Token]]:
    """Decodes log-probabilities, (B, T', V), each utterance up to its valid steps, (B,)."""
    for utterance, length in zip(scores.cpu(), steps.tolist(), strict=True):
        decoder = new_decoder()
        decoder.advance(utterance[:length])
        yield decoder.finish()
