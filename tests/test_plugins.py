"""Encoders of other packages: by import path, and by name through an entry point.

The package is that of docs/how_to/plugin_package.md.
"""

import os
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from srulight.commands.training import build
from tests.documents import ROOT, STEPS
from tests.python import python

FILES = {step.file: step.text for step in STEPS[ROOT / "docs" / "how_to" / "plugin_package.md"]}
MODULE = FILES["my_plugin.py"]
PROJECT = tomllib.loads(FILES["pyproject.toml"])["project"]
ENTRY_POINTS = "[srulight.plugins]\n" + "".join(
    f"{name} = {module}\n" for name, module in PROJECT["entry-points"]["srulight.plugins"].items()
)
METADATA = f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"


def install(site: Path, name: str = "my_plugin", module: str = MODULE) -> None:
    """Puts the package where pip would, under the given name of its module."""
    info = site / "my_plugin-1.0.dist-info"
    info.mkdir()
    (site / f"{name}.py").write_text(module)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS.replace("my_plugin\n", f"{name}\n"))


def train(site: Path, *args: str) -> CompletedProcess[str]:
    return python(ROOT / "train.py", *args, env={**os.environ, "PYTHONPATH": str(site)})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Doubling", "my_plugin.Doubling"])
def test_a_plugin_trains_and_its_checkpoint_loads(name: str, tmp_path: Path) -> None:
    install(tmp_path)
    fit = train(
        tmp_path, "fit", f"--config={ROOT / 'configs' / 'quickstart.yaml'}",
        f"--model.encoder={name}",
        "--model.encoder.factor=3", "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2", f"--trainer.default_root_dir={tmp_path / 'runs'}",
    )  # fmt: skip
    assert fit.returncode == 0, fit.stderr
    best = next(tmp_path.rglob("best.ckpt"))
    test = train(tmp_path, "test", f"--ckpt_path={best}")
    assert test.returncode == 0, test.stderr
    assert "test/accuracy" in test.stdout
    assert "factor: 3.0" in (best.parents[1] / "config.yaml").read_text()


def test_an_entry_point_makes_a_name_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "whisper_plugin", MODULE.replace("Doubling", "Whisper"))
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
