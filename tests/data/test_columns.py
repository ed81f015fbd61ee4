"""Tables are read with pyarrow, and row by row with the same results."""

import gzip
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srulight.data import columns as module
from srulight.data import delimited
from srulight.data.cells import as_number, as_text, as_time
from srulight.data.columns import Column, Columns, TableFile
from srulight.runtime.errors import InputError

WANTED = {
    "s": Column("text", "name it"),
    "x": Column("number", "name it", "fix it"),
    "t": Column("time", "name it", "fix it"),
}


def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "module_available", lambda _: False)


def with_pyarrow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Columns:
        raise AssertionError("the table was read row by row")

    monkeypatch.setattr(TableFile, "_by_rows", refuse)


@pytest.fixture(params=[without_pyarrow, with_pyarrow_alone])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two ways of reading, without the other one."""
    request.param(monkeypatch)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def texts(columns: Columns, name: str) -> list[str]:
    found = columns.texts[name]
    return [found.values[code] for code in found.codes]


def said(path: Path) -> tuple[Any, ...] | str:
    """Returns everything that was read, or the error."""
    try:
        read = TableFile(path, "").read(WANTED)
    except InputError as error:
        return str(error)
    numbers = {name: repr(values.tolist()) for name, values in read.numbers.items()}
    return read.size, numbers, texts(read, "s"), [read.place(i) for i in range(read.size)]


CLEAN = {
    "a.csv": 's,x,t,other\na,1.5,0,so\n\n"b, c",,1,"more ""so"""\n"two\nlines",-2e3, 2.5 ,\n',
    "crlf.csv": 's,x,t\r\na,1.5,0\r\n\r\n"b, c",NA,1\r\n"two\r\nlines",-2e3,2.5\r\n',
    "mark.csv": '\ufeff"s","t","x"\na,0,+1.5\n"b, c",1,nan\n"two\nlines",2.5,-2000.\n',
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", CLEAN)
def test_a_plain_table_is_read_both_ways(name: str, tmp_path: Path) -> None:
    read = TableFile(written(tmp_path, name, CLEAN[name]), "").read(WANTED)
    assert read.size == 3
    assert texts(read, "s") == ["a", "b, c", "two\nlines"]
    np.testing.assert_array_equal(read.numbers["x"], [1.5, math.nan, -2000])
    np.testing.assert_array_equal(read.numbers["t"], [0, 1, 2.5])


@pytest.mark.usefixtures("way")
def test_quotes_in_tsv_are_signs_like_others(tmp_path: Path) -> None:
    read = TableFile(written(tmp_path, "a.tsv", 's\tx\tt\n"a\t1\t0\nb, "c\t2\t1\n'), "").read(
        WANTED
    )
    assert texts(read, "s") == ['"a', 'b, "c']


@pytest.mark.usefixtures("way")
def test_places_count_lines_as_an_editor_does(tmp_path: Path) -> None:
    read = TableFile(written(tmp_path, "a.csv", CLEAN["a.csv"]), "").read(WANTED)
    lines = [read.place(i).removeprefix(f"{tmp_path}/") for i in range(3)]
    assert lines == ["a.csv:2", "a.csv:4", "a.csv:6"]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("first", "second", "step"),
    [
        ("2020-01-01", "2020-01-02", 86400),
        ("2020-01-01T00:00:00Z", "2020-01-01T01:00:00+00:30", 1800),
        ("2020-01-01 00:00", "2020-01-01 00:00:00.25", 0.25),
        ("1577836800", "1577836801.5", 1.5),
    ],
)
def test_dates_are_seconds_in_utc(first: str, second: str, step: float, tmp_path: Path) -> None:
    text = f"s,x,t\na,1,{first}\na,2,{second}\n"
    read = TableFile(written(tmp_path, "a.csv", text), "").read(WANTED)
    np.testing.assert_array_equal(read.numbers["t"], [1577836800, 1577836800 + step])


@pytest.mark.usefixtures("way")
def test_true_is_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "s,x,t\na,True,0\na,,1\na,false,2\n")
    found = TableFile(path, "").read(WANTED).numbers["x"]
    np.testing.assert_array_equal(found, [1, math.nan, 0])


