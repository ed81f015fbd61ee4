"""Random changes of training clips, checked by hand on small frames."""

import math

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.video.augmentation import Augmentation, Change
from srulight.video.dataset import Augmenter, ClipDataset, StoredClip

SQUARE = torch.ones(2)
NAN = math.nan


def with_pixel(height: int, width: int, row: int, column: int) -> Tensor:
    """Returns two black frames, (2, 1, H, W), with a white pixel in both."""
    frames = torch.zeros(2, 1, height, width, dtype=torch.uint8)
    frames[:, 0, row, column] = 255
    return frames


def center(row: int, column: int) -> Tensor:
    """Returns the center of a pixel as a key point, (1, 1, 2)."""
    return torch.tensor([[[column + 0.5, row + 0.5]]])


def test_flip_moves_a_pixel_and_its_point() -> None:
    change = Change(flip=True)
    assert torch.equal(change.frames(with_pixel(3, 5, 1, 0), SQUARE), with_pixel(3, 5, 1, 4))
    moved = change.points(center(1, 0), (3, 5), SQUARE, [])
    assert torch.equal(moved, center(1, 4))


def test_flip_exchanges_pairs() -> None:
    points = torch.tensor([[[1.0, 0.0], [2.0, 1.0], [NAN, NAN]]])
    moved = Change(flip=True).points(points, (4, 10), SQUARE, [(0, 2)])
    expected = torch.tensor([[[NAN, NAN], [8.0, 1.0], [9.0, 0.0]]])
    torch.testing.assert_close(moved, expected, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # On a frame of 5 x 5 pixels, whose center is the pixel (2, 2).
        (Change(rotation=90), (3, 3)),  # clockwise: (1, 3) is up and right, (3, 3) down and right
        (Change(rotation=-90), (1, 1)),
        (Change(rotation=180), (3, 1)),
        (Change(shift=(0.2, 0.4)), (3, 4)),  # 1 pixel to the right and 2 downward
        (Change(flip=True, rotation=90), (1, 3)),  # the mirror image comes first: (1, 1)
        (Change(rotation=90, shift=(-0.2, 0.0)), (3, 2)),  # the shift comes last
    ],
)
def test_pixel_and_point_move_together(change: Change, expected: tuple[int, int]) -> None:
    frames = change.frames(with_pixel(5, 5, 1, 3), SQUARE)
    assert torch.equal(frames, with_pixel(5, 5, *expected))
    moved = change.points(center(1, 3), (5, 5), SQUARE, [])
    torch.testing.assert_close(moved, center(*expected))


def test_scale_is_about_the_center() -> None:
    frames = torch.arange(8, dtype=torch.uint8).mul(10).expand(1, 1, 4, 8)
    # Twice as large, each pixel lies a quarter between two: x = 4 + (x' - 4) / 2.
    changed = Change(scale=2.0).frames(frames, SQUARE)
    assert changed[0, 0, 0].tolist() == [18, 22, 28, 32, 38, 42, 48, 52]
    points = torch.tensor([[[3.0, 2.0], [0.0, 2.0]]])
    moved = Change(scale=2.0).points(points, (4, 8), SQUARE, [])
    torch.testing.assert_close(moved, torch.tensor([[[2.0, 2.0], [NAN, NAN]]]), equal_nan=True)


def test_edge_is_repeated() -> None:
    frames = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 1, 2, 4)
    changed = Change(shift=(0.5, 0.0)).frames(frames, SQUARE)
    assert changed[0, 0, 0].tolist() == [10, 10, 10, 20]


def test_angles_are_those_of_the_video() -> None:
    # The frames are half as wide as the video, so that 90 degrees turn x = 1 into y = 2.
    scale = torch.tensor([2.0, 1.0])
    points = torch.tensor([[[3.0, 4.0]]])  # 1 to the right of the center of 4 x 8 pixels
    moved = Change(rotation=90).points(points, (8, 4), scale, [])
    torch.testing.assert_close(moved, torch.tensor([[[2.0, 6.0]]]))


