"""The documents can be followed.

The commands of ``train.py`` and the Python of each document run, in their order, in a folder with
small data, and each training is cut short; but for those that ``documents.py`` names, with reasons.
``test_readme_walk.py`` follows README, uncut.
"""

import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch

import srulight
from srulight.cli import main
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from tests.documents import DOCUMENTS, ROOT, STEPS, is_run, pipeline
from tests.test_compat import import_published
from tests.video.videos import encode, moving_square

NEWEST = {
    'srulight.load("best.ckpt")': "configs/speech.yaml",
    "configs/quickstart.yaml --ckpt_path=last": "configs/quickstart.yaml",
}
"""What is trained before a step, of which the document takes for granted that it is there."""
SHORT = [
    "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
WORDS = """\\data\\
ngram 1=4

\\1-grams:
-1 <s>
-1 </s>
-1 one
-1 two

\\end\\
"""
SMALL = [f"--data.corpus.{split}_size={n}" for split, n in (("train", 60), ("val", 6), ("test", 6))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    Path("sentences.txt").write_text("dull .\nnot dull .\n")
    Path("my_folder").mkdir()
    for name in ("train", "val", "test"):
        Path(f"my_folder/{name}.csv").write_text("review,stars\ndull,1\nnot dull,5\nbad,1\n")
    for split in ("train", "test"):
        for label in ("negative", "positive"):
            Path(f"reviews/{split}/{label}").mkdir(parents=True)
            for i in range(4):
                Path(f"reviews/{split}/{label}/{i}.txt").write_text(f"{label} film {i}\n")
    Path("rooms").mkdir()
    table = ["sequence,time,temperature,humidity,room,target"]
    table += [
        f"{one},{t},{20 + t},,{one},{'empty' if one < 'c' else ''}"
        for one in "abcd"
        for t in (1, 2)
    ]
    Path("rooms/train.csv").write_text("\n".join([*table, "e,1,2,3,hall,occupied"]) + "\n")
    write_videos()
    Path("signals.csv").write_text("signal_a,signal_b,signal_c\n0.1,,2\n1,2,3\n")
    Path("lines.txt").write_text("six\ntwo hundred\n")
    Path("words.arpa").write_text(WORDS)
    articles = SyntheticStories(2, 1, 1).read(tmp_path).test
    assert articles is not None
    paragraph = articles[0]
    Path("text.txt").write_text(paragraph.context)
    asked = [
        {"id": q.id, "question": q.text, "answers": [{"text": "x", "answer_start": 0}]}
        for q in paragraph.questions
    ]
    data = {"data": [{"paragraphs": [{"context": paragraph.context, "qas": asked}]}]}
    Path("questions.json").write_text(json.dumps(data))
    soundfile = pytest.importorskip("soundfile")
    Path("FOLDER/clips").mkdir(parents=True)
    said = SyntheticDTMF(8, 2, 2).read(tmp_path)
    for name, utterances in (("train", said.train), ("val", said.val)):
        rows = []
        for i, utterance in enumerate(utterances):
            samples, rate = soundfile.read(utterance.audio[0], dtype="float32")
            soundfile.write(f"FOLDER/clips/{name}{i}.flac", samples, rate)
            rows.append({"audio": f"clips/{name}{i}.flac", "text": "one"})
        Path(f"FOLDER/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copy("FOLDER/clips/val0.flac", "recording.flac")
    for name in ("train", "val", "test", "text"):
        Path(f"FOLDER/{name}.txt").write_text("the plot was not dull but charming .\n" * 600)
    return tmp_path


def write_videos() -> None:
    """Writes the videos that the guides name, with their labels and key points."""
    frames = moving_square(8)
    rows = ["file,class,part"]
    for name, part in (("golf/001", "train"), ("golf/002", "test"), ("pullup/001", "train")):
        Path("clips", name).parent.mkdir(parents=True, exist_ok=True)
        encode(Path("clips", f"{name}.mp4"), frames)
        rows += [f"{name}.mp4,{name[:4]},{part}"] * 2
    Path("clips/clips.csv").write_text("\n".join(rows) + "\n")
    Path("mice").mkdir()
    rows = ["file,labels,part"]
    for day, part in (("monday", "train"), ("tuesday", "test")):
        encode(Path("mice", f"{day}.mp4"), frames)
        points = [f"{i},4,{i},20.5,12" for i in range(8)]
        table = ["frame,nose_x,nose_y,tail_x,tail_y", *points]
        Path("mice", f"{day}.csv").write_text("\n".join(table) + "\n")
        rows.append(f"{day}.mp4,{day}.csv,{part}")
    Path("mice/clips.csv").write_text("\n".join(rows) + "\n")
    for name in ("operation", "monday"):
        encode(Path(f"{name}.mp4"), frames)


def assigned(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Splits a command into what it sets in the environment, and what it runs."""
    count = next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    pairs = (word.partition("=") for word in words[:count])
    return {name: value for name, _, value in pairs}, words[count:]


def run(words: list[str], epochs: int, fed: bytes, capsys: pytest.CaptureFixture[str]) -> bytes:
    """Runs train.py; gives what it prints."""
    command, *args = words
    if command == "fit":
        args += [*SHORT, f"--trainer.max_epochs={epochs}"]
        if not any("--data.corpus" in arg or "--ckpt_path" in arg for arg in args):
            args += SMALL
    elif command == "sweep":
        args += [*SHORT, *SMALL, "--trials=2", "--epochs=1"]
    elif command == "test":
        args += ["--trainer.enable_progress_bar=false"]
    elif command == "generate":
        args = [re.sub("length=.*", "length=5", arg) for arg in args]
    Path("fed").write_bytes(fed)
    with open("fed", encoding="utf-8") as stdin, pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdin", stdin)
        capsys.readouterr()
        main([command, *args])
    said = capsys.readouterr().out
    output = [arg.partition("=")[2] for arg in args if arg.startswith("--output=")]
    return Path(output[0]).read_bytes() if output and Path(output[0]).is_file() else said.encode()


def recorded() -> bytes:
    """What a microphone gives: 16-bit PCM."""
    samples = pytest.importorskip("soundfile").read("recording.flac", dtype="int16")[0]
    return bytes(samples.tobytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d.name != "README.md" and any(map(is_run, STEPS[d]))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_document_can_be_followed(
    document: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs, done = 0, 0
    names: dict[str, object] = {
        "srulight": srulight,
        "x": torch.randn(2, 20, 300),
        "lengths": torch.tensor([20, 7]),
        "samples": torch.randn(8000) / 10,
    }
    recipe = re.search(r"^train: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    for step in STEPS[document]:
        if step.file:
            Path(step.file).parent.mkdir(parents=True, exist_ok=True)
            Path(step.file).write_text(step.text, encoding="utf-8")
            continue
        for part, config in NEWEST.items():
            if part in step.text:
                epochs += 1
                run(["fit", f"--config={config}"], epochs, b"", capsys)
        if step.is_python:
            checkpoints = sorted(Path().glob("runs/**/best.ckpt"), key=os.path.getmtime)
            if checkpoints:
                shutil.copy(checkpoints[-1], "best.ckpt")
            with warnings.catch_warnings():
                if "import sru\n" in step.text:
                    warnings.simplefilter("ignore")  # of a package that is not ours
                    import_published()
                exec(compile(step.text, f"{document.name}: {step.text[:40]}", "exec"), names)
            done += 1
            continue
        if not is_run(step) and step.text != "make train":
            continue
        lines = recipe[1].split("\n") if step.text == "make train" else [step.text]
        for line in lines:
            *before, words = pipeline(line.replace("$(BIN)/", "").strip()) or [[]]
            environment, words = assigned(words) if words else ({}, words)
            if words[:2] != ["python", "train.py"]:
                continue
            fed = b""
            for program, *args in before:
                fed = recorded() if program == "arecord" else f"{' '.join(args)}\n".encode()
            if words[2] == "fit":
                epochs = epochs + 1 if any("--ckpt_path" in word for word in words) else 1
            with pytest.MonkeyPatch.context() as patched:
                for name, value in environment.items():
                    patched.setenv(name, value)
                out = run(words[2:], epochs, fed, capsys)
            done += 1
            # Of two batches speech is not learnt: a stream may be one of no words.
            expected = {"fit": b"epoch ", "test": b"test/"}.get(words[2], b"\n")
            assert expected in out, line
    assert done >= 1


def test_what_is_trained_before_is_asked_for() -> None:
    texts = [step.text for all_ in STEPS.values() for step in all_]
    for part in NEWEST:
        assert any(part in text for text in texts), part
