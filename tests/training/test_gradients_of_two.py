"""Two processes train and evaluate like one with twice the batch size, however they split batches.

This file is also what the two processes run.
"""

import math
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from srulight import SRU
from srulight.data.base import IGNORED
from srulight.targets import Kind, LossSettings
from srulight.targets.build import KINDS as TARGETS
from srulight.tasks.language_modeling.batch import StreamBatch
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.tasks.question_answering.annotation import Annotator
from srulight.tasks.question_answering.batch import QuestionBatch, QuestionContext
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
    Windows,
)
from srulight.tasks.question_answering.model import ReaderLayers
from srulight.tasks.question_answering.task import QuestionAnswering
from srulight.tasks.question_answering.token_table import token_table
from srulight.tasks.sequence_prediction import (
    SequencePrediction,
    SequencePredictionData,
    SyntheticSignals,
)
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugmentSettings
from srulight.tasks.speech_recognition.layers.subsampling import Stacking
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification
from srulight.tasks.translation.batch import SPECIALS, TranslationBatch
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.task import Translation
from srulight.tasks.video_prediction import SyntheticTools, VideoPrediction, VideoPredictionData
from srulight.text.tokenizers import BLANK, PAD_UNKNOWN, Characters, Words
from srulight.video.frame_encoders import ResNet
from tests.python import python

Report = tuple[list[Tensor], dict[str, Tensor]]
SENTENCES = (1, 5, 13)
KINDS: tuple[Kind, ...] = ("labels", "numbers")
# Number of sequences, and of steps per segment; None for whole sequences with one target each.
SEQUENCES = [(1, None), (5, None), (1, 4), (5, 4)]
# Number of clips, and of frames per segment; None for whole clips with one target each.
CLIPS = [(5, None), (1, 4)]
CASES = [
    *(f"{count} sentences" for count in SENTENCES),
    *(f"sentences with {kind}" for kind in KINDS),
    *(f"{count} sequences, segment_length {length}" for count, length in SEQUENCES),
    *(f"{count} clips, segment_length {length}" for count, length in CLIPS),
    "text",
    "speech",
    "translation",
    "questions",
]


