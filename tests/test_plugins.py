"""Encoders of other packages are found by import path, and by name through an entry point."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from srulight.commands.training import build

ROOT = Path(__file__).parents[1]

MODULE = '''
from torch import Tensor, nn
from srulight.encoders import Encoder


class Shout(Encoder):
    """Multiplies each word vector.

    Args:
        input_size: Features per input step, F.
        loudness: Factor.
    """

    def __init__(self, input_size: int, loudness: float = 2.0) -> None:
        super().__init__()
        self.input_size = self.output_size = input_size
        self.loudness = loudness

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return x * self.loudness
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs a tiny package, from a wheel made here, into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    wheel = folder / "srulight_shout-1.0-py3-none-any.whl"
    info = "srulight_shout-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("srulight_shout.py", MODULE)
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: srulight-shout\nVersion: 1.0\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", "[srulight.plugins]\nshout = srulight_shout\n")
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
@pytest.mark.parametrize("name", ["Shout", "srulight_shout.Shout"])
def test_a_plugin_trains_and_its_checkpoint_loads(site: Path, name: str, tmp_path: Path) -> None:
    fit = train(
        site, "fit", f"--config={ROOT / 'configs' / 'quickstart.yaml'}", f"--model.encoder={name}",
        "--model.encoder.loudness=3", "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2", f"--trainer.default_root_dir={tmp_path}",
    )  # fmt: skip
    assert fit.returncode == 0, fit.stderr
    best = next(tmp_path.rglob("best.ckpt"))
    test = train(site, "test", f"--ckpt_path={best}")
    assert test.returncode == 0, test.stderr
    assert "test/accuracy" in test.stdout
    assert "loudness: 3.0" in (best.parents[1] / "config.yaml").read_text()


def test_an_entry_point_makes_a_name_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srulight_whisper.py").write_text(MODULE.replace("Shout", "Whisper"))
    info = tmp_path / "srulight_whisper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: srulight-whisper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[srulight.plugins]\nwhisper = srulight_whisper\n")
    named = [
        f"--config={ROOT / 'configs' / 'quickstart.yaml'}", "--model.encoder=Whisper",
        "--model.encoder.loudness=3", "--trainer.logger=false",
        "--trainer.enable_checkpointing=false",
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        build(named, run=False)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = build(named, run=False).model.encoder_factory(4)
    assert (type(encoder).__name__, encoder.loudness, encoder.output_size) == ("Whisper", 3.0, 4)
