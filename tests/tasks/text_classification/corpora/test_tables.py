"""Tables are read by the names of their columns."""

import re
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.tables import Tables

TSV = 'text\tlabel\nA "fine" film, really\tgood\ndull\tbad\n'
CSV = 'id,label,text\n1,good,"A ""fine"" film, really"\n2,bad,dull\n'
JSONL = (
    '{"text": "A \\"fine\\" film, really", "label": "good", "id": null}\n'
    '{"label": "bad", "text": "dull"}\n'
)


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        stem, _, extension = name.rpartition("_")
        (root / f"{stem}.{extension}").write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(("name", "text"), [("tsv", TSV), ("csv", CSV), ("jsonl", JSONL)])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rows_become_raw_text_and_sorted_classes(
    name: str, text: str, mark: str, tmp_path: Path
) -> None:
    (tmp_path / f"a.{name}").write_text(mark + text, encoding="utf-8")
    splits = Tables(f"a.{name}", f"a.{name}").read(tmp_path)
    assert splits.train == splits.val == [('A "fine" film, really', 1), ("dull", 0)]
    assert splits.labels == ["bad", "good"]
    assert not splits.is_tokenized
    assert splits.test == []


def test_quotes_in_tsv_are_signs_like_others(tmp_path: Path) -> None:
    root = write(tmp_path, a_tsv='text\tlabel\n"so\tx\n"no\tx\n')
    assert Tables("a.tsv", "a.tsv").read(root).train == [('"so', 0), ('"no', 0)]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    root = write(tmp_path, a_csv="kind,review\nx,so\ny,no\n")
    assert Tables("a.csv", "a.csv", text="review", label="kind").read(root).labels == ["x", "y"]


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    root = write(tmp_path, a_tsv="review\tlabel\nso\tgood\n")
    with pytest.raises(InputError, match=r"a.tsv:2: expected a column 'text', got .* label"):
        Tables("a.tsv").read(root)


def test_a_label_that_training_lacks_is_refused_with_its_place(tmp_path: Path) -> None:
    root = write(tmp_path, train_tsv=TSV, val_tsv=TSV + "so\tso-so\n")
    with pytest.raises(InputError, match=r"val.tsv:4: .* training file \(bad, good\), got 'so-so'"):
        Tables(val="val.tsv").read(root)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    root = write(tmp_path, a_tsv=TSV + "alone\n" + "so\t\n" + "one\ttwo\tthree\n")
    with pytest.raises(InputError) as found:
        Tables("a.tsv").read(root)
    assert str(found.value).replace(f"{tmp_path}/", "").split("\n  ") == [
        "3 rows have errors:",
        "a.tsv:4: expected 2 columns, got 1",
        "a.tsv:5: expected a label in column 'label', got ''; fill it in, or delete the row",
        "a.tsv:6: expected 2 columns, got 3",
    ]
    write(tmp_path, b_jsonl=JSONL + "{\n[]\n" + '{"text": "so"}\n' * 20)
    with pytest.raises(InputError) as found:
        Tables("b.jsonl").read(root)
    lines = str(found.value).splitlines()
    assert lines[0] == "22 rows have errors:"
    assert "b.jsonl:3: not JSON" in lines[1]
    assert "b.jsonl:4: expected a JSON object, got '[]'" in lines[2]
    assert "b.jsonl:5: expected a column 'label', got the columns text" in lines[3]
    assert lines[11:] == ["  and 12 more"]
    write(tmp_path, c_tsv="text\tlabel\nso\tx\nso\ty\n")
    with pytest.raises(InputError, match=r"2 rows have errors:\n  .*c.tsv:2: .*\n  .*c.tsv:3: "):
        Tables("a.csv", "c.tsv").read(write(tmp_path, a_csv=CSV))


@pytest.mark.parametrize(
    ("name", "sign"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ","), ("a.tsv", ";")]
)
def test_columns_that_are_separated_otherwise_get_advice(
    name: str, sign: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(f"text{sign}label\nso, then{sign}x\nso, then{sign}y\n")
    said = f"commas (.csv), got {sign!r}; change the separator"
    with pytest.raises(InputError, match=re.escape(said)):
        Tables(name).read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.tsv", TSV + "alone\n", "a.tsv:4: expected 2 columns, got 1"),
        ("a.tsv", TSV + "one\ttwo\tthree\n", "a.tsv:4: expected 2 columns, got 3"),
        ("a.csv", 'text,label\n"so\nlong",x\nshort\n', "a.csv:4: expected 2 columns, got 1"),
        ("a.csv", 'text,label\n"open,x\n', "a.csv:2: unexpected end of data"),
        ("a.jsonl", JSONL + "{not json}\n", "a.jsonl:3: not JSON"),
        ("a.jsonl", JSONL + "[1]\n", "a.jsonl:3: expected a JSON object, got '\\[1\\]'"),
        ("a.jsonl", '{"text": null, "label": 1}', "a.jsonl:1: 'text' must be text, got None"),
        ("a.tsv", TSV + "so\t\n", "a.tsv:4: expected a label in column 'label', got ''"),
        ("a.tsv", "text\tlabel\n", "a.tsv: expected rows below the header, got none"),
        ("a.tsv", "", "a.tsv is empty"),
        ("a.txt", TSV, "a.txt: expected a name ending in .tsv, .csv, .jsonl"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    name: str, text: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=why):
        Tables(name, name).read(tmp_path)


def test_labels_may_be_numbers_in_json(tmp_path: Path) -> None:
    root = write(tmp_path, a_jsonl='{"text": "so", "label": 1}')
    assert Tables("a.jsonl", "a.jsonl").read(root).labels == ["1"]


def test_without_a_validation_file_a_tenth_is_held_out(tmp_path: Path) -> None:
    root = write(tmp_path, a_tsv="text\tlabel\n" + "so\tx\n" * 30)
    splits = Tables("a.tsv").read(root)
    assert (len(splits.train), len(splits.val)) == (27, 3)


def test_one_row_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least two training examples .* got 1"):
        Tables("a.tsv", None).read(write(tmp_path, a_tsv="text\tlabel\nso\tx\n"))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.tsv is not in .*; set --data.root"):
        Tables().read(tmp_path)
