"""Flat files are read as labels and sentences, and are always split in the same way."""

from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.base import Example
from srulight.tasks.text_classification.corpora.flat_files import FlatFiles

LABELS = ["negative", "positive"]


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / name).write_bytes(text.encode("utf-8"))
    return root


def test_a_line_is_a_label_and_a_sentence(tmp_path: Path) -> None:
    root = write(tmp_path, train="1 a fine film .\r\n0 dull\n", val="0 no", test="1 yes")
    splits = FlatFiles("train", LABELS, "val", "test").read(root)
    assert splits.train == [Example("a fine film .", 1), Example("dull", 0)]
    assert splits.val == [("no", 0)]
    assert splits.test == [("yes", 1)]
    assert splits.labels == LABELS
    assert not splits.is_tokenized


def test_a_sentence_without_words_is_kept(tmp_path: Path) -> None:
    root = write(tmp_path, train="1 \n0\n", val="0 no", test="1 yes")
    assert FlatFiles("train", LABELS, "val", "test").read(root).train == [("", 1), ("", 0)]


@pytest.mark.parametrize("label", ["2", "-1", "good", "1.0"])
def test_a_label_out_of_range_is_refused_with_its_place(label: str, tmp_path: Path) -> None:
    root = write(tmp_path, train=f"0 ok\n{label} what now\n", test="1 yes")
    with pytest.raises(InputError) as error:
        FlatFiles("train", LABELS, test="test").read(root)
    assert str(error.value) == (
        f"{root}/train:2: expected a label from 0 to 1 and a sentence, got '{label} what now'"
    )


def test_a_wrong_encoding_is_refused_with_its_place_and_a_cure(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes("0 ok\n1 café noir\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"train:2: byte 0xe9 is not UTF-8.*encoding"):
        FlatFiles("train", LABELS, test="train").read(tmp_path)
    splits = FlatFiles("train", LABELS, test="train", encoding="latin-1").read(tmp_path)
    assert splits.test[1].text == "café noir"


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoding must be .*'utf-9'"):
        FlatFiles("train", LABELS, encoding="utf-9", fold=0).read(write(tmp_path, train="0 a"))


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train is empty"):
        FlatFiles("train", LABELS, fold=0).read(write(tmp_path, train=content))


def test_without_a_validation_file_a_fixed_tenth_is_held_out(tmp_path: Path) -> None:
    lines = [f"{i % 2} w{i}" for i in range(50)]
    root = write(tmp_path, train="\n".join(lines), test="1 yes")
    splits = FlatFiles("train", LABELS, test="test").read(root)
    assert len(splits.val) == 5
    assert sorted(splits.train + splits.val) == sorted(Example(f"w{i}", i % 2) for i in range(50))
    assert FlatFiles("train", LABELS, test="test").read(root) == splits


def test_folds_part_the_sentences_in_ten(tmp_path: Path) -> None:
    root = write(tmp_path, train="\n".join(f"0 w{i}" for i in range(55)))
    everything = sorted(Example(f"w{i}", 0) for i in range(55))
    tested = []
    for fold in range(10):
        splits = FlatFiles("train", LABELS, fold=fold).read(root)
        assert sorted(splits.train + splits.val + splits.test) == everything
        assert len(splits.val) == len(splits.train + splits.val) // 10
        tested += splits.test
    assert sorted(tested) == everything


@pytest.mark.parametrize(
    "arguments",
    [{}, {"test": "t", "fold": 1}, {"fold": 10}, {"fold": -1}, {"fold": 1, "val": "v"}],
)
def test_settings_that_contradict_each_other_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(InputError, match="fold"):
        FlatFiles("train", LABELS, **arguments)  # type: ignore[arg-type]


def test_only_files_with_a_known_source_offer_a_download(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"TREC.train.all is not in .*--data.download=true"):
        FlatFiles("TREC.train.all", LABELS, fold=0).read(tmp_path)
    with pytest.raises(InputError, match=r"mine is not in .*its folder$"):
        FlatFiles("mine", LABELS, fold=0).read(tmp_path)


def test_files_without_a_known_source_are_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"by hand from github.com/harvardnlp/sent-conv-torch"):
        FlatFiles("subj.all", LABELS, fold=0).fetch(tmp_path)
    with pytest.raises(InputError, match="mine cannot be downloaded"):
        FlatFiles("mine", LABELS, fold=0).fetch(tmp_path)
