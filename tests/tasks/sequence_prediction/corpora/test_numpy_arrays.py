"""NumPy arrays: what is read, worked by hand, and what is refused."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.sequence_prediction import NumpyArrays, SequencePredictionData, Sequences

# Three sequences of 2, 1 and 3 steps with two features.
FEATURES = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]], dtype=np.float32)
LENGTHS = np.array([2, 1, 3])
CLASSES = np.array(["up", "down", "up"])


def pack(path: Path, **arrays: Any) -> None:  # noqa: ANN401
    own = {"features": FEATURES, "lengths": LENGTHS, "target": CLASSES}
    np.savez(path, **{name: a for name, a in (own | arrays).items() if a is not None})


def read(folder: Path, **options: Any) -> Sequences:  # noqa: ANN401
    """Reads train.npz, with the same file for validation if it exists."""
    own = {"val": "train.npz"} if (folder / "train.npz").exists() else {}
    return NumpyArrays(**(own | options)).read(folder)


def refused(folder: Path, **options: Any) -> str:  # noqa: ANN401
    with pytest.raises(InputError) as caught:
        read(folder, **options)
    return str(caught.value)


def test_one_file_per_part(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz")
    pack(tmp_path / "test.npz", target=np.array(["down", "", "up"]))
    sequences = read(tmp_path, test="test.npz")
    train = sequences.train
    assert train.lengths.tolist() == [2, 1, 3]
    np.testing.assert_array_equal(train.numbers, FEATURES)
    assert train.numbers.dtype == np.float32
    assert sequences.targets == ["down", "up"]  # in alphabetical order
    assert train.targets.tolist() == [1, 0, 1]
    assert sequences.test is not None
    assert sequences.test.targets.tolist() == [0, -100, 1]
    assert sequences.numbers == ["features_0", "features_1"]
    assert train.place(3) == f"{tmp_path / 'train.npz'}, sequence 2, step 0"
    assert train.place(2) == f"{tmp_path / 'train.npz'}, sequence 1, step 0"


def test_further_dimensions_are_flattened_in_the_order_of_c(tmp_path: Path) -> None:
    joints = np.arange(24.0).reshape(6, 2, 2)
    pack(tmp_path / "train.npz", features=np.asfortranarray(joints))
    np.testing.assert_array_equal(read(tmp_path).train.numbers, np.arange(24).reshape(6, 4))


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (">f4", np.float32),
        ("<f2", np.float32),
        ("|u1", np.float32),
        ("|b1", np.float32),
        (">i4", np.float64),  # float32 would round large integers
        ("<u8", np.float64),
        (">f8", np.float64),
    ],
)
def test_numbers_of_any_type(tmp_path: Path, dtype: str, kept: type) -> None:
    pack(tmp_path / "train.npz", features=FEATURES.astype(dtype))
    numbers = read(tmp_path).train.numbers
    assert numbers.dtype == kept
    np.testing.assert_array_equal(numbers, FEATURES.astype(dtype).astype(np.float64))


def test_padded_arrays(tmp_path: Path) -> None:
    padded = np.full((3, 4, 2), np.inf, dtype=np.float32)
    times = np.full((3, 4), -1.0)
    padded[0, :2], padded[1, :1], padded[2, :3] = FEATURES[:2], FEATURES[2:3], FEATURES[3:]
    times[0, :2], times[1, :1], times[2, :3] = [0, 1], [5], [0, 2, 7]
    pack(tmp_path / "train.npz", features=padded, t=times)
    train = read(tmp_path, times="t").train
    np.testing.assert_array_equal(train.numbers, FEATURES)
    assert train.times is not None
    assert train.times.tolist() == [0, 1, 5, 0, 2, 7]


def test_without_lengths_all_sequences_are_equally_long(tmp_path: Path) -> None:
    values = np.arange(24.0).reshape(3, 4, 2)
    pack(tmp_path / "train.npz", features=values, lengths=None)
    train = read(tmp_path, lengths=None).train
    assert train.lengths.tolist() == [4, 4, 4]
    np.testing.assert_array_equal(train.numbers, values.reshape(12, 2))
    pack(tmp_path / "train.npz", features=values[:, 0, 0], lengths=None)
    assert "expected the shape (N, T, ...), got (3,)" in refused(tmp_path, lengths=None)


def test_integers_are_classes_in_numerical_order(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz", target=np.array([10, 2, -1]))
    sequences = read(tmp_path)
    assert sequences.targets == ["-1", "2", "10"]
    assert sequences.train.targets.tolist() == [2, 1, 0]
    pack(tmp_path / "train.npz", target=np.array([10.0, 2.0, np.nan]))
    sequences = read(tmp_path)
    assert sequences.targets == ["2", "10"]
    assert sequences.train.targets.tolist() == [1, 0, -100]


def test_named_classes(tmp_path: Path) -> None:
    names = np.array(["red", "green", "blue"])
    pack(tmp_path / "train.npz", target=np.array([2, -100, 0]), names=names)
    sequences = read(tmp_path, target_names="names")
    assert sequences.targets == ["red", "green", "blue"]
    assert sequences.train.targets.tolist() == [2, -100, 0]
    pack(tmp_path / "train.npz", target=np.array(["blue", "", "red"], dtype="S5"), names=names)
    assert read(tmp_path, target_names="names").train.targets.tolist() == [2, -100, 0]
    pack(tmp_path / "test.npz", target=np.array([2, 1, 3]), names=names)
    assert refused(tmp_path, test="test.npz", target_names="names") == (
        f"{tmp_path / 'test.npz'}, sequence 2, step 0: expected one of the classes (red, green, "
        "blue), got '3'; correct it, or remove the sequence"
    )
    pack(tmp_path / "test.npz", target=np.array([2, 1, 0]), names=names[::-1])
    assert "expected the 'names' of train.npz, got others" in refused(
        tmp_path, test="test.npz", target_names="names"
    )


def test_a_class_that_only_the_test_part_has(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz")
    pack(tmp_path / "test.npz", target=np.array(["up", "left", "left"]))
    message = refused(tmp_path, test="test.npz")
    assert message.startswith("2 rows have errors:")
    assert "sequence 1, step 0: expected a class of the training data (down, up), got 'left'" in (
        message
    )


def test_targets_of_steps(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz", target=np.array([3, 3, 5, 5, 3, -100]))
    assert read(tmp_path, per="step").train.targets.tolist() == [0, 0, 1, 1, 0, -100]
    pack(tmp_path / "train.npz")
    assert "expected 6 steps in 3 sequences, got the shape (3,)" in refused(tmp_path, per="step")
    pack(tmp_path / "train.npz", target=np.array([3, 3, 5, 5, 3, -100]))
    assert "expected 3 targets, one per sequence, got the shape (6,)" in refused(tmp_path)


def test_labels_and_numbers(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    pack(tmp_path / "train.npz", target=labels, names=np.array(["wet", "cold"]))
    sequences = read(tmp_path, kind="labels", target_names="names")
    assert sequences.targets == ["wet", "cold"]
    np.testing.assert_array_equal(sequences.train.targets, labels)
    assert sequences.train.targets.dtype == np.float32
    assert read(tmp_path, kind="numbers").targets == ["target_0", "target_1"]
    heights, widths = np.array([1.5, np.nan, 2]), np.array([7, 8, 9])
    pack(tmp_path / "train.npz", height=heights, width=widths)
    sequences = read(tmp_path, kind="numbers", targets=["height", "width"])
    assert sequences.targets == ["height", "width"]
    np.testing.assert_array_equal(sequences.train.targets, [[1.5, 7], [np.nan, 8], [2, 9]])
    assert "sequence 0, step 0: expected labels of 0 or 1, got 1.5" in refused(
        tmp_path, kind="labels", targets="height"
    )
    pack(tmp_path / "train.npz", height=np.array([1.0, 2, 1e39]))  # infinite as float32
    assert "sequence 2, step 0: expected finite numbers as targets, got inf" in refused(
        tmp_path, kind="numbers", targets="height"
    )


def test_a_class_must_not_be_a_number(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz", target=np.array([1, 2.5, 3]))
    assert "sequence 1, step 0: expected a class as a string or an integer, got 2.5" in refused(
        tmp_path
    )
    pack(tmp_path / "train.npz", target=np.ones((3, 2)))
    assert "expected one class per sequence, got 2" in refused(tmp_path)
    with pytest.raises(InputError, match=r"targets must be one name, got \['a', 'b'\]"):
        NumpyArrays(targets=["a", "b"])


def test_nan_is_missing_and_infinity_is_refused(tmp_path: Path) -> None:
    values = FEATURES.copy()
    values[1, 1] = np.nan
    pack(tmp_path / "train.npz", features=values)
    np.testing.assert_array_equal(read(tmp_path).train.numbers, values)
    values[4, 0] = -np.inf
    pack(tmp_path / "train.npz", features=values)
    assert refused(tmp_path) == (
        f"{tmp_path / 'train.npz'}, sequence 2, step 1: expected finite numbers, got -inf; "
        "correct it, or mark it as missing by NaN"
    )


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 0, 0, 1, 1], "step 2: expected a time after that of the step before (1), got 1"),
        ([0, -1, 0, 0, 1, 2], "step 1: expected a time after that of the step before (0), got -1"),
        ([0, 1, 0, np.nan, 1, 2], "step 0: expected a time after that of the step before, got nan"),
    ],
)
def test_times_that_repeat_or_go_backwards(
    tmp_path: Path, times: list[float], message: str
) -> None:
    pack(tmp_path / "train.npz", t=np.array(times))
    assert message in refused(tmp_path, times="t")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"lengths": None}, "expected an array 'lengths', got 'features', 'target'; set the names"),
        (
            {"lengths": np.array([2, 0, 4])},
            "expected integers of at least 1, one per sequence, got",
        ),
        ({"lengths": np.array([2.0, 1, 3])}, "one per sequence, got float64 of shape (3,)"),
        ({"lengths": np.array([2, 1, 4])}, "expected 7 steps in 3 sequences, got the shape (6, 2)"),
        ({"lengths": np.array([2, 1, 2**62])}, "got 4611686018427387904"),
        ({"features": FEATURES.astype(str)}, "features: expected real numbers, got <U"),
        ({"features": FEATURES.astype(complex)}, "features: expected real numbers, got complex128"),
        ({"target": np.array([{}, {}, {}], dtype=object)}, "target: expected numbers or strings"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    pack(tmp_path / "train.npz", **arrays)
    said = refused(tmp_path)
    assert said.startswith(str(tmp_path / "train.npz"))
    assert message in said


def test_the_number_of_features_must_not_change(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz")
    pack(tmp_path / "test.npz", features=FEATURES[:, :1])
    assert refused(tmp_path, test="test.npz").startswith(
        f"{tmp_path / 'test.npz'}, sequence 0, step 0: expected 2 features as in "
    )


def test_a_tenth_of_the_training_sequences_is_held_out(tmp_path: Path) -> None:
    lengths = np.full(20, 2)
    values = np.arange(40.0)
    pack(tmp_path / "train.npz", features=values, lengths=lengths, target=np.arange(20) % 2)
    sequences = NumpyArrays().read(tmp_path)
    assert (len(sequences.train.names), len(sequences.val.names)) == (18, 2)
    for part in (sequences.train, sequences.val):
        for i, name in enumerate(part.names):
            assert part.numbers[2 * i : 2 * i + 2, 0].tolist() == [2 * int(name), 2 * int(name) + 1]
            assert part.targets[i] == int(name) % 2


def claim(shape: tuple[int, ...], data: bytes) -> bytes:
    """Makes the contents of an .npy file with a false shape."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def test_false_shapes_take_no_memory(tmp_path: Path) -> None:
    pack(tmp_path / "train.npz", features=None)
    with zipfile.ZipFile(tmp_path / "train.npz", "a") as archive:
        archive.writestr("features.npy", claim((1 << 40, 1 << 20), b"12345678"))
    assert "features: expected 9,223,372,036,854,775,808 bytes for the shape" in refused(tmp_path)
    (tmp_path / "a.npy").write_bytes(claim((1 << 40,), b"12345678"))
    (tmp_path / "train.csv").write_text("file,target\na.npy,x\n")
    assert "a.npy: expected a complete NumPy file, got: mmap length" in refused(
        tmp_path, train="train.csv", val="train.csv"
    )