class Given(SentenceCorpus):
    """The same sentences of 1 to 4 words for training and validation, in the given number.

    Of several labels or numbers, some are missing.
    """

    def __init__(self, count: int, kind: Kind = "class") -> None:
        self.count = count
        self.kind = kind

    def fetch(self, root: Path) -> None: ...

    def read(self, root: Path) -> Splits:
        targets: list[Any] = [i % 3 for i in range(self.count)]
        if self.kind != "class":
            targets = [
                (i % 2, math.nan if i % 5 == 0 else i // 3 % 2, i % 3 > 0)
                for i in range(self.count)
            ]
        examples = [
            Example("a b c d"[: 1 + 2 * (i % 4)], target) for i, target in enumerate(targets)
        ]
        return Splits(examples, examples, [], ["x", "y", "z"], True)


class Gradients(Callback):
    """Keeps the gradients of every step."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        found = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        self.steps.append(torch.cat(found))


def fit(task: LightningModule, processes: int, **data: Any) -> Report:  # noqa: ANN401
    """Returns the gradients of every step of an epoch, and the logged metrics."""
    torch.manual_seed(0)
    gradients = Gradients()
    trainer = Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        precision="64-true", max_epochs=1, callbacks=gradients, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(task, **data)
    return gradients.steps, dict(trainer.callback_metrics)


def classify(sentences: int, processes: int, kind: Kind = "class") -> Report:
    """Trains on batches of 6 sentences, those of all processes together."""
    size = 6 // processes
    data = TextClassificationData(Given(sentences, kind), batch_size=size, eval_batch_size=size)
    loss = LossSettings("balanced", focal=1.0)
    task = TextClassification(
        embedding_size=4, dropout=0.0, encoder=partial(SRU, hidden_size=4),
        optimizer=partial(SGD, lr=0.5), loss=loss,
    )  # fmt: skip
    return fit(task, processes, datamodule=data)


def predict(sequences: int, segment_length: int | None, processes: int) -> Report:
    """Trains on batches of 4 sequences, those of all processes together."""
    size = 4 // processes
    corpus = SyntheticSignals(
        per="step" if segment_length else "sequence", train_size=sequences, val_size=sequences,
        test_size=1, steps=19, interval=3.0,
    )  # fmt: skip
    data = SequencePredictionData(
        corpus, batch_size=size, eval_batch_size=size, segment_length=segment_length
    )
    task = SequencePrediction(
        dropout=0.0, encoder=partial(SRU, hidden_size=4), optimizer=partial(SGD, lr=0.5)
    )
    return fit(task, processes, datamodule=data)


def watch(clips: int, segment_length: int | None, processes: int) -> Report:
    """Trains on batches of 4 clips, those of all processes together."""
    size = 4 // processes
    corpus = SyntheticTools(
        per="frame" if segment_length else "clip", train_size=clips, val_size=clips, test_size=1,
        frames=11, interval=3.0,
    )  # fmt: skip
    data = VideoPredictionData(
        corpus, height=8, width=8, batch_size=size, eval_batch_size=size,
        segment_length=segment_length,
    )  # fmt: skip
    task = VideoPrediction(
        partial(ResNet, width=4, blocks=(1,)), dropout=0.0, encoder=partial(SRU, hidden_size=4),
        optimizer=partial(SGD, lr=0.5),
    )  # fmt: skip
    return fit(task, processes, datamodule=data)


def read_on(rank: int, processes: int) -> Report:
    """Trains on two tracks, of which the second has fewer targets, and then none."""
    ids = torch.tensor([[2, 3, 4, 5, 3, 3, 2], [3, 2, 5, 5, 2, 4, 4]])
    targets = ids[:, 1:].clone()
    targets[1, 2:] = IGNORED
    own = slice(None) if processes == 1 else slice(rank, rank + 1)
    first = StreamBatch(ids[own, :4], targets[own, :4], True)
    second = StreamBatch(ids[own, 4:6], targets[own, 4:], False)
    torch.manual_seed(1)
    task = LanguageModeling(
        embedding_size=4, dropout=0.0, encoder=partial(SRU, hidden_size=4),
        optimizer=partial(SGD, lr=0.5),
    )  # fmt: skip
    tokenizer = Words("space").with_vocabulary(["<eos>", "a", "b", "c"], PAD_UNKNOWN, lines=True)
    task.metadata = {"tokenizer": tokenizer.settings}
    task.build(task.metadata)
    batches: Any = DataLoader([first, second], batch_size=None)  # type: ignore[arg-type]
    return fit(task, processes, train_dataloaders=batches, val_dataloaders=batches)


def write_down(rank: int, processes: int) -> Report:
    """Trains on two utterances, of which the second is shorter, and then on one."""
    features = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(3)).double()
    features[1, 6:] = 0
    lengths, counts = torch.tensor([9, 6]), torch.tensor([3, 1])
    targets = torch.tensor([[1, 2, 1], [2, 0, 0]])

    def batch(rows: slice, said: Tensor) -> SpeechBatch:
        return SpeechBatch(features[rows], lengths[rows], targets[rows], said[rows], 9)

    if processes == 1:
        steps = [batch(slice(None), counts), batch(slice(1), counts)]
    else:
        # A process without an utterance gets a filler that has no transcript.
        own = slice(rank, rank + 1)
        steps = [batch(own, counts), batch(own, counts * torch.tensor([1, 0]))]
    torch.manual_seed(1)
    task = SpeechRecognition(
        subsampling=partial(Stacking, factor=2), dropout=0.0,
        augmentation=SpecAugmentSettings(frequency_masks=0, time_masks=0),
        encoder=partial(SRU, hidden_size=4), optimizer=partial(SGD, lr=0.5),
    )  # fmt: skip
    task.metadata = {
        "frontend": Frontend(None, "refuse", "none").settings,
        "tokenizer": Characters().fit(["ab"], (BLANK,)).settings,
        "num_mels": 3,
        "frame_seconds": 0.01,
    }
    task.build(task.metadata)
    batches: Any = DataLoader(steps, batch_size=None)  # type: ignore[arg-type]
    return fit(task, processes, train_dataloaders=batches, val_dataloaders=batches)


def translate(rank: int, processes: int) -> Report:
    """Trains on two sentences, of which the second has a longer translation, and then on one."""
    source, lengths = torch.tensor([[4, 5, 3], [5, 3, 0]]), torch.tensor([3, 2])
    target = torch.tensor([[2, 4, 0, 0], [2, 5, 4, 4]])
    labels = torch.tensor([[4, 3, IGNORED, IGNORED], [5, 4, 4, 3]])
    texts: list[tuple[str, str] | None] = [("a b", "x"), ("b", "y x x")]

    def batch(rows: slice, wanted: Tensor) -> TranslationBatch:
        ids = (source[rows], lengths[rows], target[rows], wanted[rows])
        return TranslationBatch(*ids, texts[rows], 9)

    fills = labels.clone()
    fills[1] = IGNORED
    if processes == 1:
        steps = [batch(slice(None), labels), batch(slice(1), labels)]
    else:
        # A process without a pair gets a filler that adds nothing to the loss and the scores.
        own = slice(rank, rank + 1)
        steps = [batch(own, labels), batch(own, fills)._replace(texts=texts[:1] * (1 - rank))]
    torch.manual_seed(1)
    task = Translation(
        embedding_size=4, translator=partial(
            AttentionRNN, encoder=partial(SRU, hidden_size=4), decoder=partial(SRU, hidden_size=4),
            dropout=0.0,
        ), optimizer=partial(SGD, lr=0.5),
    )  # fmt: skip
    sides = {
        side: Words("space").fit([words], SPECIALS).settings
        for side, words in (("source", "a b"), ("target", "x y"))
    }
    task.metadata = {**sides, "joint": False}
    task.build(task.metadata)
    batches: Any = DataLoader(steps, batch_size=None)  # type: ignore[arg-type]
    return fit(task, processes, train_dataloaders=batches, val_dataloaders=batches)


def answer(rank: int, processes: int) -> Report:
    """Trains on two questions, of which the second has a longer text, and then on one."""
    table = token_table(Annotator(Words())(["a b", "b a d c a b", "c", "a d"]))
    examples = [QuestionExample(0, 2, (1, 1)), QuestionExample(1, 3, None)]
    tokenizer = Words().with_vocabulary([*"abc"], PAD_UNKNOWN)
    settings = FeaturizerSettings(tokenizer, None, [], Windows(4, 1), no_answer=True)
    featurizer = QuestionFeaturizer(table, settings)
    starts = torch.arange(6) * 2
    contexts = [
        QuestionContext(str(i), "a b c d a b", starts, starts + 1, answers)
        for i, answers in enumerate((["b"], []))
    ]

    def batch(rows: slice) -> QuestionBatch:
        return featurizer.batch(examples[rows], contexts[rows])

    if processes == 1:
        steps = [batch(slice(None)), batch(slice(1))]
    else:
        # A process without a question gets a filler that adds nothing to the loss.
        steps = [batch(slice(rank, rank + 1)), batch(slice(rank, 1))]
    torch.manual_seed(1)
    task = QuestionAnswering(
        embedding_size=4, word_dropout=0.0, dropout=0.0, layers=ReaderLayers(2, 1),
        encoder=partial(SRU, hidden_size=4, num_layers=1), optimizer=partial(SGD, lr=0.5),
    )  # fmt: skip
    task.metadata = settings.metadata
    task.build(task.metadata)
    batches: Any = DataLoader(steps, batch_size=None)  # type: ignore[arg-type]
    return fit(task, processes, train_dataloaders=batches, val_dataloaders=batches)


def report(processes: int) -> dict[str, Report]:
    found = {f"{count} sentences": classify(count, processes) for count in SENTENCES}
    found |= {f"sentences with {kind}": classify(7, processes, kind) for kind in KINDS}
    for count, length in SEQUENCES:
        name = f"{count} sequences, segment_length {length}"
        found[name] = predict(count, length, processes)
    for count, length in CLIPS:
        found[f"{count} clips, segment_length {length}"] = watch(count, length, processes)
    rank = torch.distributed.get_rank() if processes > 1 else 0
    others = {
        "text": read_on, "speech": write_down, "translation": translate, "questions": answer,
    }  # fmt: skip
    return found | {name: run(rank, processes) for name, run in others.items()}


@pytest.fixture(scope="module")
def one() -> dict[str, Report]:
    return report(1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Report]]:
    folder = tmp_path_factory.mktemp("two")
    # Lightning leaves the seed of another test in the environment, which would change the weights.
    environment = {k: v for k, v in os.environ.items() if k != "PL_GLOBAL_SEED"}
    # Processes would wait half an hour for each other before they fail.
    done = python(__file__, folder, env=environment)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_two_processes_are_those_of_one(
    case: str, one: dict[str, Report], two: list[dict[str, Report]]
) -> None:
    expected, _ = one[case]
    assert all(step.abs().max() > 1e-3 for step in expected)
    for process in two:
        gradients, _ = process[case]
        torch.testing.assert_close(gradients, expected, atol=1e-10, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_figures_of_two_processes_are_those_of_one(
    case: str, one: dict[str, Report], two: list[dict[str, Report]]
) -> None:
    _, expected = one[case]
    own = {"text": {"train/perplexity", "val/perplexity"}, "speech": {"val/wer", "val/cer"}}
    own["translation"] = {"val/perplexity", "val/bleu", "val/chrf"}
    own["questions"] = {"val/exact_match", "val/f1"}
    kind = case.removeprefix("sentences with ") if case.startswith("sentences with") else "class"
    kind = "labels" if "clips" in case else kind
    scores = {f"val/{score}" for score in TARGETS[kind].scores}
    assert expected.keys() == {"train/loss", "val/loss"} | own.get(case, scores)
    for process in two:
        _, figures = process[case]
        torch.testing.assert_close(figures, expected, atol=0, rtol=1e-6)


if __name__ == "__main__":
    found = report(2)
    torch.save(found, Path(sys.argv[1]) / f"{torch.distributed.get_rank()}.pt")
