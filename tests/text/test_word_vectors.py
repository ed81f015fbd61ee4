"""Word vectors are read from all common formats, only for the words that are needed."""

import gzip
from pathlib import Path

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.text.word_vectors import read_vectors, vector_matrix


def write(root: Path, text: str) -> Path:
    path = root / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "the 1 2\ncr\u00e8me -3 0.5\nof 0 0\n",  # GloVe
        "3 2\nthe 1 2\ncr\u00e8me -3 0.5\nof 0 0\n",  # word2vec, fastText
        "3 2\r\nthe 1 2 \r\ncr\u00e8me -3 0.5 \r\nof 0 0 \r\n",  # trailing spaces
        "\ufeffthe 1 2\ncr\u00e8me -3 0.5\nof 0 0\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_the_wanted_words_are_found(text: str, packed: bool, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    found = read_vectors(path, ["cr\u00e8me", "the", "absent"])
    assert {word: row.tolist() for word, row in found.items()} == {
        "the": [1.0, 2.0],
        "cr\u00e8me": [-3.0, 0.5],
    }


def test_a_word_may_hold_spaces(tmp_path: Path) -> None:
    path = write(tmp_path, "the 1 2\n. . . 3 4\nat mail@x.org 5 6\nof 7 8\n")
    assert set(read_vectors(path, ["at", ".", "of"])) == {"of"}


def test_the_first_of_two_rows_counts(tmp_path: Path) -> None:
    assert read_vectors(write(tmp_path, "a 1 2\na 3 4\n"), ["a"])["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("bad 1", "vectors.txt:2: expected a word and 2 numbers, got 1 numbers"),
        ("bad 1 2 3", "vectors.txt:2: expected a word and 2 numbers, got 3 numbers"),
        ("bad 1 x", "vectors.txt:2: expected a number: .*'x'"),
        ("bad 1 nan", "vectors.txt:2: expected finite numbers"),
    ],
)
def test_a_broken_row_is_refused_with_its_place(row: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        read_vectors(write(tmp_path, f"the 1 2\n{row}\n"), ["bad"])


@pytest.mark.parametrize("header", [b"2 50\n", b"\xba\x16\x4f\x2f\x0c\0\0\0"])
def test_binary_vectors_are_told_from_text(header: bytes, tmp_path: Path) -> None:
    rows = b"".join(b"%s %s\n" % (w, torch.randn(50).numpy().tobytes()) for w in (b"the", b"of"))
    (tmp_path / "vectors.bin").write_bytes(header + rows)
    with pytest.raises(InputError, match=r"vectors.bin:[12]: expected word vectors as text, got"):
        read_vectors(tmp_path / "vectors.bin", ["the"])


@pytest.mark.parametrize("source", ["/dev/zero", "/tmp"])
def test_vectors_come_from_a_file(source: str) -> None:
    with pytest.raises(InputError, match=f"^{source} (is a device|cannot be read: Is a directory)"):
        read_vectors(Path(source), ["the"])


def test_a_dimension_of_a_thousand_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vectors.txt:1: expected a count and a dimension"):
        read_vectors(write(tmp_path, f"3 {'9' * 6000}\n"), ["the"])


def test_numbers_of_other_words_are_not_read(tmp_path: Path) -> None:
    assert read_vectors(write(tmp_path, "the 1 2\nother 1 x\n"), ["the"]).keys() == {"the"}


@pytest.mark.parametrize("text", ["", "3 2\n"])
def test_a_file_without_vectors_gives_none(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    if text:
        assert read_vectors(path, ["a"]) == {}
    else:
        with pytest.raises(InputError, match="expected word vectors, got none"):
            read_vectors(path, ["a"])


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent is not in .*; set --data.vectors"):
        read_vectors(tmp_path / "absent", ["a"])


def test_the_matrix_has_zeros_for_padding_and_small_numbers_for_unknown_words() -> None:
    words = ["<pad>", "<unk>", "the", "odd"]
    matrix = vector_matrix(words, {"the": torch.tensor([5.0, 6.0])}, seed=3)
    assert matrix[0].tolist() == [0, 0]
    assert matrix[2].tolist() == [5, 6]
    unknown = matrix[[1, 3]]
    assert (unknown.abs() <= 0.25).all()
    assert unknown.unique().numel() == 4
    again = vector_matrix(words, {"the": torch.tensor([5.0, 6.0])}, seed=3)
    assert torch.equal(matrix, again)