def test_a_bomb_is_not_decompressed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as file:
            file.write(claim((1 << 20,), bytes(1 << 23)))
        # 8 MiB in the file, but its directory claims 2 GiB.
        archive.getinfo("features.npy").file_size = 1 << 31
        archive.writestr("lengths.npy", claim((1,), b"12345678"))
        archive.writestr("target.npy", claim((1,), b"12345678"))
    assert "features: expected an array compressed by a factor of at most 100, got 2,147,483" in (
        refused(tmp_path)
    )


@pytest.mark.parametrize("kept", [0, 10, 300, -1])
def test_truncated_files(tmp_path: Path, kept: int) -> None:
    pack(tmp_path / "train.npz")
    data = (tmp_path / "train.npz").read_bytes()
    (tmp_path / "train.npz").write_bytes(data[:kept])
    assert "train.npz: expected a complete .npz file, got: " in refused(tmp_path)


def test_missing_and_other_files(tmp_path: Path) -> None:
    assert refused(tmp_path) == (
        f"train.npz is not in {tmp_path}; set --data.root to its folder, or correct the file name "
        "in --data.corpus"
    )
    assert "expected a name ending in .npz or, for a table of files, in .tsv" in refused(
        tmp_path, train="train.mat", val=None
    )


def lists(folder: Path, rows: str) -> None:
    for i, (start, end) in enumerate([(0, 2), (2, 3), (3, 6)]):
        np.save(folder / f"{i}.npy", FEATURES[start:end])
        np.savez(
            folder / f"{i}.npz", features=FEATURES[start:end], t=np.arange(end - start),
            target=np.arange(start, end) % 2, other=np.arange(start, end),
        )  # fmt: skip
    (folder / "train.csv").write_text(rows)


