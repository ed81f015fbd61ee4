"""The networks of all tasks are exported, and compared on random and real input, step by step."""

import ast
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srulight.checkpoint import rebuild
from srulight.export.folder import export
from srulight.export.formats import Onnx, program_of
from srulight.export.settings import read_export
from srulight.export.tasks import NETWORKS, network_of
from srulight.runtime.errors import InputError
from srulight.tasks.base import Task
from srulight.tasks.pose_estimation import PoseEstimation
from srulight.tasks.question_answering import QuestionAnswering
from srulight.tasks.sequence_prediction import SequencePrediction
from srulight.tasks.speech_recognition import SpeechRecognition
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.translation import Translation
from srulight.tasks.video_prediction import BoostedVideoPrediction, VideoPrediction
from tests.export.models import TARGET, TOKENIZER, checkpoint_of, setting

SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"]
SIDE = TOKENIZER | {"specials": SPECIALS, "vocabulary": [*SPECIALS, "one", "two", "hundred"]}
SIDES = {"source": SIDE, "target": SIDE, "joint": True}
SPEECH = {
    "frontend": {
        "filter_bank": FilterBank(8000, 10).settings, "channels": "refuse",
        "normalization": "global", "mean": [1.0] * 10, "std": [2.0] * 10,
    },
    "tokenizer": TOKENIZER | {"specials": ["<blank>"], "vocabulary": ["<blank>", "one", "two"]},
    "num_mels": 10, "frame_seconds": 0.01,
}  # fmt: skip
STEPS = {
    "features": {
        "numbers": ["a", "b"], "mean": [1.0, 2.0], "std": [0.5, 3.0], "masked": [1],
        "categories": {"kind": ["x", "y"]}, "intervals": [1.0, 0.5],
    },
    "target": TARGET, "per": "sequence", "horizons": [], "sequence_column": None,
    "time_column": "time",
}  # fmt: skip
PLAIN = STEPS["features"] | {"categories": {}, "intervals": None}  # type: ignore[operator]
NUMBERS = {"kind": "numbers", "names": ["n"], "columns": [], "mean": [5.0], "std": [2.0]}
QUESTIONS: dict[str, Any] = {
    "tokenizer": TOKENIZER, "annotator": None, "tag_names": [], "no_answer": True,
    "windows": {"size": 40, "overlap": 10},
}  # fmt: skip
ONE_LAYER = {"hidden_size": 4, "num_layers": 1}
FRAMES = {"height": 8, "width": 12, "color": False, "step": 2, "mean": [90.0], "std": [40.0]}
LABELS = {"kind": "labels", "names": ["a", "b"], "columns": [], "counts": [3, 3], "totals": [6, 6]}
CLIPS = {"frames": FRAMES, "target": TARGET, "per": "clip"}
BODY = {"frames": FRAMES | {"color": True, "mean": [90.0] * 3, "std": [40.0] * 3},
        "points": {"names": ["hand", "elbow"], "pairs": [], "unit": "box"}}  # fmt: skip
SMALL = setting("video.frame_encoders.ResNet", width=4, blocks=[1], stem="large")


def case(kind: type[Task], metadata: dict[str, Any], *models: str, **settings: object) -> Any:  # noqa: ANN401
    return pytest.param(kind, metadata, models, settings, marks=pytest.mark.slow)


