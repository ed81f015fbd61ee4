"""Checks and statistics of labeled sentences before training."""

from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.tables import Tables
from srulight.tasks.text_classification.data import TextClassificationData


def said(
    root: Path, caplog: pytest.LogCaptureFixture, stage: str = "fit", **tables: str
) -> list[str]:
    caplog.set_level("INFO")
    for name, text in tables.items():
        (root / f"{name}.tsv").write_text("text\tlabel\n" + text)
    corpus = Tables("train.tsv", "val.tsv" if "val" in tables else None)
    TextClassificationData(corpus, root=str(root)).setup(stage)
    return caplog.messages


def test_counts_sentences_words_classes_and_what_is_unknown_or_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = "so so\tbad\nso dull\tbad\nfine\tgood\n\tbad\n"
    assert said(tmp_path, caplog, train=train, val="so what\tgood\n") == [
        "train: 4 sentences (1 of them empty, read as one out-of-vocabulary word), 4 distinct "
        "words, 16.7% out-of-vocabulary words; classes: bad 75.0%, good 25.0%",
        "val: 1 sentences, 50.0% out-of-vocabulary words; classes: good 100.0%",
    ]


def test_measuring_says_nothing_of_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(tmp_path, caplog, "test", train="so\tgood\nno\tgood\n") == []


def test_many_classes_are_not_listed_and_numbers_are_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"so\t0.{n}\n" for n in range(11, 31)]
    first, _, last = said(tmp_path, caplog, train="".join(rows))
    assert first.endswith(" and 12 more")
    assert last.startswith("labels such as 0.11 are numbers, but each of the 20 labels becomes")


@pytest.mark.parametrize("labels", [("1", "2"), ("nan", "inf"), ("good", "1e5")])
def test_names_and_whole_numbers_are_names(
    labels: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = "".join(f"so\t{label}\nno\t{label}\n" for label in labels)
    assert len(said(tmp_path, caplog, train=train, val=train)) == 2


def test_one_class_is_nothing_to_learn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="at least two labels, got 'good' for all 2"):
        said(tmp_path, caplog, train="so\tgood\nno\tgood\n", val="so\tgood\n")
