"""Every failure of a command is reported in one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srulight import cli
from srulight.runtime.errors import InputError

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def wrapped(cause: Exception, text: str) -> ValueError:
    """Gives an error as jsonargparse raises it."""
    error = ValueError(text)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("say this"), "error: say this"),
        (wrapped(InputError("say this"), "and not this"), "error: say this"),
        (wrapped(ValueError("dropout is 2"), "Does not validate against any of the"), "error: dr"),
        (PermissionError(13, "Permission denied", "here"), "error: here: Permission denied"),
        (MemoryError(), "error: out of memory; reduce --data.batch_size or the size of the model"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "error: out of memory; reduce"),
        (
            RuntimeError("DataLoader worker (pid 23) is killed by signal: Killed. "),
            "error: a worker process that prepares batches was killed (Killed), possibly because",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 23, 24) exited unexpectedly"),
            "error: a worker process that prepares batches died, possibly because memory ran out",
        ),
        (
            ModuleNotFoundError("No module named 'x'", name="x.y"),
            "error: no module named 'x.y'; ",
        ),
        (ModuleNotFoundError("Requirement 'wandb>=0.1' not"), "error: wandb is not installed; run"),
        (
            TypeError("f() argument after ** must be a mapping, not NoneType"),
            "error: a group of options, such as --data.augmentation, cannot be null; set each of",
        ),
    ],
)
def test_what_is_known_is_a_sentence(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: str, args: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", run)
    with pytest.raises(SystemExit) as leaving:
        cli.main(["fit"])
    assert str(leaving.value.code).startswith(expected)
    assert "\n" not in str(leaving.value.code)


def test_a_fault_of_the_program_is_called_so_and_its_traceback_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(command: str, args: list[str]) -> None:
        raise KeyError("no such key")

    monkeypatch.setattr(cli, "_run", run)
    expected = rf"error: unexpected KeyError in {__file__}:\d+: 'no such key'; set SRULIGHT_DEBUG=1"
    with pytest.raises(SystemExit, match=expected):
        cli.main(["fit"])
    monkeypatch.setenv("SRULIGHT_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.main(["fit"])


def test_memory_that_cannot_be_had_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"out of memory \(could not allocate [\d,.]+ GB\)"):
        cli.main(
            [
                "fit", f"--config={CONFIG}", f"--trainer.default_root_dir={tmp_path}",
                "--model.embedding_size=1000000000000",
            ]
        )  # fmt: skip


WRITES = """
import sys
from srulight import cli
def run(command, args):
    while True:
        sys.stdout.write("line\\n")
cli._run = run
cli.main(["predict"])
"""


def test_nothing_is_said_where_nobody_reads_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITES], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_full_disk_behind_standard_output_is_a_sentence(lines: int) -> None:
    code = WRITES.replace("while True", f"for _ in range({lines})")
    full = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
    )
    os.close(full)
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_a_working_directory_that_is_gone_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # and back
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit, match="error: the working directory no longer exists; "):
        cli.main(["fit"])
