"""Tables are read by the names of their columns."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from srulight.data.base import IGNORED
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
    root = write(tmp_path, a_tsv=TSV + "alone\n" + "\n" + "one\ttwo\tthree\n")
    with pytest.raises(InputError) as found:
        Tables("a.tsv").read(root)
    assert str(found.value).replace(f"{tmp_path}/", "").split("\n  ") == [
        "2 rows have errors:",
        "a.tsv:4: expected 2 columns, got 1",
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
        ("a.tsv", "text\tlabel\n", "a.tsv: expected rows below the header, got none"),
        ("a.tsv", "", "a.tsv is empty"),
        ("a.txt", TSV, "a.txt: expected a name ending in .tsv, .csv, .jsonl, .parquet"),
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


def test_labels_in_a_column_of_names(tmp_path: Path) -> None:
    rows = "text,tags\nso,b;a\nno, b ; c ;\nwell,\n"
    root = write(tmp_path, a_csv=rows)
    splits = Tables("a.csv", "a.csv", label="tags", kind="labels").read(root)
    assert splits.labels == ["a", "b", "c"]
    assert splits.targets == ("tags",)
    # A blank cell says that no label applies.
    assert splits.val == [("so", (1, 1, 0)), ("no", (0, 1, 1)), ("well", (0, 0, 0))]


def test_labels_as_a_list_in_json(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        a_jsonl='{"text": "so", "label": ["a", 7]}\n{"text": "no", "label": []}\n'
        '{"text": "well", "label": null}\n',
    )
    splits = Tables("a.jsonl", "a.jsonl", kind="labels").read(root)
    assert splits.labels == ["7", "a"]
    assert splits.train[:2] == [("so", (1, 1)), ("no", (0, 0))]
    assert all(map(math.isnan, splits.train[2].label))  # type: ignore[arg-type]


def test_labels_in_columns_of_zeros_and_ones(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        a_csv="text,b,a\nso,1,0\nno,True,1.0\nwell,,NaN\n",
        b_jsonl='{"text": "so", "a": true, "b": 1.0}\n{"text": "no", "a": null, "b": NaN}\n',
    )
    splits = Tables("a.csv", "b.jsonl", label=["b", "a"], kind="labels").read(root)
    assert splits.labels == ["b", "a"]
    assert splits.train[:2] == [("so", (1, 0)), ("no", (1, 1))]
    assert splits.val[0] == ("so", (1, 1))
    for unknown in (splits.train[2], splits.val[1]):
        assert all(map(math.isnan, unknown.label))  # type: ignore[arg-type]


def test_numbers(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        a_csv="text,price,size\nso, 1.5 ,-2e3\nno,7,\n",
        b_jsonl='{"text": "so", "price": 2, "size": null}\n',
    )
    splits = Tables("a.csv", "b.jsonl", label=["price", "size"], kind="numbers").read(root)
    assert splits.labels == ["price", "size"]
    assert splits.train[0] == ("so", (1.5, -2000.0))
    price, size = splits.train[1].label  # type: ignore[misc]
    assert (price, math.isnan(size)) == (7, True)
    price, size = splits.val[0].label  # type: ignore[misc]
    assert (price, math.isnan(size)) == (2, True)
    alone = Tables("a.csv", "a.csv", label="price", kind="numbers").read(root)
    assert alone.train == [("so", (1.5,)), ("no", (7,))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,label\nso,x\nno,\nwell, \n"),
        ("a.jsonl", '{"text": "so", "label": "x"}\n{"text": "no", "label": null}\n'
         '{"text": "well", "label": NaN}\n'),
    ],
)  # fmt: skip
def test_a_sentence_may_lack_its_class(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    splits = Tables(name, name).read(tmp_path)
    assert splits.labels == ["x"]
    assert [example.label for example in splits.train] == [0, IGNORED, IGNORED]


def test_whole_numbers_that_a_program_wrote_as_floats_are_the_same_classes(tmp_path: Path) -> None:
    root = write(tmp_path, a_jsonl='{"text": "so", "label": 1.0}\n{"text": "no", "label": 1}')
    assert Tables("a.jsonl", "a.jsonl").read(root).labels == ["1"]


FRACTIONS = "text,label\n" + "".join(f"so,{n}\nno,{n}.25\n" for n in range(11))


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("text,label\nso,\nno,\n", {}, "a.csv: expected a label in column 'label' of at least"),
        (
            "text,label\nso,1\nno,cheap\n", {"kind": "numbers"},
            "a.csv:3: expected a number in column 'label', got 'cheap'; correct it, or",
        ),
        ("text,label\nso,1\nno,-inf\n", {"kind": "numbers"}, "a.csv:3: .* got '-inf'"),
        ("text,label\nso,1\nno,1e39\n", {"kind": "numbers"}, "a.csv:3: .* got '1e39'"),
        (
            "text,a,b\nso,1,0\nno,0,2\n", {"kind": "labels", "label": ["a", "b"]},
            "a.csv:3: expected 0 or 1 in column 'b', got '2'; correct it, or leave",
        ),
        (
            "text,a\nso,1\n", {"kind": "numbers", "label": ["a", "c"]},
            "a.csv:2: expected a column 'c', got the columns text, a; set --data.corpus.text and",
        ),
        (
            FRACTIONS, {},
            "a.csv:3: expected the name of a class in column 'label', got '0.25', one of 22 "
            "different numbers; set --data.corpus.kind=numbers",
        ),
    ],
)  # fmt: skip
def test_a_target_of_another_kind_is_refused_with_its_place(
    text: str, options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    root = write(tmp_path, a_csv=text)
    with pytest.raises(InputError, match=why):
        Tables("a.csv", "a.csv", **options).read(root)


def test_a_list_of_other_values_is_no_list_of_labels(tmp_path: Path) -> None:
    root = write(tmp_path, a_jsonl='{"text": "so", "label": [{"a": 1}]}')
    with pytest.raises(InputError, match=r"a.jsonl:1: expected names of .*'label', .*, got \[{"):
        Tables("a.jsonl", "a.jsonl", kind="labels").read(root)


def test_a_label_among_several_that_training_lacks_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, a_csv="text,label\nso,a;b\n", b_csv="text,label\nso,a\nno,a;c\n")
    with pytest.raises(InputError, match=r"b.csv:3: .* training file \(a, b\), got 'c'"):
        Tables("a.csv", "b.csv", kind="labels").read(root)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"label": ["a", "b"]}, "label must be one column if kind is 'class', got"),
        ({"label": [], "kind": "labels"}, r"label must name one or several .*, got \[\]"),
        ({"label": ["a", "a"], "kind": "numbers"}, "label must name one or several different"),
    ],
)
def test_columns_that_do_not_fit_the_kind_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Tables(**options)


def test_other_kinds_of_tables(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"text": ["so", "no"], "label": [["b", "a"], None], "price": [1.5, None]}
    parquet.write_table(arrow.table(table), tmp_path / "a.parquet")
    splits = Tables("a.parquet", "a.parquet", kind="labels").read(tmp_path)
    assert splits.labels == ["a", "b"]
    assert splits.train[0] == ("so", (1, 1))
    prices = Tables("a.parquet", "a.parquet", label="price", kind="numbers").read(tmp_path)
    assert [math.isnan(example.label[0]) for example in prices.train] == [False, True]  # type: ignore[index]
    broken = {"text": ["so", "no"], "label": ["1", "x"]}
    parquet.write_table(arrow.table(broken), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b.parquet:2: expected a number .* got 'x'"):
        Tables("b.parquet", "b.parquet", kind="numbers").read(tmp_path)
