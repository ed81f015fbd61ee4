"""Chunks of a sequence yield the windows of the whole sequence."""

import pytest
import torch

from srulight.tasks.speech_recognition.streaming import FrameBuffer

LAYOUTS = [(4, 2), (5, 3), (3, 3), (1, 1), (2, 5), (1, 4)]


def windows(sequence: list[int], window: int, shift: int) -> list[list[int]]:
    starts = range(0, len(sequence) - window + 1, shift)
    return [sequence[start : start + window] for start in starts]


@pytest.mark.parametrize(("window", "shift"), LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("length", [0, 1, 4, 5, 29, 30])
def test_pieces_give_each_window_of_the_whole_once(
    window: int, shift: int, size: int, length: int
) -> None:
    buffer = FrameBuffer(window, shift)
    given: list[list[int]] = []
    for piece in torch.arange(length).split(size):
        stretch = buffer(piece)
        if stretch is not None:
            # The returned part ends exactly where its last window ends.
            assert (len(stretch) - window) % shift == 0
            given += windows(stretch.tolist(), window, shift)
    assert given == windows(list(range(length)), window, shift)


def test_a_window_is_handed_on_as_soon_as_it_is_whole() -> None:
    buffer = FrameBuffer(window=3, shift=2)
    assert [buffer(torch.tensor([step])) is not None for step in range(7)] == [
        False, False, True, False, True, False, True,
    ]  # fmt: skip


def test_steps_may_have_features() -> None:
    buffer = FrameBuffer(window=2, shift=1)
    steps = torch.randn(5, 3, 2)
    assert buffer(steps[:1]) is None
    stretch = buffer(steps[1:])
    assert stretch is not None
    assert torch.equal(stretch, steps)


def test_an_empty_piece_changes_nothing() -> None:
    buffer = FrameBuffer(window=2, shift=1)
    assert buffer(torch.arange(0)) is None
    assert buffer(torch.arange(1)) is None
    assert buffer(torch.arange(0)) is None
    stretch = buffer(torch.arange(1, 2))
    assert stretch is not None
    assert stretch.tolist() == [0, 1]


def test_a_piece_may_be_overwritten_after_it_was_given() -> None:
    buffer = FrameBuffer(window=4, shift=4)
    piece = torch.tensor([0, 1])
    assert buffer(piece) is None
    piece += 2
    stretch = buffer(piece)
    assert stretch is not None
    assert stretch.tolist() == [0, 1, 2, 3]


def test_a_long_piece_is_not_held() -> None:
    buffer = FrameBuffer(window=4, shift=2)
    buffer(torch.zeros(100_000))
    assert sum(kept.untyped_storage().nbytes() for kept in buffer._kept) < 100


@pytest.mark.parametrize(("window", "shift"), [(0, 1), (1, 0)])
def test_refuses_windows_without_steps(window: int, shift: int) -> None:
    with pytest.raises(ValueError, match="window and shift must be at least 1, got"):
        FrameBuffer(window, shift)
