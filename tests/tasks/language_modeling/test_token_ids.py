"""Token ids are correct and built only once, and their files are complete or missing."""

import gzip
import os
from pathlib import Path

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling import token_ids
from srulight.tasks.language_modeling.corpora import base
from srulight.tasks.language_modeling.corpora.base import Span
from srulight.tasks.language_modeling.corpora.text_files import TextFiles
from srulight.text.tokenizers import PAD_UNKNOWN, Bytes, Characters, SentencePiece, Tokenizer, Words

TRAIN = "the cat\nthe hat <unk>\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


def build(
    folder: Path, train: str | bytes = TRAIN, tokenizer: Tokenizer | None = None
) -> token_ids.TokenIds:
    (folder / "train.txt").write_bytes(train if isinstance(train, bytes) else train.encode())
    (folder / "val.txt").write_text("the dog")
    return token_ids.token_ids(TextFiles(val="val.txt").read(folder), tokenizer or Words("space"))


def test_words(tmp_path: Path, cache: Path) -> None:
    built = build(tmp_path)
    # By frequency, then alphabetically; <unk> in the text is the unknown token.
    assert built.tokenizer.tokens == ["<pad>", "<unk>", "<eos>", "the", "cat", "hat"]
    assert built.splits["train"].tolist() == [3, 4, 2, 3, 5, 1, 2]
    assert built.splits["val"].tolist() == [3, 1, 2]  # a missing line end is added
    assert built.unknown == {"train": 1, "val": 1}
    assert built.splits["train"].dtype == torch.uint8


def test_words_that_are_rare_are_unknown(tmp_path: Path, cache: Path) -> None:
    for options, words in (({"min_count": 2}, ["the"]), ({"max_size": 3}, ["the", "cat"])):
        built = build(tmp_path, tokenizer=Words("space", **options))  # type: ignore[arg-type]
        assert built.tokenizer.tokens == ["<pad>", "<unk>", "<eos>", *words]


def test_characters(tmp_path: Path, cache: Path) -> None:
    built = build(tmp_path, "aba\n\N{GREEK SMALL LETTER PI}", Characters())
    assert built.tokenizer.tokens == ["<pad>", "<unk>", "a", "\n", "b", "\N{GREEK SMALL LETTER PI}"]
    assert built.splits["train"].tolist() == [2, 4, 2, 3, 5]


def test_pieces_of_words(tmp_path: Path, cache: Path) -> None:
    text = "the cat\nthe hat\n\nthe cat hat\n"
    built = build(tmp_path, text, SentencePiece(size=10, model="bpe"))
    assert list(built.tokenizer.tokens[:4]) == ["<pad>", "<unk>", "<eos>", "at"]
    texts = {name: built.tokenizer.decode(ids.tolist()) for name, ids in built.splits.items()}
    # A missing line end is added; consecutive unknown characters are one unknown subword.
    assert texts == {"train": text, "val": "the <unk>\n"}
    assert built.unknown == {"train": 0, "val": 1}


def test_bytes_are_the_file_itself(tmp_path: Path, cache: Path) -> None:
    built = build(tmp_path, b"\xff\x00a\n", Bytes())
    assert built.splits["train"].tolist() == [255, 0, 97, 10]
    assert list(built.tokenizer.tokens[97:99]) == ["<0x61>", "<0x62>"]
    assert not cache.exists()


def test_a_byte_order_mark_is_no_character(tmp_path: Path, cache: Path) -> None:
    assert "\ufeff" not in build(tmp_path, "\ufeffab", Characters()).tokenizer.tokens


def test_compressed_text_is_told_from_text(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"train.txt: expected plain text, got a gzip file"):
        build(tmp_path, gzip.compress(b"the cat"))


def test_the_type_is_the_smallest_that_holds_the_ids(tmp_path: Path, cache: Path) -> None:
    for count, dtype in ((253, torch.uint8), (254, torch.uint16), (65_534, torch.int32)):
        built = build(tmp_path, " ".join(map(str, range(count))))
        assert len(built.tokenizer.tokens) == count + 3
        assert built.splits["train"].dtype == dtype
        assert sorted(built.splits["train"].tolist()) == list(range(2, count + 3))


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_pieces_change_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(base, "_BLOCK", block)
    test_words(tmp_path, cache)


def test_is_built_once_for_the_same_text_and_recipe(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    builds = []
    real = token_ids._build

    def watched(parts: dict[str, Span], tokenizer: Tokenizer, folder: Path) -> None:
        builds.append(tokenizer)
        real(parts, tokenizer, folder)

    monkeypatch.setattr(token_ids, "_build", watched)
    build(tmp_path)
    assert not builds
    known = Words("space").with_vocabulary(["the"], PAD_UNKNOWN, lines=True)
    for tokenizer in (Words("space", lowercase=True), Characters(), known):
        build(tmp_path, tokenizer=tokenizer)
    build(tmp_path, TRAIN + "more\n")
    assert len(builds) == 4


def test_a_build_that_is_cut_off_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(InputError, match=r"No space left on device\); set SRULIGHT_CACHE"):
        build(tmp_path)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    monkeypatch.undo()
    monkeypatch.setenv("SRULIGHT_CACHE", str(cache.parent))
    assert build(tmp_path).splits["val"].tolist() == [3, 1, 2]


@pytest.mark.parametrize("name", ["about.json", "train.bin", "val.bin", "sums.json"])
@pytest.mark.parametrize("left", [0, 3], ids=["emptied", "cut"])
def test_damaged_ids_are_made_again(tmp_path: Path, cache: Path, name: str, left: int) -> None:
    build(tmp_path)
    (damaged,) = cache.glob(f"*/{name}")
    os.truncate(damaged, left)
    built = build(tmp_path)
    assert built.tokenizer.tokens == ["<pad>", "<unk>", "<eos>", "the", "cat", "hat"]
    assert built.splits["train"].tolist() == [3, 4, 2, 3, 5, 1, 2]
    assert built.splits["val"].tolist() == [3, 1, 2]


def test_says_what_is_wrong(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(
        InputError, match=r"train\.txt:2: expected UTF-8, got the byte 0xff.*tokenizer=Bytes"
    ):
        build(tmp_path, b"fine\nbad \xff\n")
    with pytest.raises(InputError, match="expected words in the training text, got none"):
        build(tmp_path, "\n \n")
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]
