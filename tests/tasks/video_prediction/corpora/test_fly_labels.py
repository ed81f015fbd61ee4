"""Labels of behavior in a video of two flies."""

from pathlib import Path

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.video_prediction.corpora import FlyLabels


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the layout of the original, with 12 frames."""
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    frames = np.arange(12, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2)
    points = np.zeros((12, 2, 24, 2), dtype=np.float32)
    np.savez(tmp_path / "close_pair_128.npz", frames=frames, keypoints=points)
    lines = ["frame,male_moving,female_moving,close,male_wing_out"]
    lines += [f"{i},{i % 2},0,1,{int(i > 5)}" for i in range(12)]
    (tmp_path / "close_pair_labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_blocks(root: Path) -> None:
    videos = FlyLabels("array", block=2).read(root)
    assert videos.names == ("male_moving", "female_moving", "close", "male_wing_out")
    assert videos.test is not None
    spans = {name: [(c.first, c.length) for c in part] for name, part in videos.parts.items()}
    assert spans == {"train": [(0, 2), (4, 2), (8, 2), (10, 2)], "val": [(6, 2)], "test": [(2, 2)]}
    (val,) = videos.val
    assert val.targets.tolist() == [[0, 0, 1, 1], [1, 0, 1, 1]]
    (frame,) = val.video.frames(7, 1)
    assert frame.flatten().tolist() == [7] * 6


def test_errors(root: Path) -> None:
    with pytest.raises(InputError, match=r"close_pair\.mp4 is not in .*; set --data.root"):
        FlyLabels().read(root)
    with pytest.raises(InputError, match="expected at least 4 blocks of 50 frames, got 12 frames"):
        FlyLabels("array").read(root)
    with pytest.raises(InputError, match="block must be at least 1, got 0"):
        FlyLabels("array", block=0)
    table = root / "close_pair_labels.csv"
    table.write_text("\n".join(table.read_text().split("\n")[:-2]) + "\n")
    with pytest.raises(InputError, match=r"expected a row for each of the 12 frames .*, got 11"):
        FlyLabels("array", block=2).read(root)
