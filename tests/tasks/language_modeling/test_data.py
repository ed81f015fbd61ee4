"""Running text is read in tracks and segments, without losing a token."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from srulight.data.base import IGNORED
from srulight.data.resumable_loader import ResumableLoader
from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling import (
    EvaluationSettings,
    GrammarText,
    LanguageModelingData,
    TextFiles,
)
from srulight.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Words

TEXT = "".join(chr(ord("a") + i) for i in range(26))  # token i is the ith letter, as a byte


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def alphabet(folder: Path, **options: Any) -> LanguageModelingData:  # noqa: ANN401
    (folder / "train.txt").write_text(TEXT)
    corpus = TextFiles(val="train.txt", test="train.txt")
    data = LanguageModelingData(corpus, str(folder), tokenizer=Bytes(), **options)
    data.setup()
    return data


def letters(ids: Tensor) -> list[str]:
    return ["".join("." if i in (0, IGNORED) else chr(i) for i in row) for row in ids.tolist()]


def test_tracks_are_contiguous_and_segments_go_on(tmp_path: Path) -> None:
    data = alphabet(tmp_path, batch_size=3, segment_length=5)
    batches = list(data.train_dataloader())
    # 25 predictions in 3 tracks of 8, in segments of 5 and 3; the last prediction is not used.
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
    data = alphabet(tmp_path, evaluation=EvaluationSettings(tracks, size, 4))
    seen = []
    for batch in data.test_dataloader():
        real = batch.targets != IGNORED
        seen += list(zip(batch.tokens[real].tolist(), batch.targets[real].tolist(), strict=True))
    assert sorted(seen) == [(ord(a), ord(b)) for a, b in pairwise(TEXT)]


def test_each_group_of_measured_tracks_starts_anew(tmp_path: Path) -> None:
    data = alphabet(tmp_path, evaluation=EvaluationSettings(3, 2, 4))
    batches = list(data.val_dataloader())
    # 25 predictions: tracks of 8, 8 and 9, so segments of 4, 4 and 1.
    assert [letters(batch.tokens) for batch in batches] == [
        ["abcd", "ijkl"], ["efgh", "mnop"], [".", "."], ["qrst"], ["uvwx"], ["y"],
    ]  # fmt: skip
    assert [batch.is_first for batch in batches] == [True, False, False, True, False, False]


def test_processes_have_tracks_of_their_own_and_as_many_batches(tmp_path: Path) -> None:
    evaluation = EvaluationSettings(3, batch_size=1)
    single = alphabet(tmp_path, batch_size=4, segment_length=3)
    rows = [letters(batch.tokens) for batch in single.train_dataloader()]
    tested = []
    parts, counts = [], []
    for rank in range(2):
        data = alphabet(tmp_path, batch_size=2, segment_length=3, evaluation=evaluation)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        parts.append([letters(batch.tokens) for batch in data.train_dataloader()])
        batches = list(data.test_dataloader())
        counts.append(len(batches))
        tested += [b.targets[b.targets != IGNORED] for b in batches]
    # Two processes with two tracks each read what one process with four tracks reads.
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


def vocabulary(data: LanguageModelingData) -> list[str]:
    return list(data.metadata["tokenizer"]["vocabulary"])


def test_reads_as_the_model_was_trained(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("A b b\nc\n")
    (tmp_path / "other.txt").write_text("c c\nnew\n")
    lower = Words("space", lowercase=True)
    trained = LanguageModelingData(TextFiles(val="train.txt"), str(tmp_path), tokenizer=lower)
    trained.setup()
    assert trained.metadata == {
        "tokenizer": {
            "kind": "Words", "split": "space", "language": None, "lowercase": True,
            "detokenize": False, "specials": ["<pad>", "<unk>"], "lines": True,
            "vocabulary": ["<pad>", "<unk>", "<eos>", "b", "a", "c"],
        },
    }  # fmt: skip
    data = LanguageModelingData(TextFiles("other.txt", "other.txt"), str(tmp_path))
    data.load_metadata(trained.metadata)
    data.setup()
    assert data.metadata == trained.metadata
    (batch,) = data.val_dataloader()
    assert batch.tokens.tolist() == [[5, 5, 2, 1]]


def closed(folder: Path, tokenizer: Tokenizer) -> LanguageModelingData:
    return LanguageModelingData(TextFiles(val="train.txt"), str(folder), tokenizer=tokenizer)


def with_words(metadata: dict[str, Any], *words: str) -> dict[str, Any]:
    return {"tokenizer": {**metadata["tokenizer"], "vocabulary": ["<pad>", "<unk>", *words]}}


def test_a_closed_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a b c\n")
    (tmp_path / "words.txt").write_text("c\nb\n")
    tokenizer = Words("space", file=str(tmp_path / "words.txt"))
    data = closed(tmp_path, tokenizer)
    data.setup()
    assert vocabulary(data) == ["<pad>", "<unk>", "c", "b", "<eos>"]
    (batch,) = data.val_dataloader()
    assert batch.tokens.tolist() == [[1, 3, 2]]
    data.load_metadata(with_words(data.metadata, "c", "b", "<eos>"))
    with pytest.raises(InputError, match=r"words\.txt: expected .*'z' as token 2, got 'c'"):
        data.load_metadata(with_words(data.metadata, "z", "b", "<eos>"))
    with pytest.raises(InputError, match="with 6 tokens, got 5"):
        data.load_metadata(with_words(data.metadata, "c", "b", "<eos>", "z"))
    (tmp_path / "words.txt").unlink()
    with pytest.raises(
        InputError, match=r"words\.txt is not in .*tokenizer's file to one with a word"
    ):
        closed(tmp_path, tokenizer).setup()
    # The vocabulary is in the checkpoint.
    again = closed(tmp_path, tokenizer)
    again.load_metadata(data.metadata)
    again.setup()
    assert again.metadata == data.metadata


def test_a_closed_alphabet_may_have_a_space(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a b\n")
    data = closed(tmp_path, Characters("b a"))
    data.setup()
    assert vocabulary(data) == ["<pad>", "<unk>", "b", " ", "a", "\n"]
    with pytest.raises(InputError, match=r"alphabet: expected .*'b' as token 2, got 'a'"):
        closed(tmp_path, Characters("ab ")).load_metadata(data.metadata)
    (tmp_path / "words.txt").write_text("the\ncat 12\n")
    with pytest.raises(InputError, match=r"words\.txt:2: expected one word per line, got 'cat 12'"):
        closed(tmp_path, Words(file=str(tmp_path / "words.txt"))).setup()


def test_the_tokenizer_of_another_task_is_refused(tmp_path: Path) -> None:
    words = Words("space").fit(["a"], ("<pad>", "<unk>"))
    with pytest.raises(InputError, match=r"lines must be true .* checkpoint of a language model"):
        LanguageModelingData().load_metadata({"tokenizer": words.settings})


def test_the_text_is_encoded_once_for_training_and_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = LanguageModelingData(GrammarText(20, 5, 5))
    data.prepare_data()
    data.setup("fit")
    monkeypatch.setattr("srulight.tasks.language_modeling.token_ids._build", None)
    data.prepare_data()
    data.setup("test")
    assert len(list(data.test_dataloader())) == 1


def test_the_command_line_names_tokenizers_and_settings_of_the_evaluation() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=LanguageModelingData)
    args = [
        "--data=LanguageModelingData", "--data.tokenizer=SentencePiece",
        "--data.tokenizer.size=99", "--data.evaluation.tracks=3",
    ]  # fmt: skip
    data = parser.instantiate_classes(parser.parse_args(args)).data
    assert isinstance(data.tokenizer, SentencePiece)
    assert data.tokenizer.size == 99
    assert data.evaluation == EvaluationSettings(3, 32, 512)


def test_the_embedded_text_needs_no_files(tmp_path: Path) -> None:
    data = LanguageModelingData(GrammarText(20, 5, 5), str(tmp_path), batch_size=2)
    data.prepare_data()
    data.setup()
    assert "dialogue" in vocabulary(data)  # codespell:ignore dialogue
    assert next(iter(data.train_dataloader())).tokens.shape == (2, 35)
    assert not list(tmp_path.iterdir())


def refused(folder: Path, message: str, **options: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=message):
        alphabet(folder, **options).train_dataloader()


def test_says_what_is_wrong(tmp_path: Path) -> None:
    refused(tmp_path, "segment_length must be at least 1, got 0", segment_length=0)
    refused(
        tmp_path,
        "segment_length must be at most 8, because the 26 training bytes are divided into 3 tracks",
        segment_length=9, batch_size=3,
    )  # fmt: skip
    with pytest.raises(
        InputError, match=r"evaluation\.tracks must be below 26, .* bytes in the val text, got 26"
    ):
        alphabet(tmp_path, evaluation=EvaluationSettings(26)).val_dataloader()
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match=r"empty\.txt: expected text, got an empty file"):
        LanguageModelingData(TextFiles("empty.txt", "train.txt"), str(tmp_path)).setup()
    with pytest.raises(InputError, match=r"none\.txt is not in"):
        LanguageModelingData(TextFiles("none.txt", "train.txt"), str(tmp_path)).setup()
    data = LanguageModelingData(TextFiles(val="train.txt"), str(tmp_path))
    data.setup()
    with pytest.raises(InputError, match="the corpus has no test text"):
        data.test_dataloader()
    with pytest.raises(
        InputError, match=r"--data\.tokenizer must be Words as in the checkpoint, got By"
    ):
        alphabet(tmp_path).load_metadata({**data.metadata})