TASKS = {
    "speech": case(
        SpeechRecognition, SPEECH, "model", "features", "step",
        subsampling=setting("tasks.speech_recognition.Convolutions", channels=6, num_layers=2),
        encoder=setting("SRU", **ONE_LAYER),
    ),
    "speech both ways, stacked": case(
        SpeechRecognition, SPEECH, "model", "features",
        subsampling=setting("tasks.speech_recognition.Stacking", factor=3),
        encoder=setting("LSTM", **ONE_LAYER, bidirectional=True),
    ),
    "translation": case(
        Translation, SIDES, "encoder", "decoder", embedding_size=6, tied="all",
        translator=setting(
            "tasks.translation.AttentionRNN",
            encoder=setting("SRU", **ONE_LAYER, bidirectional=True),
            decoder=setting("GRU", **ONE_LAYER), attention="additive", input_feeding=True,
        ),
    ),
    "translation with a Transformer": case(
        Translation, SIDES, "encoder", "decoder", embedding_size=8,
        translator=setting(
            "tasks.translation.Transformer", num_layers=2, num_heads=2,
            feed_forward=setting("SRU", **ONE_LAYER),
        ),
    ),
    "sequences": case(
        SequencePrediction, STEPS, "model", "step", encoder=setting("SRU", **ONE_LAYER)
    ),
    "steps": case(
        SequencePrediction, STEPS | {"features": PLAIN, "per": "step", "target": NUMBERS},
        "model", "step", encoder=setting("LSTM", **ONE_LAYER),
    ),
    "pooled": case(
        SequencePrediction, STEPS, "model", pooling="mean", encoder=setting("SRU", **ONE_LAYER)
    ),
    "questions": case(
        QuestionAnswering, QUESTIONS, "model", embedding_size=4, tuned_words=3,
        layers={"document": 2, "question": 1},
        encoder=setting("SRU", **ONE_LAYER, bidirectional=True),
    ),
    "videos": case(
        VideoPrediction, CLIPS, "model", "step", frames=SMALL, encoder=setting("SRU", **ONE_LAYER)
    ),
    "frames, both ways": case(
        VideoPrediction, CLIPS | {"per": "frame", "target": NUMBERS}, "model",
        frames=setting("video.frame_encoders.ResNet", width=4, blocks=[1, 1], norm="batch"),
        encoder=setting("LSTM", **ONE_LAYER, bidirectional=True),
    ),
    "boosted": case(
        BoostedVideoPrediction, CLIPS | {"per": "frame", "target": LABELS}, "model", "step",
        frames=SMALL, encoder=setting("SRU", **ONE_LAYER), cnns=2, rnns=2,
    ),
    "heat maps": case(
        PoseEstimation, BODY, "model", "step", "points", frames=SMALL,
        head=setting("tasks.pose_estimation.HeatMapHead", channels=4, stages=2,
                     encoder=setting("ConvSRU", **ONE_LAYER)),
    ),
    "heat maps with a ConvLSTM": case(
        PoseEstimation, BODY, "model", "step", "points", frames=SMALL,
        head=setting("tasks.pose_estimation.HeatMapHead", channels=4,
                     encoder=setting("ConvLSTM", hidden_size=4, num_layers=2)),
    ),
    "coordinates": case(
        PoseEstimation, BODY, "model", "step", frames=SMALL,
        head=setting("tasks.pose_estimation.RegressionHead", vector_size=6,
                     encoder=setting("GRU", **ONE_LAYER)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "metadata", "models", "settings"), TASKS.values(), ids=TASKS)
def test_exported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Task],
    metadata: dict[str, Any],
    models: tuple[str, ...],
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr("srulight.export.comparison._SECONDS", 0.0)
    torch.manual_seed(0)
    checkpoint = checkpoint_of(kind, metadata, **settings)
    if kind is BoostedVideoPrediction:  # each network has a weight of its own after training
        checkpoint["state_dict"] |= {
            "alpha": torch.tensor([1, 0.3]), "beta": torch.tensor([1, -0.5])
        }  # fmt: skip
    task = rebuild("a.ckpt", checkpoint)
    folder = tmp_path / "model"
    said: list[str] = []
    export(checkpoint, network_of(task), Onnx(), folder, say=said.append)
    assert {path.stem for path in folder.glob("*.onnx")} == {*models}
    assert said[-1].startswith("models together" if len(models) > 1 else f"{models[-1]}: batch 32")
    loaded = rebuild("a.ckpt", read_export(folder))
    for name, weight in task.state_dict().items():
        assert loaded.state_dict()[name].equal(weight)
    args: list[Any] = []
    if kind is SpeechRecognition:
        args = [tmp_path / "a.wav"]
        with wave.open(str(args[0]), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.random.default_rng(0).integers(-9999, 9999, 8000, "<i2").tobytes())
    elif kind is SequencePrediction:
        args = [tmp_path / "a.npy"]
        np.save(args[0], [[1.0, np.nan], [np.nan, 4.0], [2.0, 0.5]])
    elif "frames" in metadata:
        args = [tmp_path / "a.npy"]
        np.save(args[0], np.random.default_rng(0).integers(0, 256, (7, 16, 9, 3), np.uint8))
    command = [sys.executable, folder / "example.py", *args]
    out = subprocess.run(command, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    if kind is SpeechRecognition:
        assert out.stdout.strip() == task.predict(args)[0].text
    elif kind is SequencePrediction and metadata["target"]["kind"] == "numbers":
        found = [float(line.strip("[]")) for line in out.stdout.splitlines()]
        (expected,) = task.predict(np.load(args[0])[None])
        assert found == pytest.approx([answer.values[0] for answer in expected], rel=1e-4)
    elif kind is Translation:
        task.search_with(beam_size=1)  # type: ignore[operator]
        assert out.stdout.strip() == task.predict(["four hundred thirty seven"])[0][0].text
    elif kind is PoseEstimation:
        rows = [[*ast.literal_eval(line).values()] for line in out.stdout.splitlines()]
        (pose,) = task.predict(args)
        # Resizing rounds colors, so that single ones differ by one.
        np.testing.assert_allclose(rows, pose.points, atol=0.05)
    elif kind is VideoPrediction and metadata["per"] == "clip":
        assert out.stdout.strip() == task.predict(args)[0].label
    elif "frames" in metadata:
        assert len(out.stdout.splitlines()) == 4  # every second of 7 frames
    elif kind is QuestionAnswering:
        ((best,),) = task.predict([("Anna moved to Rome. Ben sold apples.", "Where is Anna now?")])
        assert out.stdout.strip() == (best.text or "(no answer)")


def test_a_program_for_speech_takes_the_smallest_recording() -> None:
    # torch.export makes another program for a single step.
    kind, metadata, _, settings = TASKS["speech"].values
    task = rebuild("a.ckpt", checkpoint_of(kind, metadata, **settings))
    model = network_of(task).models()[0]
    assert model.name == "model"
    inputs = model.draw({"batch": 2, "frames": model.least["frames"]})
    program = program_of(model).module()
    for ours, theirs in zip(model.run(inputs), program(*inputs), strict=True):
        torch.testing.assert_close(theirs, ours)
    assert ours.max() == 2


def test_other_tasks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: one for kind, one in NETWORKS.items() if kind is not VideoPrediction}
    monkeypatch.setattr("srulight.export.tasks.NETWORKS", known)
    with pytest.raises(InputError, match="VideoPrediction cannot be exported; pass the checkpoint"):
        network_of(VideoPrediction())


def test_other_heads_are_refused() -> None:
    task = rebuild("a.ckpt", checkpoint_of(PoseEstimation, BODY, frames=SMALL))
    task.head = torch.nn.Identity()
    with pytest.raises(InputError, match="with a HeatMapHead or a RegressionHead, got Identity"):
        network_of(task)


def test_real_input_is_checked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = rebuild("a", checkpoint_of(QuestionAnswering, QUESTIONS, embedding_size=4))
    path = tmp_path / "none.json"
    path.write_text('{"data": []}')
    with pytest.raises(InputError, match=r"none\.json"):
        network_of(task).real([str(path)])