def listed(folder: Path, **options: Any) -> Sequences:  # noqa: ANN401
    return NumpyArrays(**({"train": "train.csv", "val": "train.csv"} | options)).read(folder)


def test_one_file_per_sequence(tmp_path: Path) -> None:
    lists(tmp_path, "file,target,speed\n2.npy,up,\n1.npz,down,3\n0.npy,,4.5\n")
    sequences = listed(tmp_path)
    train = sequences.train
    assert list(train.names) == ["2.npy", "1.npz", "0.npy"]
    assert train.lengths.tolist() == [3, 1, 2]
    np.testing.assert_array_equal(train.numbers, FEATURES[[3, 4, 5, 2, 0, 1]])
    assert sequences.targets == ["down", "up"]
    assert train.targets.tolist() == [1, 0, -100]
    assert train.place(1) == f"{tmp_path / '2.npy'}, step 1"
    numbers = listed(tmp_path, kind="numbers", targets="speed")
    np.testing.assert_array_equal(numbers.train.targets, [[np.nan], [3], [4.5]])
    assert numbers.targets == ["speed"]


def test_one_file_per_sequence_with_targets_of_steps_and_times(tmp_path: Path) -> None:
    lists(tmp_path, "file\n2.npz\n1.npz\n")
    train = listed(tmp_path, per="step", times="t").train
    assert train.targets.tolist() == [1, 0, 1, 0]
    assert train.times is not None
    assert train.times.tolist() == [0, 1, 2, 0]
    labels = listed(tmp_path, per="step", kind="numbers", targets=["target", "other"])
    np.testing.assert_array_equal(labels.train.targets, [[1, 3], [0, 4], [1, 5], [0, 2]])
    (tmp_path / "train.csv").write_text("file\n2.npy\n")
    with pytest.raises(InputError, match=r"train.csv:2: expected an .npz file, got '2.npy'; conv"):
        listed(tmp_path, per="step")
    with pytest.raises(InputError, match=r"train.csv: expected an .npz file with the array 'c'"):
        listed(tmp_path, target_names="c")


