"""What the documents tell people to type is understood, and what they tell to run runs.

Each command in a block or between backticks is parsed, options and all, by the program that it
calls. The commands of ``train.py`` and the Python of each document also run, in their order, in a
folder with small data, and each training is cut short; but for those below.
"""

import argparse
import json
import os
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch.distributed.run import get_args_parser as torchrun_parser

import srulight
from srulight.cli import main
from srulight.commands import generate, predict
from srulight.commands.training import build
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PROGRAMS = [
    "arecord", "compute-sanitizer", "cuobjdump", "echo", "export", "make", "nvcc", "pip",
    "pre-commit", "python", "sbatch", "source", "taskset", "torchrun",
]  # fmt: skip

ONLY_PARSED = {
    "configs/sst": "the Stanford Sentiment Treebank is not at hand",
    "configs/shakespeare.yaml": "tiny Shakespeare is not at hand",
    "configs/squad.yaml": "SQuAD is not at hand",
    "configs/multi30k.yaml": "its subwords take thousands of sentences",
    "python train.py fit --config FILE --trainer.devices=4": "4 processes; tests/training does it",
    "predict ...": "no whole command",
    "torchrun": "several machines; tests/training/test_clusters.py does it",
    "sbatch": "SLURM; tests/training/test_clusters.py imitates it",
}
ONLY_READ = {
    "compute-sanitizer": "a GPU",
    "cuobjdump": "CUDA",
    "export": "what a shell does",
    "nvcc": "CUDA",
    "pre-commit": "hooks of a checkout",
    "source": "what a shell does",
    "python -m pytest -m cuda": "would run these tests",
    "python -m spacy download en_core_web_sm": "downloads",
    "python -m srulight": "no whole command",
    "python train.py": "no whole command",
    "python benchmarks/language_modelling.py words": "no whole command",
    "python benchmarks/parity.py": "takes no options",
}
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
SMALL = [f"--data.corpus.{split}_size={n}" for split, n in (("train", 60), ("val", 6), ("test", 6))]


class Step(NamedTuple):
    """Something to type or to write in Python.

    Attributes:
        text: A command, or a block of Python.
        is_python: Whether it is the latter.
        is_whole: Whether it stands in a block; what stands in a sentence may lack a part.
    """

    text: str
    is_python: bool
    is_whole: bool


def steps(document: Path) -> list[Step]:
    """Gives the commands and the Python of a document, in order."""
    found = []
    text, end = document.read_text(encoding="utf-8"), 0
    for fence in [*FENCE.finditer(text), None]:
        between = text[end : fence.start() if fence else len(text)]
        for span in re.findall(r"`([^`]+)`", between):
            if is_command(command := " ".join(span.split())):
                found.append(Step(command, False, False))
        if fence is None:
            break
        end = fence.end()
        if fence[1] == "python":
            found.append(Step(fence[2], True, True))
            continue
        for line in fence[2].replace("\\\n", " ").splitlines():
            if is_command(line):
                found.append(Step(line.strip(), False, True))
    return found


def is_command(line: str) -> bool:
    words = line.split()
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    return len(words) > 1 and words[0] in PROGRAMS


def is_only_parsed(step: Step) -> bool:
    return any(part in step.text for part in ONLY_PARSED)


def is_only_read(step: Step) -> bool:
    return step.text in ONLY_READ or step.text.split()[0] in ONLY_READ


def is_run(step: Step) -> bool:
    is_complete = not (is_only_parsed(step) or is_only_read(step))
    return step.is_python or ("python train.py" in step.text and is_complete)


STEPS = {document: steps(document) for document in DOCUMENTS}
COMMANDS = list(dict.fromkeys(s for all_ in STEPS.values() for s in all_ if not s.is_python))


