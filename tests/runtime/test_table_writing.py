"""Tables are written so that they read as they were."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.records import table_rows
from srulight.runtime.table_writing import (
    TableFormat,
    columns_of,
    format_of,
    table_writer,
    write_parquet,
)

ROWS: list[dict[str, Any]] = [
    {"text": 'a "b", c\nd', "note": "x"},
    {"text": "\u00e9;\U0001f600 ", "note": ""},
]


def text_of(rows: list[dict[str, Any]], form: TableFormat) -> str:
    header, line = table_writer(form, columns_of(rows))
    return header + "".join(map(line, rows))


def written(tmp_path: Path, rows: list[dict[str, Any]], form: TableFormat) -> list[dict[str, Any]]:
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        write_parquet(rows, path)
    else:
        path.write_bytes(text_of(rows, form).encode())
    return [row for _, row in table_rows(path, "", Faults())]


def test_formats_are_the_names_of_files() -> None:
    assert [format_of(f"a.{form}") for form in ("csv", "tsv", "jsonl", "parquet", "txt")] == [
        "csv", "tsv", "jsonl", "parquet", None,
    ]  # fmt: skip
    assert format_of("-") is None


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_texts_come_back(form: TableFormat, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    assert written(tmp_path, ROWS, form) == ROWS


def test_a_tsv_has_no_tabs_and_no_line_breaks_in_cells(tmp_path: Path) -> None:
    rows = [{"text": 'a\tb\r\nc "d"\u2028e', "note": "x"}]
    assert written(tmp_path, rows, "tsv") == [{"text": 'a b c "d" e', "note": "x"}]


def test_cells_without_text() -> None:
    rows: list[dict[str, Any]] = [
        {"a": None, "b": [1, "\u00e9"]},
        {"a": 0.5, "c": {"d": None}, "e": datetime.date(2026, 1, 2)},
    ]
    assert text_of(rows, "csv") == (
        'a,b,c,e\n,"[1, ""\u00e9""]",,\n0.5,,"{""d"": null}",2026-01-02\n'
    )
    assert text_of(rows, "jsonl") == (
        '{"a": null, "b": [1, "\u00e9"]}\n{"a": 0.5, "c": {"d": null}, "e": "2026-01-02"}\n'
    )
    assert text_of([{"a": True, "b": False}], "tsv") == "a\tb\ntrue\tfalse\n"


def test_columns_that_parquet_cannot_hold_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match=r"a.parquet: expected columns of one type each: .*jsonl"):
        written(tmp_path, [{"a": 1}, {"a": "x"}], "parquet")
    assert not (tmp_path / "a.parquet").exists()
