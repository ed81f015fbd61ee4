"""Running text comes in tracks and segments, and every token counts."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError
from srulight.tasks.language_modelling.corpora.text_files import GrammarText, TextFiles
from srulight.tasks.language_modelling.data import LanguageModellingData

TEXT = "".join(chr(ord("a") + i) for i in range(26))  # token i is the letter i, as a byte


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def alphabet(folder: Path, **options: Any) -> LanguageModellingData:  # noqa: ANN401
    (folder / "train.txt").write_text(TEXT)
    corpus = TextFiles(val="train.txt", test="train.txt")
    data = LanguageModellingData(corpus, str(folder), level="byte", **options)
    data.setup()
    return data


def letters(ids: Tensor) -> list[str]:
    return ["".join("." if i in (0, IGNORED) else chr(i) for i in row) for row in ids.tolist()]


def test_tracks_are_contiguous_and_segments_go_on(tmp_path: Path) -> None:
    data = alphabet(tmp_path, batch_size=3, segment_length=5)
    batches = list(data.train_dataloader())
    # 25 predictions in 3 tracks of 8, segments of 5 and 3; the last prediction is left over.
    assert [letters(batch.tokens) for batch in batches] == [
        ["abcde", "ijklm", "qrstu"],
        ["fgh", "nop", "vwx"],
    ]
    assert [letters(batch.targets) for batch in batches] == [
        ["bcdef", "jklmn", "rstuv"],
        ["ghi", "opq", "wxy"],
    ]
    assert [batch.is_first for batch in batches] == [True, False]
    assert [batch.size for batch in batches] == [15, 9]


@pytest.mark.parametrize("tracks", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_measuring_uses_every_prediction_once(tmp_path: Path, tracks: int, size: int) -> None:
    data = alphabet(tmp_path, eval_tracks=tracks, eval_batch_size=size, eval_segment_length=4)
    seen = []
    for batch in data.test_dataloader():
        real = batch.targets != IGNORED
        seen += list(zip(batch.tokens[real].tolist(), batch.targets[real].tolist(), strict=True))
    assert sorted(seen) == [(ord(a), ord(b)) for a, b in pairwise(TEXT)]


def test_each_group_of_measured_tracks_starts_anew(tmp_path: Path) -> None:
    data = alphabet(tmp_path, eval_tracks=3, eval_batch_size=2, eval_segment_length=4)
    batches = list(data.val_dataloader())
    # 25 predictions: tracks of 8, 8 and 9, so segments of 4, 4 and 1.
    assert [letters(batch.tokens) for batch in batches] == [
        ["abcd", "ijkl"], ["efgh", "mnop"], [".", "."], ["qrst"], ["uvwx"], ["y"],
    ]  # fmt: skip
    assert [batch.is_first for batch in batches] == [True, False, False, True, False, False]


def test_processes_have_tracks_of_their_own_and_as_many_batches(tmp_path: Path) -> None:
    single = alphabet(tmp_path, batch_size=4, segment_length=3, eval_tracks=3)
    rows = [letters(batch.tokens) for batch in single.train_dataloader()]
    tested = []
    parts, counts = [], []
    for rank in range(2):
        data = alphabet(tmp_path, batch_size=2, segment_length=3, eval_tracks=3, eval_batch_size=1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        parts.append([letters(batch.tokens) for batch in data.train_dataloader()])
        batches = list(data.test_dataloader())
        counts.append(len(batches))
        tested += [b.targets[b.targets != IGNORED] for b in batches]
    # Two processes with two tracks see what one with four does.
    assert [a + b for a, b in zip(*parts, strict=True)] == rows
    assert counts[0] == counts[1]
    assert sorted(torch.cat(tested).tolist()) == [ord(letter) for letter in TEXT[1:]]


def test_a_loader_goes_on_where_it_was(tmp_path: Path) -> None:
    again = alphabet(tmp_path, batch_size=1, segment_length=5)
    loader = again.train_dataloader()
    assert isinstance(loader, ResumableLoader)
    loader.start = 2
    assert [letters(batch.tokens)[0] for batch in loader] == ["klmno", "pqrst", "uvwxy"]
    assert len(list(loader)) == len(loader) == 5


def test_reads_as_the_model_was_trained(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("A b b\nc\n")
    (tmp_path / "other.txt").write_text("c c\nnew\n")
    trained = LanguageModellingData(TextFiles(val="train.txt"), str(tmp_path), lowercase=True)
    trained.setup()
    assert trained.metadata == {
        "level": "word",
        "words": ["<pad>", "<unk>", "<eos>", "b", "a", "c"],
        "tokenizer": "space",
        "lowercase": True,
    }
    data = LanguageModellingData(TextFiles("other.txt", "other.txt"), str(tmp_path))
    data.load_metadata(trained.metadata)
    data.setup()
    assert data.metadata == trained.metadata
    (batch,) = data.val_dataloader()
    assert batch.tokens.tolist() == [[5, 5, 2, 1]]


def test_a_closed_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a b c\n")
    (tmp_path / "words.txt").write_text("c\nb\n")
    options = {"root": str(tmp_path), "vocabulary": str(tmp_path / "words.txt")}
    data = LanguageModellingData(TextFiles(val="train.txt"), **options)  # type: ignore[arg-type]
    data.setup()
    words = ["<pad>", "<unk>", "c", "b", "<eos>"]
    assert data.metadata["words"] == words
    (batch,) = data.val_dataloader()
    assert batch.tokens.tolist() == [[1, 3, 2]]
    data.load_metadata({**data.metadata, "words": words})
    with pytest.raises(InputError, match=r"words\.txt is not the vocabulary .*'c' as token 2.*'z'"):
        data.load_metadata({**data.metadata, "words": [*words[:2], "z", *words[3:]]})
    with pytest.raises(InputError, match="the file has 5 tokens, and it has 6"):
        data.load_metadata({**data.metadata, "words": [*words, "z"]})
    (tmp_path / "words.txt").unlink()
    with pytest.raises(InputError, match=r"words\.txt is not in .*--data\.vocabulary"):
        LanguageModellingData(TextFiles(val="train.txt"), **options).setup()  # type: ignore[arg-type]


def test_a_closed_vocabulary_of_characters_may_have_a_space(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a b\n")
    (tmp_path / "known.txt").write_text("b\r\n \na\n")
    options = {"root": str(tmp_path), "vocabulary": str(tmp_path / "known.txt")}
    data = LanguageModellingData(TextFiles(val="train.txt"), level="char", **options)  # type: ignore[arg-type]
    data.setup()
    assert data.metadata["words"] == ["<pad>", "<unk>", "b", " ", "a", "\n"]
    for level, text, got in (("char", "a\nthe\n", "char a line, got 'the'"),
                             ("word", "the\ncat 12\n", "word a line, got 'cat 12'")):  # fmt: skip
        (tmp_path / "known.txt").write_text(text)
        data = LanguageModellingData(TextFiles(val="train.txt"), level=level, **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=rf"known\.txt:2: expected one {got}"):
            data.setup()


def test_the_embedded_text_needs_no_files(tmp_path: Path) -> None:
    data = LanguageModellingData(GrammarText(20, 5, 5), str(tmp_path), batch_size=2)
    data.prepare_data()
    data.setup()
    assert "dialogue" in data.metadata["words"]
    assert next(iter(data.train_dataloader())).tokens.shape == (2, 35)
    assert not list(tmp_path.iterdir())


def refused(folder: Path, message: str, **options: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=message):
        alphabet(folder, **options).train_dataloader()


def test_says_what_is_wrong(tmp_path: Path) -> None:
    refused(tmp_path, "segment_length must be at least 1, got 0", segment_length=0)
    refused(
        tmp_path,
        "segment_length is 9, and each of 3 tracks has 8 of the 26 bytes to train on",
        segment_length=9, batch_size=3,
    )  # fmt: skip
    with pytest.raises(InputError, match="eval_tracks is 26, and the val text has 26 bytes"):
        alphabet(tmp_path, eval_tracks=26).val_dataloader()
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match=r"empty\.txt is empty"):
        LanguageModellingData(TextFiles("empty.txt", "train.txt"), str(tmp_path)).setup()
    with pytest.raises(InputError, match=r"none\.txt is not in"):
        LanguageModellingData(TextFiles("none.txt", "train.txt"), str(tmp_path)).setup()
    data = LanguageModellingData(TextFiles(val="train.txt"), str(tmp_path))
    data.setup()
    with pytest.raises(InputError, match="the corpus has no test text"):
        data.test_dataloader()
    with pytest.raises(InputError, match=r"is a model of words, and --data\.level is byte"):
        alphabet(tmp_path).load_metadata({**data.metadata})
    with pytest.raises(InputError, match="tokenizer must be one of"):
        LanguageModellingData(tokenizer="none")