def pipeline(command: str) -> list[list[str]]:
    """Splits a command as a shell does: the words of each program, of which one feeds the next."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    words = list(lexer)
    bars = [i for i, word in enumerate(words) if word == "|"]
    return [words[i:j] for i, j in zip([0, *(b + 1 for b in bars)], [*bars, None], strict=True)]


# What each program makes of its words. Nothing is trained or installed.


class UnderstoodError(Exception):
    """All words were parsed, and what they ask for would begin."""


def understand_train(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command, *args = words
    args = [arg for arg in args if not arg.startswith("--ckpt_path")]
    if command in ("predict", "generate"):

        def stop(*_: object) -> None:
            raise UnderstoodError

        module = predict if command == "predict" else generate
        monkeypatch.setattr(module, "open_task", stop)
        with pytest.raises(UnderstoodError):
            module.run([*args, "--ckpt_path=best"])
    elif any(arg.startswith("--config") for arg in args):
        # One processor is what there is.
        alone = ["--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"]
        quiet = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
        build([*args, *alone, *quiet], run=False)
    else:
        assert command in ("fit", "validate", "test")  # what a checkpoint says: see below


def understand_benchmark(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, *args = words
    parse = argparse.ArgumentParser.parse_known_args

    def stop_with_rest(parser: argparse.ArgumentParser, given: list[str] | None = None) -> None:
        raise UnderstoodError(*parse(parser, given))

    def stop(parser: argparse.ArgumentParser, given: list[str] | None = None) -> None:
        known, rest = parse(parser, given)
        if rest:
            parser.error(f"unrecognized arguments: {rest}")
        raise UnderstoodError(known, [])

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop_with_rest)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", words)
    if args == ["--help"]:
        with pytest.raises(SystemExit, match=r"^0$"):
            runpy.run_path(path, run_name="__main__")
        return
    with pytest.raises(UnderstoodError) as understood:
        runpy.run_path(path, run_name="__main__")
    known, rest = understood.value.args
    if rest:  # goes to train.py
        monkeypatch.undo()
        names = {"words": "wikitext2", "characters": "shakespeare"}
        setting = getattr(known, "setting", "")
        config = getattr(known, "config", f"configs/{names.get(setting, setting)}.yaml")
        understand_train(["fit", f"--config={config}", *rest], monkeypatch)


def understand_make(words: list[str], _: pytest.MonkeyPatch) -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):(?!=)", text, re.MULTILINE))
    for word in words:
        variable, is_setting, value = word.partition("=")
        if not is_setting:
            assert word in targets
            continue
        assert f"$({variable})" in text or f"$(if $({variable})" in text
        if variable == "OPTIONS":
            gpu_session = __import__("gpu_session")
            if value != "--help":
                gpu_session.parse(value.split())


def understand_pip(words: list[str], _: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words:
        for extra in re.findall(r"\[(.+)\]", word):
            assert extra in project["optional-dependencies"]
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).is_file()


def understand_torchrun(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rank = [word.replace("=N", "=0") for word in words]
    known = torchrun_parser().parse_args(rank)
    assert known.training_script == "train.py"
    understand_train(known.training_script_args, monkeypatch)


def understand_sbatch(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script, *args = words
    assert 'train.py fit "$@"' in Path(script).read_text()
    understand_train(["fit", *args], monkeypatch)


def understand_python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[0] == "train.py":
        understand_train(words[1:], monkeypatch)
    else:
        understand_benchmark(words, monkeypatch)


UNDERSTAND: dict[str, Callable[[list[str], pytest.MonkeyPatch], None]] = {
    "make": understand_make,
    "pip": understand_pip,
    "python": understand_python,
    "sbatch": understand_sbatch,
    "taskset": lambda words, patch: understand_python(words[words.index("python") + 1 :], patch),
    "torchrun": understand_torchrun,
}


@pytest.mark.parametrize("command", [step.text for step in COMMANDS if not is_only_read(step)])
def test_each_option_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for words in pipeline(re.sub(r"\bFILE\b", "configs/quickstart.yaml", command)):
        while re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        program, *args = [word for word in words if word != "..."]
        if program not in ("echo", "arecord"):
            UNDERSTAND[program](args, monkeypatch)


# What runs.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("sentences.txt").write_text("dull .\nnot dull .\n")
    Path("my_folder").mkdir()
    for name in ("train", "val", "test"):
        Path(f"my_folder/{name}.csv").write_text("review,stars\ndull,1\nnot dull,5\nbad,1\n")
    Path("lines.txt").write_text("six\ntwo hundred\n")
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
    return tmp_path


def run(words: list[str], epochs: int, fed: bytes, capsys: pytest.CaptureFixture[str]) -> bytes:
    """Runs train.py; gives what it prints."""
    command, *args = words
    if command == "fit":
        args += [*SHORT, f"--trainer.max_epochs={epochs}"]
        if not any("--data.corpus" in arg or "--ckpt_path" in arg for arg in args):
            args += SMALL
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
    return (Path(output[0]).read_text() if output else said).encode()


def recorded() -> bytes:
    """What a microphone gives: 16-bit PCM."""
    samples = pytest.importorskip("soundfile").read("recording.flac", dtype="int16")[0]
    return bytes(samples.tobytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if any(map(is_run, STEPS[document]))],
    ids=lambda path: path.name,
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
        for part, config in NEWEST.items():
            if part in step.text:
                epochs += 1
                run(["fit", f"--config={config}"], epochs, b"", capsys)
        if step.is_python:
            checkpoints = sorted(Path().glob("runs/**/best.ckpt"), key=os.path.getmtime)
            if checkpoints:
                shutil.copy(checkpoints[-1], "best.ckpt")
            exec(compile(step.text, f"{document.name}: {step.text[:40]}", "exec"), names)
            done += 1
            continue
        if not is_run(step) and step.text != "make train":
            continue
        lines = recipe[1].split("\n") if step.text == "make train" else [step.text]
        for line in lines:
            *before, words = pipeline(line.replace("$(BIN)/", "").strip()) or [[]]
            if words[:2] != ["python", "train.py"]:
                continue
            fed = b""
            for program, *args in before:
                fed = recorded() if program == "arecord" else f"{' '.join(args)}\n".encode()
            epochs += words[2] == "fit"
            out = run(words[2:], epochs, fed, capsys)
            done += 1
            # Of two batches speech is not learnt: a stream may be one of no words.
            expected = {"fit": b"epoch ", "test": b"test/"}.get(words[2], b"\n")
            assert expected in out, line
    assert done >= 1


def test_nothing_is_left_out_without_need() -> None:
    for part in ONLY_PARSED:
        assert any(part in step.text for step in COMMANDS), part
    texts = [step.text for all_ in STEPS.values() for step in all_]
    for part in NEWEST:
        assert any(part in text for text in texts), part
    read = {name for step in COMMANDS for name in (step.text, step.text.split()[0])}
    assert read >= set(ONLY_READ)
    assert len(COMMANDS) > 60
    assert sum(step.is_python for all_ in STEPS.values() for step in all_) >= 4
