"""Untrusted JSON and tables are read, or rejected with one sentence."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from srulight.runtime.errors import InputError
from srulight.runtime.faults import Faults
from srulight.runtime.records import parse_json, table_rows


def test_json_is_read_with_whole_characters() -> None:
    text = r'{"a\ud83d": ["\ude00b", "\ud83d\ude00", 1, null, NaN]}'
    (key, values), *_ = parse_json(text, "here").items()
    assert (key, values[:4]) == ("a\ufffd", ["\ufffdb", "\U0001f600", 1, None])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON: Expecting property name"),
        ("", "not JSON: Expecting value"),
        ("[" * 100_000, "expected JSON of at most 100 nested levels, got more"),
        ('{"a":' * 100_000, "expected JSON of at most 100 nested levels, got more"),
        ("[" * 102 + "]" * 102, "expected JSON of at most 100 nested levels, got more"),
        ("9" * 6000, "a number has too many digits"),
        ('[{"a": 1, "b": {"c": 1, "c": 2}}]', "the key 'c' appears twice in an object"),
    ],
)
def test_other_json_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=f"^here: {why}"):
        parse_json(text, "here")


def test_json_may_be_a_hundred_levels_deep() -> None:
    assert parse_json("[" * 101 + "]" * 101, "here")


def random_value(generator: random.Random, depth: int) -> Any:  # noqa: ANN401
    kind = generator.randrange(6 if depth else 4)
    if kind == 4:
        return [random_value(generator, depth - 1) for _ in range(generator.randrange(3))]
    if kind == 5:
        keys = {generator.choice('abc\u00e9"\\') for _ in range(3)}
        return {key: random_value(generator, depth - 1) for key in sorted(keys)}
    return [None, generator.random(), generator.randrange(9), "a\u00e9\U0001f600\n"][kind]


def test_json_that_python_wrote_comes_back_and_damaged_json_is_one_sentence() -> None:
    generator = random.Random(0)
    refused = []
    for _ in range(2000):
        value = random_value(generator, 4)
        text = json.dumps(value, ensure_ascii=generator.random() < 0.5)
        assert parse_json(text, "here") == value
        place = generator.randrange(len(text))
        sign = generator.choice('{}[],:"\\0eE-.\u00e9\ud83d')
        try:
            parse_json(text[:place] + sign + text[place + generator.randrange(2) :], "here")
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 500
    assert not any("\n" in sentence for sentence in refused)


def test_a_field_may_be_longer_than_csv_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'text,label\n"{"word " * 40_000}",x\n', encoding="utf-8")
    ((number, row),) = table_rows(path, "", Faults())
    assert (number, len(row["text"]), row["label"]) == (2, 200_000, "x")


def rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    faults = Faults()
    found = list(table_rows(path, "", faults))
    faults.refuse()
    return found


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "text,label,text\na,b,c\n", "a.csv:1: the column 'text' appears twice"),
        ("a.tsv", "\n\ntext\ttext\na\tb\n", "a.tsv:3: the column 'text' appears twice"),
        (
            "a.jsonl",
            '{"text": "a", "text": "b"}\n',
            "a.jsonl:1: the key 'text' appears twice",
        ),
        ("a.csv", "text,label\na\rb,c\n", r"a.csv:2: expected rows that end with .* lone"),
        ("a.csv", 'text,label\n"a"b,c\n', "a.csv:2: "),
        ("a.csv", "\n\n", "a.csv is empty"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: expected JSON of at most 100 nested levels"),
    ],
)
def test_a_table_that_says_two_things_is_refused(
    name: str, text: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(InputError, match=why):
        rows(tmp_path / name)


def test_quoted_fields_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\n"a\r\nb\rc",x\r\n\r\nd,y\r\n')
    assert list(table_rows(path, "", Faults())) == [
        (3, {"text": "a\nb\rc", "label": "x"}), (5, {"text": "d", "label": "y"}),
    ]  # fmt: skip