def test_a_table_in_json_lines(tmp_path: Path) -> None:
    lists(tmp_path, "")
    rows = [{"path": "0.npy", "y": 7}, {"path": "1.npy", "y": None}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = {"train": "train.jsonl", "val": "train.jsonl", "file": "path", "targets": "y"}
    assert listed(tmp_path, **options).train.targets.tolist() == [0, -100]
    read = listed(tmp_path, kind="numbers", **options)
    np.testing.assert_array_equal(read.train.targets, [[7], [np.nan]])


@pytest.mark.parametrize("name", ["../0.npy", "/etc/passwd", "a/../../0.npy", "", "0\0.npy"])
def test_paths_stay_inside_the_root(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    lists(tmp_path / "data", f'file,target\n"{name}",x\n')
    with pytest.raises(InputError, match=r"train.csv:2: expected a file below .*data, got "):
        listed(tmp_path / "data")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("name,target\n0.npy,a\n", "train.csv:2: expected a column 'file', got the columns name"),
        ("file,target\n7.npy,a\n", "7.npy is not in ROOT; correct the name in ROOT/train.csv:2"),
        ("file,target\n", "train.csv: expected rows below the header, got none"),
        (
            "file,target\ntrain.csv,a\n",
            "train.csv:2: expected an .npy or .npz file, got 'train.csv'",
        ),
        (
            "file,target\nwide.npy,a\n0.npy,a\n",
            "0.npy, step 0: expected 3 features as in ROOT/wide",
        ),
        ("file,target\nempty.npy,a\n", "empty.npy: expected the shape (T, ...), got (0, 3)"),
        ("file,target\nobjects.npy,a\n", "objects.npy: expected numbers or strings, got Python"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    lists(tmp_path, rows)
    np.save(tmp_path / "wide.npy", np.zeros((2, 3)))
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object))
    with pytest.raises(InputError) as caught:
        listed(tmp_path)
    assert message in str(caught.value).replace(str(tmp_path), "ROOT")


def test_words_in_a_column_of_numbers(tmp_path: Path) -> None:
    lists(tmp_path, "file,target\n0.npy,3\n1.npy,fast\n2.npy,slow\n")
    with pytest.raises(InputError, match=r"2 rows have errors:\n.*train.csv:3: expected a number"):
        listed(tmp_path, kind="numbers")


def test_a_single_sequence_stays_mapped(tmp_path: Path) -> None:
    lists(tmp_path, "file,target\n2.npy,a\n")
    assert isinstance(listed(tmp_path).train.numbers, np.memmap)


def test_many_sequences_are_joined_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srulight.tasks.sequence_prediction.corpora.assembly._LARGEST", 1)
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    lists(tmp_path, "file,target\n2.npy,a\n0.npy,a\n")
    numbers = listed(tmp_path).train.numbers
    assert isinstance(numbers, np.memmap)
    np.testing.assert_array_equal(numbers, FEATURES[[3, 4, 5, 0, 1]])


def test_the_recipe_follows_the_files_and_the_settings(tmp_path: Path) -> None:
    lists(tmp_path, "file,target\n2.npy,a\n0.npy,b\n")
    recipes = [NumpyArrays(train="train.csv").recipe(tmp_path)]
    recipes.append(NumpyArrays(train="train.csv", features="other").recipe(tmp_path))
    np.save(tmp_path / "0.npy", np.zeros((5, 2)))
    recipes.append(NumpyArrays(train="train.csv").recipe(tmp_path))
    (tmp_path / "train.csv").write_text("file,target\n2.npy,a\n0.npy,c\n")
    recipes.append(NumpyArrays(train="train.csv").recipe(tmp_path))
    assert len({json.dumps(recipe) for recipe in recipes}) == 4
    pack(tmp_path / "train.npz")
    first = NumpyArrays().recipe(tmp_path)
    assert first == NumpyArrays().recipe(tmp_path)
    pack(tmp_path / "train.npz", features=FEATURES + 1)
    assert first != NumpyArrays().recipe(tmp_path)


def test_the_data_module_reads_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    pack(tmp_path / "train.npz")
    data = SequencePredictionData(NumpyArrays(val="train.npz"), root=str(tmp_path))
    data.setup("fit")
    (batch,) = list(data.val_dataloader())
    assert batch.inputs.shape == (3, 3, 2)
    assert sorted(batch.lengths.tolist()) == [1, 2, 3]
    assert data.metadata["target"]["counts"] == [1, 2]
