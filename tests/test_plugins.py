"""Encoders of other packages: by import path, and by name through an entry point.

The package is that of docs/how_to/plugin_package.md.
"""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from srulight.commands.training import build
from tests.documents import ROOT, STEPS

FILES = {step.file: step.text for step in STEPS[ROOT / "docs" / "how_to" / "plugin_package.md"]}
MODULE = FILES["my_plugin.py"]
PROJECT = tomllib.loads(FILES["pyproject.toml"])["project"]
ENTRY_POINTS = "[srulight.plugins]\n" + "".join(
    f"{name} = {module}\n" for name, module in PROJECT["entry-points"]["srulight.plugins"].items()
)
METADATA = f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs a tiny package, from a wheel made here, into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    wheel = folder / "my_plugin-1.0-py3-none-any.whl"
    info = "my_plugin-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("my_plugin.py", MODULE)
        file.writestr(f"{info}/METADATA", METADATA)
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", ENTRY_POINTS)
        file.writestr(f"{info}/RECORD", "")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target",
         str(folder / "site"), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "site"


def train(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *args],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Doubling", "my_plugin.Doubling"])
def test_a_plugin_trains_and_its_checkpoint_loads(site: Path, name: str, tmp_path: Path) -> None:
    fit = train(
        site, "fit", f"--config={ROOT / 'configs' / 'quickstart.yaml'}", f"--model.encoder={name}",
        "--model.encoder.factor=3", "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2", f"--trainer.default_root_dir={tmp_path}",
    )  # fmt: skip
    assert fit.returncode == 0, fit.stderr
    best = next(tmp_path.rglob("best.ckpt"))
    test = train(site, "test", f"--ckpt_path={best}")
    assert test.returncode == 0, test.stderr
    assert "test/accuracy" in test.stdout
    assert "factor: 3.0" in (best.parents[1] / "config.yaml").read_text()


def test_an_entry_point_makes_a_name_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whisper_plugin.py").write_text(MODULE.replace("Doubling", "Whisper"))
    info = tmp_path / "my_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS.replace("my_plugin\n", "whisper_plugin\n"))
    named = [
        f"--config={ROOT / 'configs' / 'quickstart.yaml'}", "--model.encoder=Whisper",
        "--model.encoder.factor=3", "--trainer.logger=false",
        "--trainer.enable_checkpointing=false",
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        build(named, run=False)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = build(named, run=False).model.encoder_factory(4)
    assert (type(encoder).__name__, encoder.factor, encoder.output_size) == ("Whisper", 3.0, 4)