ODD = [
    "1.5", "+1.5", "1.", ".5", "1e5", "1E+5", " 1.5 ", "\t2", "00012", "-0", "1e-400", "9" * 30,
    "inf", "-Infinity", "INF", "1e400", "-1e400", "9" * 400, "1e39", "nan", "NaN", "-nan", "nAn",
    "+nan", "nan(1)", "NA", " NA ", "null", "None", "n/A", "", " ", "0x10", "1_000", '"1,5"', "1e",
    "--1", "-", ".", "\uff11\uff12", "\u0663", "\xa01", "1.5\0", "True", "tRUE", "text", "\xe9",
    '"1.5"', '""', '"1"5', '5"', '"a""b"', '""a', '"x\ny"', '"x\r\ny"', '"', "\r1", "1\r",
    "1,2", "1\t2", "\ufeff1", "2020-01-02", "2020-01-02T03:04:05Z", "2020-01-02 03:04",
    "2020-01-02T03", "2020-01-02T03:04:05.123456789", "2020-01-02T03:04:05+05:30",
    "1969-12-31T23:59:59.9", "2020-02-30", "2020-W01-1", "20200102", "2020-01-02T24:00:00",
    "2020-01-02 03:04:05-0800",
]  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("column", range(3))
def test_both_ways_agree_on_odd_cells(
    column: int, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = "," if ending == ".csv" else "\t"
    for number, cell in enumerate(ODD):
        line, first = ("\n", "a,1,1"), ("\r\n", "a,True,2020-01-01")
        line_end, before = (line, first)[number % 2]
        own = ["b", "2", "2"]
        own[column] = cell
        rows = [["s", "x", "t"], before.split(","), own, [""], ["c", "", "2020-01-03"]]
        text = line_end.join(map(sign.join, rows)) + line_end
        path = written(tmp_path, f"a{ending}", text)
        with monkeypatch.context() as patch:
            without_pyarrow(patch)
            expected = said(path)
        assert said(path) == expected, repr(cell)


@pytest.mark.parametrize(
    "text",
    [
        "s\tx\tt\na\t1\t0\n \t \t \nb\t1\t1\n",  # a blank line in TSV is no row
        "s\tx\tt\na\t1\t0\n\t\t\nb\t1\t1\n",
        "s\tx\tt\na\t1\t0\nb\t1\n",
    ],
)
def test_both_ways_agree_on_odd_lines(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, own in {"a.tsv": text, "a.csv": text.replace("\t", ",")}.items():
        path = written(tmp_path, name, own)
        with monkeypatch.context() as patch:
            without_pyarrow(patch)
            expected = said(path)
        assert said(path) == expected


@pytest.mark.usefixtures("way")
def test_a_table_of_many_blocks_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each block of the parser has texts of its own.
    monkeypatch.setattr(module, "_PARSED", 1000)
    monkeypatch.setattr(delimited, "_BLOCK", 1000)
    rows = "".join(f'"{i // 50}\n",{i}.5,{i}\r\n' for i in range(5000))
    read = TableFile(written(tmp_path, "a.csv", "s,x,t\n" + rows), "").read(WANTED)
    np.testing.assert_array_equal(read.numbers["x"], np.arange(5000) + 0.5)
    assert texts(read, "s") == [f"{i // 50}\n" for i in range(5000)]
    assert read.place(4999).endswith("a.csv:10001")


def test_compressed_and_other_encodings_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"s,x,t\na,1,0\n"))
    assert TableFile(path, "").read(WANTED).size == 1
    path.write_bytes(b"s,x,t,other\na,1,0,\n" + b"a,1,0,\n" * 2000 + b"a,1,0,\xe9\n")
    with pytest.raises(InputError, match=r"a.csv:2003: byte 0xe9 is not UTF-8"):
        TableFile(path, "").read(WANTED)


def test_json_lines_may_leave_out_cells(tmp_path: Path) -> None:
    text = '{"s": 1, "t": 0}\n{"s": "1", "x": 2, "t": "1"}\n{"x": NaN, "t": 2, "y": []}\n'
    read = TableFile(written(tmp_path, "a.jsonl", text), "").read(WANTED)
    assert texts(read, "s") == ["1", "1", ""]
    np.testing.assert_array_equal(read.numbers["x"], [math.nan, 2, math.nan])


def parquet(path: Path, table: Any) -> None:  # noqa: ANN401
    pytest.importorskip("pyarrow.parquet").write_table(table, path)


def saved(path: Path, table: Any) -> None:  # noqa: ANN401
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset(table).save_to_disk(path)


