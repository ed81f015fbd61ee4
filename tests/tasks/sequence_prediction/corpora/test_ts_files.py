"""The .ts format of the UCR and UEA archives; the values were read off by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import Sequences, TsFiles

TWO_DIMENSIONS = """\
# a comment
%another one
@problemName Small
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true walk run

@data
1,2.5,-3e1:4,?,6:walk
7, 8 :NaN,10:run
0:1:walk
"""
DATED = """\
@problemName Dates
@timeStamps True
@univariate true
@equallength true
@serieslength 2
@targetlabel true
@data
(2007-01-01 00:00:00,241.5),(2007-01-01 00:01:30,?):0.25
(1970-01-01 01:00:00,1),(1970-01-02 00:00:00,2):-4
"""
NUMBERED = """\
@timestamps true
@classLabel true
@data
(0,1),(0.5,2):(0,3),(0.5,4):10
(2,5):(2,6):9
"""


def read(folder: Path, text: str, **options: Any) -> Sequences:  # noqa: ANN401
    (folder / "train.ts").write_text(text)
    return TsFiles(**({"val": "train.ts"} | options)).read(folder)


def refused(folder: Path, text: str, **options: Any) -> str:  # noqa: ANN401
    with pytest.raises(InputError) as caught:
        read(folder, text, **options)
    return str(caught.value).replace(str(folder), "ROOT")


def test_dimensions_of_different_sequences(tmp_path: Path) -> None:
    sequences = read(tmp_path, TWO_DIMENSIONS)
    train = sequences.train
    assert train.lengths.tolist() == [3, 2, 1]
    np.testing.assert_array_equal(
        train.numbers, [[1, 4], [2.5, np.nan], [-30, 6], [7, np.nan], [8, 10], [0, 1]]
    )
    assert sequences.targets == ["walk", "run"]  # in the order of the header
    assert train.targets.tolist() == [0, 1, 0]
    assert train.times is None
    assert sequences.numbers == ["dimension_1", "dimension_2"]
    assert list(train.names) == ["1", "2", "3"]
    assert train.place(4) == f"{tmp_path / 'train.ts'}:13"


def test_dates_and_numbers_as_targets(tmp_path: Path) -> None:
    sequences = read(tmp_path, DATED, kind="numbers")
    train = sequences.train
    assert train.times is not None
    assert np.diff(train.times)[[0, 2]].tolist() == [90, 23 * 3600]
    assert train.times[2] == 3600  # seconds since 1970
    np.testing.assert_array_equal(train.numbers, [[241.5], [np.nan], [1], [2]])
    np.testing.assert_array_equal(train.targets, [[0.25], [-4]])
    assert (sequences.targets, sequences.time_column) == (["target"], "time")


def test_times_that_are_numbers(tmp_path: Path) -> None:
    sequences = read(tmp_path, NUMBERED)
    assert sequences.train.times is not None
    assert sequences.train.times.tolist() == [0, 0.5, 2]
    np.testing.assert_array_equal(sequences.train.numbers, [[1, 3], [2, 4], [5, 6]])
    assert sequences.targets == ["9", "10"]  # the header lists none


def test_missing_targets(tmp_path: Path) -> None:
    assert read(tmp_path, TWO_DIMENSIONS + "1:2:?\n").train.targets.tolist() == [0, 1, 0, -100]
    numbers = read(tmp_path, DATED.replace("-4", "?"), kind="numbers")
    np.testing.assert_array_equal(numbers.train.targets, [[0.25], [np.nan]])


def test_parts(tmp_path: Path) -> None:
    text = TWO_DIMENSIONS + "1:2:run\n" * 17
    (tmp_path / "test.ts").write_text(TWO_DIMENSIONS)
    sequences = read(tmp_path, text, val=None, test="test.ts")
    assert [len(part.names) for part in sequences.parts.values()] == [18, 2, 3]
    corpus = TsFiles(test="test.ts")
    first = corpus.recipe(tmp_path)
    (tmp_path / "test.ts").write_text(TWO_DIMENSIONS.replace("2.5", "2.6"))
    assert corpus.recipe(tmp_path) != first


def test_a_class_that_only_the_test_part_has(tmp_path: Path) -> None:
    (tmp_path / "test.ts").write_text(TWO_DIMENSIONS.replace("walk", "rest"))
    message = refused(tmp_path, TWO_DIMENSIONS, test="test.ts")
    assert message.startswith("2 rows have errors:\n  ROOT/test.ts:12: expected one of the classes")
    assert "(walk, run), got 'rest'; correct it" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4,?,6", "4,?", "12: expected 3 steps in dimension 2, as in dimension 1, got 2; correct"),
        ("4,?,6:", "", "12: expected 2 dimensions and a target, separated by colons, got 1 and"),
        ("2.5", "2,5x", "12: expected a number, or ? where one is missing, got '5x'; correct the"),
        ("2.5", "", "12: expected a number, or ? where one is missing, got ''"),
        ("2.5", "inf", "12: expected finite numbers, got inf"),
        ("walk run", "walk", "13: expected one of the classes (walk), got 'run'"),
        ("@data\n", "", "11: expected a line of the header that begins with @, got '1,2.5"),
        ("@dimensions 2", "@dimensions two", "11: expected an integer after @dimensions, got 'tw"),
        ("@classLabel true walk run", "@targetLabel true", "got none; set --data.corpus.kind=numb"),
        ("@classLabel true walk run\n", "", "10: expected '@classLabel true' before @data, got no"),
        ("@timeStamps false", "@timeStamps true", "12: expected steps like (2007-01-01 00:00:00,"),
    ],
)  # fmt: skip
def test_lines_that_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TWO_DIMENSIONS
    said = refused(tmp_path, TWO_DIMENSIONS.replace(old, new))
    assert message in said
    assert "ROOT/train.ts:" in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",(2007-01-01 00:01:30,?)", "", ":8: expected 2 steps, as @seriesLength says, got 1"),
        (
            "00:01:30",
            "00:00:00",
            ":8: expected a time after that of the step before (1167609600), got 1167609600",
        ),
        ("2007-01-01 00:01:30", "soon", ":8: expected a number or a date like 2007-01-01 00:00:00"),
        ("@targetlabel", "@classlabel", "before @data, got none; set --data.corpus.kind=class"),
        (":0.25", ":much", ":8: expected a number, or ? where one is missing, got 'much'"),
        (":0.25", ":(2007-01-01 00:00:00,1):1", "expected 1 dimensions and a target"),
    ],
)
def test_dated_lines_that_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in DATED
    assert message in refused(tmp_path, DATED.replace(old, new), kind="numbers")


def test_dimensions_with_other_times(tmp_path: Path) -> None:
    text = NUMBERED.replace("(0,3)", "(0.1,3)")
    assert "train.ts:4: expected the same times in dimensions 1 and 2, got others" in refused(
        tmp_path, text
    )


def test_sequences_with_other_dimensions(tmp_path: Path) -> None:
    text = NUMBERED.replace("(2,5):(2,6):9", "(2,5):9")
    assert "train.ts:5: expected 2 features as in ROOT/train.ts:4, got 1" in refused(tmp_path, text)


def test_files_without_sequences(tmp_path: Path) -> None:
    header = TWO_DIMENSIONS.partition("1,2.5")[0]
    assert (
        refused(tmp_path, header)
        == "ROOT/train.ts: expected sequences after @data, got none; add some"
    )
    assert "train.ts is empty" in refused(tmp_path, " \n")
    with pytest.raises(InputError, match=r"other.ts is not in .*; set --data.root"):
        TsFiles("other.ts").recipe(tmp_path)
