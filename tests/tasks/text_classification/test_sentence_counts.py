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
        "length of training sentences: median 1 word, 95% at most 2, longest 2",
        "1 of 2 classes have at most one of the training sentences: good; add sentences, or merge "
        "classes",
    ]


def test_measuring_says_nothing_of_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(tmp_path, caplog, "test", train="so\tgood\nno\tgood\n") == []


def test_many_classes_are_not_listed_and_numbers_are_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"so {n}\t0.{n}\n" * 3 for n in range(11, 31)]
    first, _, _, advice, *_ = said(tmp_path, caplog, train="".join(rows))
    assert first.endswith(" and 14 more")
    assert advice == (
        "labels such as 0.11 are numbers, but each of 20 labels becomes a class; set "
        "--data.corpus.kind=numbers to predict numbers"
    )


@pytest.mark.parametrize("labels", [("1", "2"), ("nan", "inf"), ("good", "1e5")])
def test_names_and_whole_numbers_are_names(
    labels: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = "".join(f"so\t{label}\nno\t{label}\n" for label in labels)
    assert not any("are numbers" in line for line in said(tmp_path, caplog, train=train, val=train))


def test_sentences_of_training_in_validation_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = "so so\ta\nno no\tb\nwell\ta\nfine\tb\n"
    *_, last = said(tmp_path, caplog, train=train, val="so so\tb\nso so\ta\nso\tb\n")
    assert last == (
        "2 of 3 val sentences are also in the training data, so the scores will be too good; "
        "remove them from one of the two"
    )


def test_one_class_is_nothing_to_learn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="at least two labels, got 'good' for all 2"):
        said(tmp_path, caplog, train="so\tgood\nno\tgood\n", val="so\tgood\n")