def test_brightness_and_contrast() -> None:
    frames = torch.tensor([0, 100, 200], dtype=torch.uint8).expand(1, 1, 1, 3)
    brighter = Change(brightness=0.4).frames(frames, SQUARE)
    assert brighter.flatten().tolist() == [102, 202, 255]
    stronger = Change(contrast=2.0).frames(frames, SQUARE)
    assert stronger.flatten().tolist() == [0, 72, 255]  # 127.5 - 2 * 27.5 = 72.5, to even


def test_draws_depend_on_seed_epoch_and_clip_alone() -> None:
    settings = Augmentation(True, 0.1, 0.2, 30, 0.1, 0.2)
    drawn = {settings.draw(*where) for where in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))}
    assert len(drawn) == 4
    torch.manual_seed(5)
    assert settings.draw(1, 2, 3) == settings.draw(1, 2, 3)


def test_draws_are_within_their_ranges() -> None:
    settings = Augmentation(True, 0.1, 0.25, 30, 0.2, 0.5)
    drawn = [settings.draw(0, 0, clip) for clip in range(400)]
    assert 0.4 < sum(change.flip for change in drawn) / 400 < 0.6
    for values, least, most in (
        ([change.shift[0] for change in drawn], -0.1, 0.1),
        ([change.shift[1] for change in drawn], -0.1, 0.1),
        ([change.scale for change in drawn], 1 / 1.25, 1.25),
        ([change.rotation for change in drawn], -30, 30),
        ([change.brightness for change in drawn], -0.2, 0.2),
        ([change.contrast for change in drawn], 1 / 1.5, 1.5),
    ):
        assert least <= min(values) < least + 0.1 * (most - least)
        assert most - 0.1 * (most - least) < max(values) <= most
    assert Augmentation().draw(0, 0, 0) == Change()


@pytest.mark.parametrize(
    "wrong", [{"shift": 1.5}, {"scale": -1}, {"rotation": 200}, {"brightness": 2}, {"contrast": -1}]
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} must be"):
        Augmentation(**wrong)  # type: ignore[arg-type]


def clips(points: bool) -> ClipDataset:
    """Returns two clips of random frames whose key points are at the same place as a pixel."""
    generator = torch.Generator().manual_seed(3)
    stored = []
    for i, length in enumerate((6, 4)):
        frames = torch.randint(0, 256, (length, 1, 8, 8), generator=generator, dtype=torch.uint8)
        targets = torch.full((length, 1, 2), 4.0) if points else torch.tensor(i)
        stored.append(StoredClip(frames, targets, SQUARE, str(i)))
    settings = Augmentation(True, 0.2, 0.3, 40, 0.1, 0.2)
    return ClipDataset(stored, points, Augmenter(settings, 7, [] if points else None))


def test_segments_of_a_clip_change_alike() -> None:
    dataset = clips(points=True)
    dataset.epoch = 3
    whole = dataset.batch([0, 1])
    segments = [dataset.batch([0, 1], first, 3) for first in (0, 3)]
    assert torch.equal(torch.cat([one.frames[:1] for one in segments], 1), whole.frames[:1])
    torch.testing.assert_close(
        torch.cat([one.targets[:1] for one in segments], 1), whole.targets[:1], equal_nan=True
    )
    # All frames of a clip change alike as well.
    change = Augmentation(True, 0.2, 0.3, 40, 0.1, 0.2).draw(7, 3, 1)
    for i in range(4):
        own = change.frames(dataset.clips[1].frames[i : i + 1], SQUARE)
        assert torch.equal(whole.frames[1, i : i + 1], own)


def test_epochs_differ_and_classes_remain() -> None:
    dataset = clips(points=False)
    batches = []
    for epoch in (0, 1, 0):
        dataset.epoch = epoch
        batches.append(dataset.batch([1, 0]))
    assert not torch.equal(batches[0].frames, batches[1].frames)
    assert torch.equal(batches[0].frames, batches[2].frames)
    assert batches[1].targets.tolist() == [1, 0]
