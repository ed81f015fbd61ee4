"""The commands in the documents are understood by what they call, option by option.

Those in blocks and those between backticks; each is parsed, and nothing is trained or installed.
"""

import argparse
import inspect
import re
import runpy
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.distributed.run import get_args_parser as torchrun_parser

from srulight import tasks
from srulight.commands import bench, doctor, export, predict, push, quantize, serve
from srulight.commands.training import build
from srulight.experiments import compare, sweep
from tests.documents import COMMANDS, ONLY_PARSED, ONLY_READ, ROOT, STEPS, is_only_read, pipeline


class UnderstoodError(Exception):
    """All words were parsed, and what they ask for would begin."""


def understand_train(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    command, *args = words
    args = [a for a in args if not a.startswith("--ckpt_path") and a != "--print_config"]
    if command == "compare":
        compare.prepare(args)
    elif command == "sweep":
        understand_sweep(args, monkeypatch)
    elif command in ("predict", "generate"):
        understand_answering(command, args, monkeypatch)
    elif command == "doctor":
        doctor.parser().parse_args(args)
    elif command == "export":
        export.parser().parse_args([*args, "--ckpt_path=best"])
    elif command == "push":
        push.parser().parse_args([*args, "--ckpt_path=best"])
    elif command == "quantize":
        _, others = quantize.parser().parse_known_args(["--ckpt_path=best", *args])
        assert all(other.startswith(("--data.", "--trainer.")) for other in others)
    elif command == "serve":
        serve.parser().parse_args([*args, "--ckpt_path=best"])
    elif command == "bench":  # on any machine
        monkeypatch.setattr(bench, "get_device", torch.device)
        monkeypatch.setattr(bench, "usable_cores", lambda: 2)
        options = bench._parse(args)
        bench._choose(options.contenders, options.reference)
    elif any(arg.startswith("--config") for arg in args):
        # One processor is what there is.
        alone = ["--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"]
        quiet = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
        build([*args, *alone, *quiet], run=False)
    else:
        assert command in ("fit", "validate", "test")  # what a checkpoint says: see below


def understand_sweep(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise UnderstoodError

    monkeypatch.setattr(sweep, "Trials", stop)
    with pytest.raises(UnderstoodError):
        sweep.run(args)


def understand_answering(command: str, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for a task that takes the options."""

    def stop(*_: object) -> None:
        raise UnderstoodError

    for kind in vars(tasks).values():
        does = getattr(kind, "predictor" if command == "predict" else "generator", None)
        if inspect.isclass(kind) and inspect.isclass(does) and not inspect.isabstract(kind):
            task = kind()
            monkeypatch.setattr(predict, "open_task", lambda *_, task=task: task)
            monkeypatch.setattr(does, "run", stop)
            try:
                getattr(predict, command)([*args, "--ckpt_path=best"])
            except UnderstoodError:
                return
            except SystemExit:
                continue
    pytest.fail(f"no task takes all options of {command} {' '.join(args)}")


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
    targets = set(" ".join(re.findall(r"^([a-z -]+):(?!=)", text, re.MULTILINE)).split())
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
        for extras in re.findall(r"\[(.+)\]", word):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of all documents, whose modules are imported."""
    folder = tmp_path_factory.mktemp("written")
    for step in (step for all_ in STEPS.values() for step in all_ if step.file):
        (folder / step.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / step.file).write_text(step.text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        for path in folder.glob("*.py"):
            import_module(path.stem)
    return folder


@pytest.mark.parametrize("command", [step.text for step in COMMANDS if not is_only_read(step)])
def test_each_option_exists(command: str, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in written.glob("*.yaml"):
        command = re.sub(rf"(?<=[ =]){re.escape(path.name)}\b", str(path), command)
    command = re.sub(r"\bFILE\b|runs/\S+/(?:config|best).yaml", "configs/quickstart.yaml", command)
    for words in pipeline(command):
        while assigned := re.match(r"([A-Z_]+)=(.*)", words[0]):
            monkeypatch.setenv(assigned[1], assigned[2])
            del words[0]
        program, *args = [word for word in words if word != "..."]
        if program not in ("echo", "arecord"):
            UNDERSTAND[program](args, monkeypatch)


def test_nothing_is_left_out_without_need() -> None:
    for part in ONLY_PARSED:
        assert any(part in step.text for step in COMMANDS), part
    read = {name for step in COMMANDS for name in (step.text, step.text.split()[0])}
    assert read >= set(ONLY_READ)
    assert len(COMMANDS) > 60
    assert sum(step.is_python for all_ in STEPS.values() for step in all_) >= 4
