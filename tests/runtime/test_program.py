"""The commands in messages work when they are pasted into the user's terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

from srulight.cli import main
from srulight.runtime.program import program

ROOT = Path(__file__).parents[2]


def environment(folder: Path) -> Path:
    """Creates a folder like a virtual environment, whose python is a link."""
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "srulight").write_text("#!/bin/sh\n")
    (binaries / "srulight").chmod(0o755)
    return binaries


@pytest.mark.parametrize(
    ("script", "activated", "elsewhere"),
    [
        ("train.py", "python train.py", ".venv/bin/python train.py"),
        ("/else where/train.py", "python '/else where/train.py'",
         ".venv/bin/python '/else where/train.py'"),
        ("{bin}/srulight", "srulight", ".venv/bin/srulight"),
        ("{bin}/../lib/srulight/__main__.py", "python -m srulight", ".venv/bin/python -m srulight"),
        ("-c", "python -m srulight", ".venv/bin/python -m srulight"),
    ],
)  # fmt: skip
def test_names_what_the_shell_would_find(
    script: str,
    activated: str,
    elsewhere: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    binaries = environment(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(binaries / "python"))
    monkeypatch.setattr("sys.argv", [script.format(bin=binaries), "fit"])
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin")
    assert program() == activated
    monkeypatch.setenv("PATH", "/usr/bin")  # which may have another python
    assert program() == elsewhere
    monkeypatch.chdir(binaries)
    assert program().startswith(f"{binaries}/")


def test_modules_where_the_user_stands_are_found_and_shadow_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", ["first"])
    monkeypatch.chdir(tmp_path)
    main(["--version"])
    main(["--version"])
    assert sys.path == ["first", str(tmp_path)]


@pytest.mark.slow
@pytest.mark.parametrize("called", [["-m", "srulight"], [str(ROOT / "train.py")]])
def test_an_encoder_and_the_configurations_are_found_from_elsewhere(
    called: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "my_encoders.py").write_text(
        "from srulight.encoders import LSTM\n\n\nclass Own(LSTM):\n    '''One.'''\n"
    )
    done = subprocess.run(
        [sys.executable, *called, "fit", "--config", "configs/quickstart.yaml",
         "--model.encoder=my_encoders.Own", "--print_config"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "class_path: my_encoders.Own" in done.stdout
