"""FSDD: single digits and digit strings."""

from collections import Counter
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.corpora.fsdd import FSDD

SPLITS = {"test": range(5), "val": range(5, 10), "train": range(10, 13)}


def record(folder: Path, speakers: tuple[str, ...] = ("ann", "bo"), digits: int = 3) -> Path:
    folder.mkdir()
    for speaker in speakers:
        for digit in range(digits):
            for index in range(13):
                (folder / f"{digit}_{speaker}_{index}.wav").touch()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return record(tmp_path / "recordings").parent


def names(utterances: list[Utterance]) -> list[str]:
    return [path.name for utterance in utterances for path in utterance.audio]


def test_single_digits_are_words_in_the_splits_of_their_indices(root: Path) -> None:
    splits = FSDD(strings=False).read(root)
    first = root / "recordings" / "0_ann_10.wav"
    assert splits.train[0] == Utterance((first,), "zero", "0_ann_10.wav", "ann")
    for name, indices in SPLITS.items():
        expected = {f"{d}_{s}_{i}.wav" for d in range(3) for s in ("ann", "bo") for i in indices}
        assert sorted(names(getattr(splits, name))) == sorted(expected)


def test_all_ten_digits_have_their_english_words(tmp_path: Path) -> None:
    splits = FSDD(strings=False).read(record(tmp_path / "r", ("ann",), digits=10))
    said = {path.name[0]: u.text for u in splits.train for path in u.audio}
    assert " ".join(said[str(digit)] for digit in range(10)) == (
        "zero one two three four five six seven eight nine"
    )


def test_a_string_is_what_one_speaker_says_in_its_clips(root: Path) -> None:
    words = {"0": "zero", "1": "one", "2": "two"}
    for split in FSDD(pause=0.2).read(root):
        for utterance in split:
            clips = names([utterance])
            assert utterance.text == " ".join(words[clip[0]] for clip in clips)
            assert {clip.split("_")[1] for clip in clips} == {utterance.speaker}
            assert utterance.where == "+".join(clips)
            assert utterance.pause == 0.2
            assert 3 <= len(clips) <= 7


@pytest.mark.parametrize(("shortest", "longest"), [(3, 7), (1, 1), (2, 3), (3, 15)])
def test_each_pass_says_each_clip_once(root: Path, shortest: int, longest: int) -> None:
    splits = FSDD(min_length=shortest, max_length=longest, passes=3, eval_passes=2)
    for name, found in splits.read(root)._asdict().items():
        counts = Counter(names(found))
        assert set(counts.values()) == {3 if name == "train" else 2}
        assert {int(clip[:-4].split("_")[2]) for clip in counts} == set(SPLITS[name])
        assert {len(u.audio) for u in found} <= set(range(shortest, longest + 1))


def test_clips_left_over_where_no_string_can_take_them_are_few(root: Path) -> None:
    # A speaker has 9 training clips and 15 test clips: two and three strings of 4.
    splits = FSDD(min_length=4, max_length=4, passes=1).read(root)
    assert [len(split) for split in splits] == [4, 6, 6]
    assert set(Counter(names(splits.train)).values()) == {1}


def test_lengths_and_orders_vary(root: Path) -> None:
    splits = FSDD(min_length=1, max_length=3, passes=4).read(root)
    assert {len(u.audio) for u in splits.train} == {1, 2, 3}
    # Each pass makes three strings for each of the two speakers.
    splits = FSDD(min_length=3, max_length=3, passes=2).read(root)
    assert len({u.where for u in splits.train}) > 6


def test_strings_are_the_same_each_time_and_others_with_another_seed(root: Path) -> None:
    first = FSDD().read(root)
    assert first == FSDD().read(root)
    assert first.train != FSDD(seed=2).read(root).train


def test_more_passes_over_training_leave_the_other_splits_alone(root: Path) -> None:
    one, two = FSDD(passes=1).read(root), FSDD(passes=2).read(root)
    assert two.train[: len(one.train)] == one.train
    assert (one.val, one.test) == (two.val, two.test)


def test_the_root_may_be_the_folder_of_the_recordings(root: Path) -> None:
    assert FSDD().read(root / "recordings") == FSDD().read(root)


def test_files_that_are_hidden_or_no_recordings_are_ignored(root: Path) -> None:
    before = FSDD().read(root)
    for name in ("._0_ann_10.wav", "README.md", ".DS_Store"):
        (root / "recordings" / name).touch()
    assert FSDD().read(root) == before


@pytest.mark.parametrize("name", ["ten_ann_3.wav", "10_ann_3.wav", "1_ann.wav", "1_ann_x.wav"])
def test_a_recording_with_another_name_is_refused(root: Path, name: str) -> None:
    (root / "recordings" / name).touch()
    with pytest.raises(InputError, match=f"{name}: expected a name such as 7_jackson_32.wav"):
        FSDD().read(root)


def test_a_folder_without_recordings_says_where_to_get_them(tmp_path: Path) -> None:
    digits = FSDD()
    for act in (digits.read, digits.fetch):
        with pytest.raises(InputError, match=r"github.com/Jakobovski/.* and pass .*--data.root"):
            act(tmp_path)


def test_recordings_that_are_there_need_no_fetching(root: Path) -> None:
    FSDD().fetch(root)


def test_a_split_without_a_string_is_refused(root: Path) -> None:
    for path in (root / "recordings").glob("*_1?.wav"):
        path.unlink()
    with pytest.raises(InputError, match=r"index of 10 and above for the train split"):
        FSDD().read(root)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_length": 0}, "min_length=0"),
        ({"min_length": 8}, "min_length=8 max_length=7"),
        ({"passes": 0}, "passes=0"),
        ({"eval_passes": 0}, "eval_passes=0"),
        ({"pause": -0.1}, "pause must be a number of seconds, 0 or more, got -0.1"),
        ({"pause": float("nan")}, "pause must be a number of seconds"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FSDD(**settings)  # type: ignore[arg-type]
