"""Long tables become sequences with targets."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import Part, SequencePredictionData, Sequences
from srulight.tasks.sequence_prediction.corpora.tables import SequenceTables, read_sequences

# Rows of the two sequences alternate.
LONG = """sequence,time,room,heat,note,wind,target
b,0,hall,1.5,so,1,yes
a,0,,2,no,,
b,1,roof,,,2,
a,0.5,hall,4,,3,no
a,2,hall,5,x,4,no
"""
STEPS = """sequence,time,x,phase,hook,clip,load
a,0,1,prep,1,0,0.5
a,1,2,prep,0,,1.5
a,2,3,cut,1,1,
b,0,4,,0,0,2.5
b,1,5,cut,0,1,3.5
"""


def put(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        path = folder / f"{stem.replace('__', '/')}.{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, text: str, **settings: Any) -> Sequences:  # noqa: ANN401
    """Reads the same table as all parts, so that nothing is held out."""
    put(folder, a_csv=text)
    return SequenceTables("a.csv", "a.csv", "a.csv", **settings).read(folder)


def sequences(part: Part) -> dict[str, list[list[float]]]:
    ends = np.cumsum(part.lengths)
    rows = [part.numbers[e - n : e].tolist() for e, n in zip(ends, part.lengths, strict=True)]
    return dict(zip(part.names, rows, strict=True))


def test_rows_are_grouped_by_sequence_in_the_order_of_appearance(tmp_path: Path) -> None:
    found = read(tmp_path, LONG, categories=["room"])
    part = found.train
    assert part.names == ["b", "a"]
    assert part.lengths.tolist() == [2, 3]
    assert found.numbers == ["heat", "wind"]
    expected = [[1.5, 1], [math.nan, 2], [2, math.nan], [4, 3], [5, 4]]
    np.testing.assert_array_equal(part.numbers, expected)
    assert part.categories.tolist() == [["hall"], ["roof"], [""], ["hall"], ["hall"]]
    assert part.times is not None
    assert part.times.tolist() == [0, 1, 0, 0.5, 2]
    assert found.targets == ["no", "yes"]
    assert part.targets.tolist() == [1, 0]
    places = [part.place(row).removeprefix(f"{tmp_path}/a.csv:") for row in range(5)]
    assert places == ["2", "4", "3", "5", "6"]
    assert (found.sequence_column, found.time_column) == ("sequence", "time")
    assert found.target_columns == ["target"]
    assert found.notes == [
        "features: heat, wind; columns that do not begin with a number are left out: note"
    ]


def test_features_are_those_that_are_named(tmp_path: Path) -> None:
    found = read(tmp_path, LONG, features=["wind"])
    assert sequences(found.train)["b"] == [[1], [2]]
    assert found.notes == []


@pytest.mark.parametrize(
    ("settings", "names", "expected"),
    [
        ({"targets": "phase"}, ["cut", "prep"], [1, 1, 0, -100, 0]),
        (
            {"targets": ["hook", "clip"], "kind": "labels"},
            ["hook", "clip"],
            [[1, 0], [0, math.nan], [1, 1], [0, 0], [0, 1]],
        ),
        (
            {"targets": ["load"], "kind": "numbers"},
            ["load"],
            [[0.5], [1.5], [math.nan], [2.5], [3.5]],
        ),
    ],
)
def test_steps_have_targets_of_each_kind(
    settings: dict[str, Any], names: list[str], expected: list[Any], tmp_path: Path
) -> None:
    found = read(tmp_path, STEPS, features=["x"], per="step", **settings)
    assert found.targets == names
    np.testing.assert_array_equal(found.train.targets, expected)


def test_labels_may_be_names_in_a_column(tmp_path: Path) -> None:
    text = "sequence,x,tools\na,1,hook; clip\na,2,\na,3,clip\na,4,NaN\n"
    found = read(tmp_path, text, time=None, targets="tools", kind="labels", per="step")
    assert found.targets == ["clip", "hook"]
    expected = [[1, 1], [0, 0], [1, 0], [math.nan] * 2]
    np.testing.assert_array_equal(found.train.targets, expected)
    text = "sequence,x,tools\na,1,\na,2,hook;clip\nb,3,\nc,1,clip\nc,2,clip\nd,1,nan\n"
    found = read(tmp_path, text, time=None, targets="tools", kind="labels")
    expected = [[1, 1], [0, 0], [1, 0], [math.nan] * 2]
    np.testing.assert_array_equal(found.train.targets, expected)


def test_a_sequence_has_the_numbers_of_any_of_its_rows(tmp_path: Path) -> None:
    text = "sequence,x,y,z\na,1,,2\na,2,1.5,\nb,3,,\n"
    found = read(tmp_path, text, time=None, targets=["y", "z"], kind="numbers")
    np.testing.assert_array_equal(found.train.targets, [[1.5, 2], [math.nan, math.nan]])


def test_classes_that_are_integers_are_in_numerical_order(tmp_path: Path) -> None:
    text = "sequence,x,target\n" + "".join(f"{i},1,{i}\n" for i in (10, 9, 100))
    assert read(tmp_path, text, time=None).targets == ["9", "10", "100"]


def test_val_and_test_have_the_classes_of_training(tmp_path: Path) -> None:
    put(tmp_path, a_csv=LONG, b_csv="target,heat,wind,time,sequence\nyes,1,2,0,z\n")
    found = SequenceTables("a.csv", "b.csv").read(tmp_path)
    assert found.val.targets.tolist() == [1]
    assert found.val.numbers.tolist() == [[1, 2]]
    assert found.test is None


def test_each_file_of_a_folder_or_pattern_is_a_sequence(tmp_path: Path) -> None:
    put(
        tmp_path,
        train__two_csv="x,target\n1,p\n2,\n",
        train__one_csv="target,x\nq,3\n",
        train__notes_txt="no table",
        train__three_jsonl='{"x": 4, "target": "p"}\n{"x": null, "y": "so"}\n',
    )
    for name in ("train", "train/*.*", "tr*/*"):
        found = SequenceTables(name, name, sequence=None, time=None).read(tmp_path)
        expected = {"one": [[3]], "three": [[4], [math.nan]], "two": [[1], [2]]}
        np.testing.assert_equal(sequences(found.train), expected)
        assert found.train.targets.tolist() == [1, 0, 0]
        assert found.train.place(2) == f"{tmp_path}/train/three.jsonl:2"
    alone = SequenceTables("train/two.csv", "train/two.csv", sequence=None, time=None)
    assert alone.read(tmp_path).train.names == ["two"]


def test_files_may_continue_sequences_and_have_equal_names(tmp_path: Path) -> None:
    put(
        tmp_path,
        one__part_csv="sequence,time,x,target\nb,0,1,p\na,0.5,2,q\n",
        two__part_csv="sequence,time,x,target\nc,0,3,p\nb,1,4,p\n",
    )
    part = SequenceTables("*/part.csv", "*/part.csv").read(tmp_path).train
    assert sequences(part) == {"b": [[1], [4]], "a": [[2]], "c": [[3]]}
    assert part.place(1) == f"{tmp_path}/two/part.csv:3"
    corpus = SequenceTables("*/part.csv", "*/part.csv", sequence=None, per="step")
    part = corpus.read(tmp_path).train
    assert part.names == [f"{tmp_path}/one/part", f"{tmp_path}/two/part"]


def test_a_tenth_of_the_sequences_is_held_out(tmp_path: Path) -> None:
    rows = [f"{i},{t},{i}.5,{i % 2}\n" for t in range(3) for i in range(20)]
    put(tmp_path, train_csv="sequence,time,x,target\n" + "".join(rows))
    for per in ("sequence", "step"):
        found = SequenceTables(per=per).read(tmp_path)
        assert len(found.train.names) == 18
        assert len(found.val.names) == 2
        for part in (found.train, found.val):
            assert sequences(part) == {n: [[float(n) + 0.5]] * 3 for n in part.names}
            expected = [int(n) % 2 for n in part.names for _ in range(3 if per == "step" else 1)]
            assert part.targets.tolist() == expected
        assert {*found.train.names, *found.val.names} == {str(i) for i in range(20)}
        last = int(found.val.names[1])
        assert found.val.place(5) == f"{tmp_path}/train.csv:{2 + 40 + last}"


def test_the_end_of_a_single_sequence_is_held_out(tmp_path: Path) -> None:
    put(tmp_path, train_csv="time,x,target\n" + "".join(f"{t},{t},{t}\n" for t in range(25)))
    found = SequenceTables(sequence=None, per="step", kind="numbers").read(tmp_path)
    assert found.train.targets[:, 0].tolist() == [*range(23)]
    assert found.val.numbers.tolist() == [[23], [24]]
    assert found.val.lengths.tolist() == [2]
    assert found.val.place(1) == f"{tmp_path}/train.csv:26"
    put(tmp_path, train_csv="time,x,target\n0,1,a\n1,1,a\n")
    with pytest.raises(InputError, match="at least two training examples"):
        SequenceTables(sequence=None).read(tmp_path)


def test_what_to_predict_may_be_a_feature_if_it_lies_ahead(tmp_path: Path) -> None:
    put(tmp_path, a_csv=STEPS)
    settings: dict[str, Any] = {"features": ["x", "hook"], "targets": ["hook"], "kind": "labels"}
    corpus = SequenceTables("a.csv", "a.csv", per="step", **settings)
    data = SequencePredictionData(corpus, str(tmp_path), horizon=1)
    data.setup()
    assert len(data.datasets["train"]) == 2
    with pytest.raises(InputError, match=r"not be targets at --data.horizon=0, got 'hook' in both"):
        SequencePredictionData(corpus, str(tmp_path)).setup()
    with pytest.raises(InputError, match="not be targets if per is 'sequence', got 'hook'"):
        SequenceTables("a.csv", **settings)
    # The same column is read as numbers and as classes.
    settings = {"features": ["hook"], "targets": "hook"}
    found = SequenceTables("a.csv", "a.csv", per="step", **settings).read(tmp_path)
    assert found.targets == ["0", "1"]
    assert found.train.numbers[:, 0].tolist() == found.train.targets.tolist()


ROW = "sequence,time,x,target\na,0,1,p\n"
TIME = {"features": ["time"]}
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, ROW + "a,0,1,p\n", "a.csv:3: expected a time after 0 in the sequence 'a', got 0; sort"),
    ({}, ROW + "b,1,1,p\nb,.5,1,p\n", "a.csv:4: expected a time after 1 .* 'b', got 0.5; sort"),
    ({}, ROW + "a,,1,p\n", "a.csv:3: expected a time in column 'time', got none"),
    (
        {},
        "sequence,time,x,target\na,2020-01-02,1,p\nb,0,1,p\na,2020-01-01T12:00,1,p\n",
        r"a.csv:4: expected a time after 2020-01-02 00:00:00\+00:00 in .* got 2020-01-01 12:00:00",
    ),
    ({}, ROW + ",1,1,p\n", "a.csv:3: expected the name of a sequence in column 'sequence', got ''"),
    ({}, ROW + "a,1,warm,p\n", "a.csv:3: expected a number .*'x', got 'warm'; .*corpus.categories"),
    ({}, ROW + "a,1,inf,p\n", "a.csv:3: expected a finite number in column 'x', got 'inf'"),
    ({}, ROW + "a,1,1,q\n", "a.csv:3: expected 'p' in column 'target' as in .* 'a', got 'q'"),
    ({}, "", "a.csv is empty"),
    ({}, "sequence,time,x,target\n", "a.csv: expected rows below the header, got none"),
    ({}, "sequence,time,x,target\na,0,1,\n", "a.csv: expected a target in .* got none"),
    ({}, "sequence,time,target\na,0,p\n", "a.csv: expected columns of numbers, got .* categories"),
    ({"features": ["y"]}, ROW, "expected a column 'y', got .*; correct .*corpus.features"),
    ({"targets": "tagret"}, ROW, r"'tagret' \(did you mean 'target'\?\), .*corpus.targets"),
    ({"time": "t"}, ROW, r"expected a column 't', got .*corpus.time \(null if"),
    ({"sequence": "id"}, ROW, r"expected a column 'id', got .*corpus.sequence \(null if"),
    ({"categories": ["c"]}, ROW, "expected a column 'c', got .*corpus.categories"),
    (
        {},
        "sequence,time,x,target\na,0,1,1\nb,0,1,2.5\n",
        "a.csv:3: expected the name of a class in column 'target', got '2.5'; .*kind=numbers",
    ),
    ({"kind": "numbers"}, ROW, "a.csv:2: expected a number in column 'target', got 'p'"),
    ({"kind": "labels", "targets": ["x"], **TIME}, ROW + "b,0,2,p\n", "a.csv:3: expected 0 or 1 "),
    ({"kind": "labels", "targets": ["target"]}, ROW, "a.csv:2: expected a number.*write 0 or 1"),
    ({"kind": "labels", "targets": "x", **TIME}, ROW, r"names of labels .* got 1; .*='\[x\]'"),
    (
        {"kind": "numbers", "targets": "x", **TIME},
        ROW + "a,1,2,p\n",
        "a.csv:3: expected 1 in column 'x' as in the rows before of the sequence 'a', got 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "text", "why"), BAD)
def test_a_broken_table_is_refused_with_its_place(
    settings: dict[str, Any], text: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=why):
        read(tmp_path, text, **{"features": None, **settings})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"targets": []}, "targets must be one column if kind is 'class'"),
        ({"targets": ["a", "b"]}, "targets must be one column if kind is 'class', got"),
        ({"targets": ["a", "a"], "kind": "numbers"}, "targets must be different columns, got 'a'"),
        ({"features": ["a"], "categories": ["a"]}, "categories must be different columns, got 'a'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        SequenceTables(**settings)


def test_a_class_that_only_the_test_part_has_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a_csv=LONG, b_csv=LONG + "c,0,hall,1,,2,perhaps\n")
    why = r"b.csv:7: expected a target of the training data in .* \(no, yes\), got 'perhaps'"
    with pytest.raises(InputError, match=why):
        SequenceTables("a.csv", "a.csv", "b.csv").read(tmp_path)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"sequence": None, "time": None}
    put(tmp_path, d__a_csv="x,target\n1,p\n", d__b_csv="x,y,target\n1,2,p\n")
    with pytest.raises(
        InputError, match=r"b.csv: expected the columns of a.csv .* got 'y' as well"
    ):
        SequenceTables("d", **settings).read(tmp_path)
    assert SequenceTables("d", "d", features=["x"], **settings).read(tmp_path).numbers == ["x"]
    put(tmp_path, d__b_csv="z,target\n1,p\n", d__a_csv="x,target\n1,p\n")
    with pytest.raises(
        InputError, match=r"b.csv: expected the columns of a.csv .* got 'z' as well"
    ):
        SequenceTables("d", **settings).read(tmp_path)
    with pytest.raises(
        InputError, match=r"b.csv: expected a column 'x', got the columns z, target"
    ):
        SequenceTables("d", features=["x"], **settings).read(tmp_path)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.csv", "none.csv is not in .*; set --data.root to its folder"),
        ("empty", r"empty: expected tables \(.tsv, .csv, .jsonl, .parquet\) in the folder"),
        ("x*.csv", r"x\*.csv: expected tables .* that match the pattern, got none"),
        ("a.txt", "a.txt: expected a folder, a pattern, or a name ending in .tsv, .csv"),
    ],
)
def test_missing_files_are_named(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, a_txt="")
    corpus = SequenceTables(name)
    with pytest.raises(InputError, match=why):
        corpus.read(tmp_path)
    with pytest.raises(InputError, match=why):
        corpus.recipe(tmp_path)


def test_the_recipe_changes_with_settings_and_contents(tmp_path: Path) -> None:
    put(tmp_path, a_csv=LONG, b_csv=LONG)
    recipes = [
        SequenceTables("a.csv", val, categories=categories).recipe(tmp_path)
        for val in (None, "b.csv")
        for categories in ([], ["room"])
    ]
    put(tmp_path, a_csv=LONG + "a,9,,1,,1,\n")
    recipes.append(SequenceTables("a.csv").recipe(tmp_path))
    written = {json.dumps(recipe) for recipe in recipes}
    assert len(written) == 5


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    put(tmp_path, a_csv=LONG)
    parquet.write_table(arrow.read_csv(tmp_path / "a.csv"), tmp_path / "a.parquet")
    settings: dict[str, Any] = {"categories": ["room"]}
    one, two = (
        SequenceTables(name, name, **settings).read(tmp_path) for name in ("a.csv", "a.parquet")
    )
    assert (one.numbers, one.targets) == (two.numbers, two.targets)
    np.testing.assert_array_equal(one.train.numbers, two.train.numbers)
    assert one.train.categories.tolist() == two.train.categories.tolist()
    assert one.train.targets.tolist() == two.train.targets.tolist()


METADATA = {
    "sequence_column": "sequence",
    "time_column": "time",
    "features": {"numbers": ["wind", "heat"], "categories": {"room": ["hall"]}, "intervals": None},
}


def test_sequences_to_predict_keep_all_cells(tmp_path: Path) -> None:
    put(tmp_path, a_csv=LONG)
    first, second = read_sequences(str(tmp_path / "a.csv"), METADATA)
    assert (first.name, second.name) == ("b", "a")
    np.testing.assert_array_equal(second.numbers, [[math.nan, 2], [3, 4], [4, 5]])
    assert first.categories.tolist() == [["hall"], ["roof"]]
    assert second.times is not None
    assert second.times.tolist() == [0, 0.5, 2]
    rows = [*csv.DictReader(LONG.splitlines())]
    assert first.rows == [rows[0], rows[2]]
    assert second.rows == [rows[1], rows[3], rows[4]]


def test_sequences_to_predict_need_no_targets_and_perhaps_no_times(tmp_path: Path) -> None:
    path = str(put(tmp_path, a_csv="heat,wind,room\n1,2,hall\n") / "a.csv")
    metadata = {**METADATA, "sequence_column": None}
    (only,) = read_sequences(path, metadata)
    assert (only.name, only.times) == ("a", None)
    assert only.numbers.tolist() == [[2, 1]]
    metadata["features"] = {**METADATA["features"], "intervals": [1.0, 1.0]}  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"expected a column 'time', got .* the model needs"):
        next(read_sequences(path, metadata))
    with pytest.raises(InputError, match=r"a.txt: expected a name ending in"):
        next(read_sequences("a.txt", metadata))


def test_reading_needs_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_arrow = read(tmp_path, LONG, categories=["room"])
    monkeypatch.setattr("srulight.data.columns.module_available", lambda _: False)
    without = read(tmp_path, LONG, categories=["room"])
    for name in ("numbers", "categories", "times", "targets", "lengths"):
        one, two = (getattr(found.train, name) for found in (with_arrow, without))
        assert repr(one.tolist()) == repr(two.tolist()), name
