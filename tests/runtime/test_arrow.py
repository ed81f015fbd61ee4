"""Parquet files and data sets of Hugging Face on disk are read as rows."""

import json
import random
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.records import is_table, table_rows

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

COLUMNS: dict[str, list[Any]] = {
    "text": ["so", None, "no\n"],
    "label": [1, 0, -1],
    "price": [0.5, None, 2.0],
}
NAMES = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}


def rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(table_rows(path, "set --data.root", Faults()))


def numbered(**columns: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    values = zip(*columns.values(), strict=True)
    return [(i, dict(zip(columns, row, strict=True))) for i, row in enumerate(values, 1)]


def write_saved(folder: Path, features: object = NAMES, parts: int = 2) -> Path:
    """Writes what ``save_to_disk`` writes, as far as it is read, with all rows in each part."""
    folder.mkdir()
    table = pyarrow.table(COLUMNS)
    names = [f"data-{i}.arrow" for i in range(parts)]
    for name in names:
        with pyarrow.ipc.new_stream(folder / name, table.schema) as file:
            file.write(table)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(COLUMNS), path, row_group_size=2)
    assert rows(path) == numbered(**COLUMNS)
    parquet.write_table(pyarrow.table({"text": list(map(str, range(3000)))}), path)
    assert rows(path)[2047:2049] == [(2048, {"text": "2047"}), (2049, {"text": "2048"})]


def test_classes_that_parquet_names_get_their_names(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    about = {"huggingface": json.dumps({"info": {"features": NAMES}})}
    parquet.write_table(pyarrow.table(COLUMNS).replace_schema_metadata(about), path)
    assert rows(path) == numbered(**{**COLUMNS, "label": ["good", "bad", None]})
    parquet.write_table(pyarrow.table(COLUMNS).replace_schema_metadata({"huggingface": "{"}), path)
    assert rows(path) == numbered(**COLUMNS)


def test_the_parts_of_a_saved_data_set_follow_each_other(tmp_path: Path) -> None:
    folder = write_saved(tmp_path / "set")
    once = {**COLUMNS, "label": ["good", "bad", None]}
    assert is_table(folder)
    assert rows(folder) == numbered(**{name: column * 2 for name, column in once.items()})


def test_what_datasets_saves_is_read_without_it_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    kind = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({
        "text": datasets.Value("string"), "label": kind, "tags": datasets.Sequence(kind),
    })  # fmt: skip
    columns: dict[str, list[Any]] = {
        "text": ["so", "no", "well"],
        "label": [1, 0, -1],
        "tags": [[0, 1], [], [1]],
    }
    saved = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict({"train": saved.shuffle(seed=1), "test": saved}).save_to_disk(
        str(tmp_path / "set")
    )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(socket, "socket", None)
    expected: dict[str, list[Any]] = {
        "text": columns["text"], "label": ["good", "bad", None],
        "tags": [["bad", "good"], [], ["good"]],
    }  # fmt: skip
    assert rows(tmp_path / "set" / "test") == numbered(**expected)
    shuffled = [row for _, row in rows(tmp_path / "set" / "train")]
    assert sorted(row["text"] for row in shuffled) == ["no", "so", "well"]
    assert [row for _, row in numbered(**expected) if row not in shuffled] == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(InputError, match=r"the parts train, test; name .* such as set/train"):
        rows(tmp_path / "set")


def test_without_pyarrow_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    why = r'reading .*a.parquet needs pyarrow; install it: pip install "srulight\[tables\]"'
    with pytest.raises(InputError, match=why):
        rows(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "a.parquet is not in .*; set --data.root"),
        (b"text,label\n", "a.parquet is damaged or of another format: Parquet magic bytes"),
        (b"", "a.parquet is damaged or of another format: Parquet file size is 0 bytes"),
    ],
)
def test_another_file_is_no_parquet(content: bytes | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=why):
        rows(path)


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([1])] * 2, names=["a", "a"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: the column 'a' appears twice"):
        rows(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("{", "state.json: not JSON"),
        ('{"_data_files": [{"filename": "../data-0.arrow"}]}', r"state.json: expected names of"),
        ('{"_data_files": [7]}', "state.json: expected names of files, got 7"),
        ('{"_data_files": [{"filename": "b.arrow"}]}', "set is damaged or of another format"),
    ],
)
def test_a_damaged_data_set_is_one_sentence(state: str, why: str, tmp_path: Path) -> None:
    folder = write_saved(tmp_path / "set")
    (folder / "state.json").write_text(state)
    with pytest.raises(InputError, match=why) as found:
        rows(folder)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("features", [None, [], {"label": 1}, {"label": {"_type": "ClassLabel"}}])
def test_without_names_classes_stay_numbers(features: object, tmp_path: Path) -> None:
    folder = write_saved(tmp_path / "set", features, parts=1)
    assert rows(folder) == numbered(**COLUMNS)


def test_damaged_files_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    generator = random.Random(0)
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(COLUMNS), path)
    whole = path.read_bytes()
    refused = []
    for _ in range(100):
        damaged = bytearray(whole[: generator.randrange(len(whole) + 1)])
        if len(damaged) > 8 and generator.random() < 0.7:
            damaged = bytearray(whole)
            damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            rows(path)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert not any("\n" in sentence for sentence in refused)