@pytest.mark.parametrize("write", [parquet, saved])
def test_columnar_files_keep_their_types(
    write: Callable[[Path, Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / ("a.parquet" if write is parquet else "a")
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    moments = [moment + timedelta(seconds=i / 4) for i in range(3)]
    columns = {
        "s": pa.array(["a", None, "b"]),
        "x": pa.array([1, None, 3], pa.int16()),
        "t": pa.array(moments, pa.timestamp("ns", "UTC")),
    }
    write(path, pa.table(columns))
    numbers = {"x": "[1.0, nan, 3.0]", "t": "[1577836800.0, 1577836800.25, 1577836800.5]"}
    expected = (3, numbers, ["a", "", "b"], [f"{path}:{i}" for i in (1, 2, 3)])
    with monkeypatch.context() as patch:
        with_pyarrow_alone(patch)
        assert said(path) == expected
    assert TableFile(path, "").numeric == ["x"]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (["1.5", "NA", "-2"], [1.5, math.nan, -2]),
        ([1.0, math.nan, None], [1, math.nan, math.nan]),
        ([True, None, False], [1, math.nan, 0]),
        (
            [1.5, math.inf, 0],
            "a.parquet:2: expected a finite number .* got inf; fix it",
        ),
        ([date(2020, 1, 1)] * 3, "a.parquet:1: expected a number in column 'x', got datetime"),
        ([[1.0]] * 3, r"a.parquet:1: expected a number in column 'x', got \[1.0\]"),
    ],
)
def test_columnar_numbers(array: list[Any], expected: list[float] | str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    parquet(path, pa.table({"x": array}))
    table, wanted = TableFile(path, ""), {"x": WANTED["x"]}
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            table.read(wanted)
    else:
        np.testing.assert_array_equal(table.read(wanted).numbers["x"], expected)


def test_columnar_texts(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    columns: dict[str, Any] = {
        "whole": [1.0, math.nan, 2.0],
        "number": [3, None, 3],
        "listed": [["a", "b"], [], None],
        "factor": pa.array(["z", "a", "z"]).dictionary_encode(),
    }
    path = tmp_path / "a.parquet"
    parquet(path, pa.table(columns))
    read = TableFile(path, "").read({name: Column("text", "") for name in columns})
    assert texts(read, "whole") == ["1", "", "2"]
    assert texts(read, "number") == ["3", "", "3"]
    assert texts(read, "listed") == ["a;b", "", ""]
    assert texts(read, "factor") == ["z", "a", "z"]


def test_classes_of_a_saved_data_set_have_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        c=datasets.ClassLabel(names=["no", "yes"]), x=datasets.Value("int8")
    )
    data = datasets.Dataset.from_dict({"c": [1, 0, -1], "x": [1, 2, 3]}, features)
    data.save_to_disk(tmp_path / "a")
    read = TableFile(tmp_path / "a", "").read({"c": Column("text", "")})
    assert texts(read, "c") == ["yes", "no", ""]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a.csv is empty"),
        ("s,x,t\n", "a.csv: expected rows below the header, got none"),
        ("s,x,y,t\na,1,1\n", "a.csv:2: expected 4 columns, got 3"),
        ("s,x,s\na,1,1\n", "a.csv:1: the column 's' appears twice"),
        ("s,X,t\na,1,1\n", "a.csv: expected a column 'x', got the columns s, X, t; name it"),
        ("s,x,t\na,1,1\na,b,1\n", "a.csv:3: expected a number in column 'x', got 'b'; fix it"),
        ("s,x,t\na,1,1\na,-inf,1\n", "a.csv:3: expected a finite number .* got '-inf'; fix it"),
        (
            "s,x,t\na,1,1\na,1,noon\n",
            "a.csv:3: expected a number or an ISO 8601 date in column 't', got 'noon'; fix it",
        ),
    ],
)
def test_a_broken_table_is_refused_with_its_place(text: str, why: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", text)
    with pytest.raises(InputError, match=why):
        TableFile(path, "").read(WANTED)


def test_a_misspelled_column_is_recognized(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "s,x,t,temperature\na,1,1,1\n")
    with pytest.raises(InputError, match=r"a column 'temprature' \(did you mean 'temperature'\?\)"):
        TableFile(path, "").read({"temprature": WANTED["x"]})


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "s,x,t\na,b,1\na,1\na,2,c\n" + "a,b,2\n" * 10)
    with pytest.raises(InputError) as found:
        TableFile(path, "").read(WANTED)
    lines = str(found.value).replace(f"{tmp_path}/", "").split("\n  ")
    assert lines[0] == "13 rows have errors:"
    assert lines[1] == "a.csv:3: expected 3 columns, got 2"
    assert lines[2].startswith("a.csv:2: expected a number in column 'x', got 'b'")
    assert lines[-1] == "and 3 more"


def test_columns_are_numeric_by_their_first_value(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "a,b,c,d,e\nNA,x,,inf,True\n1,2,,1,no\n")
    assert TableFile(path, "").numeric == ["a", "d", "e"]


@pytest.mark.parametrize(
    ("value", "number"),
    [(None, math.nan), (" -1.5e1 ", -15), (True, 1), (3, 3), ("False", 0), ("N/A", math.nan)],
)
def test_cells_of_numbers(value: object, number: float) -> None:
    np.testing.assert_equal(as_number(value), number)


@pytest.mark.parametrize("value", ["1,5", "0x1", "1_0", [1], "\uff11", 10**400, "inf", 1e39])
def test_cells_that_are_no_finite_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=r"^a (finite )?number$"):
        as_number(value)


def test_cells_of_times_and_texts() -> None:
    assert as_time("1970-01-02T01:00:00+01:00") == 86400
    assert as_time(datetime(1970, 1, 1, 0, 0, 1)) == 1
    assert as_time(timedelta(minutes=1)) == 60
    assert as_time(" 5 ") == 5
    values = [None, math.nan, 1.0, 1.5, 3, True, "a ", ["a", 1]]
    assert [*map(as_text, values)] == ["", "", "1", "1.5", "3", "True", "a ", "a;1"]
    with pytest.raises(ValueError, match="text"):
        as_text({"a": 1})
