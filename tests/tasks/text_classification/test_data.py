"""The data module returns padded batches, and the metadata that a task needs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

from srulight.data.base import IGNORED
from srulight.data.sequences import SequenceBatch
from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits
from srulight.tasks.text_classification.corpora.flat_files import FlatFiles
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.corpora.stanford_trees import StanfordTrees
from srulight.tasks.text_classification.corpora.tables import Tables
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.text.tokenizers import (
    PAD_UNKNOWN,
    Bytes,
    Characters,
    SentencePiece,
    Tokenizer,
    Words,
    from_settings,
)


class Fixed(SentenceCorpus):
    """A corpus with the sentences of a test."""

    def __init__(
        self, *train: Example, test: list[Example] | None = None, raw: bool = False
    ) -> None:
        self.splits = Splits(list(train), [Example("a z", 0)], test or [], ["no", "yes"], not raw)
        self.reads = 0
        self.fetched: list[Path] = []

    def fetch(self, root: Path) -> None:
        self.fetched.append(root)

    def read(self, root: Path) -> Splits:
        self.reads += 1
        return self.splits


def build(corpus: SentenceCorpus, **options: object) -> TextClassificationData:
    data = TextClassificationData(corpus, **options)  # type: ignore[arg-type]
    data.setup()
    return data


def test_batches_are_padded_on_the_right() -> None:
    data = build(Fixed(Example("b a a", 1), Example("", 0), Example("b c", 1)), batch_size=3)
    (batch,) = data.train_dataloader()
    # By frequency, a (2), b (2) and c (1) get the ids 2, 3 and 4; an empty sentence becomes <unk>.
    rows = {
        (tuple(tokens), length, label)
        for tokens, length, label in zip(*(part.tolist() for part in batch), strict=True)
    }
    assert rows == {((3, 2, 2), 3, 1), ((1, 0, 0), 1, 0), ((3, 4, 0), 2, 1)}
    assert {part.dtype for part in batch} == {torch.int64}


def test_a_word_unknown_to_training_is_one() -> None:
    (batch,) = build(Fixed(Example("a b", 1))).val_dataloader()
    assert batch.inputs.tolist() == [[2, 1]]


def test_metadata_is_plain_and_complete() -> None:
    data = build(Fixed(Example("b A a", 1)), max_length=7)
    assert data.metadata == {
        "tokenizer": {
            "kind": "Words", "split": "english", "language": None, "lowercase": True,
            "detokenize": False, "specials": ["<pad>", "<unk>"], "lines": False,
            "vocabulary": ["<pad>", "<unk>", "a", "b"],
        },
        "target": {"kind": "class", "names": ["no", "yes"], "columns": [], "counts": [0, 1]},
        "max_length": 7,
        "column": None,
    }  # fmt: skip
    assert data.word_vectors is None


def words(data: TextClassificationData) -> list[str]:
    """Returns the vocabulary without the special tokens."""
    return list(data.metadata["tokenizer"]["vocabulary"][2:])


def test_metadata_is_refused_before_setup() -> None:
    with pytest.raises(RuntimeError, match="call setup"):
        _ = TextClassificationData().metadata


def test_raw_text_goes_through_the_tokenizer_and_split_text_does_not() -> None:
    sentence = Example("Isn't it", 1)
    assert words(build(Fixed(sentence, raw=True))) == ["is", "it", "n't"]
    assert words(build(Fixed(sentence))) == ["isn't", "it"]
    kept = build(Fixed(sentence), tokenizer=Words())
    assert words(kept) == ["Isn't", "it"]


@pytest.mark.parametrize(
    ("tokenizer", "tokens"),
    [
        (Characters(), [["a", "b", " "], ["b"]]),
        (Bytes(), [["<0x61>", "<0x62>", "<0x20>"], ["<0x62>"]]),
        (SentencePiece(size=6), [["\u2581ab", "\u2581ab"], ["\u2581", "b"]]),
    ],
)
def test_other_tokens_than_words_are_read_and_cut(
    tokenizer: Tokenizer, tokens: list[list[str]]
) -> None:
    data = build(Fixed(Example("ab ab", 1), Example("b", 0)), tokenizer=tokenizer, max_length=3)
    (batch,) = data.train_dataloader()
    names = from_settings(data.metadata["tokenizer"], PAD_UNKNOWN).tokens
    rows = zip(batch.inputs, batch.lengths, strict=True)
    found = [[names[i] for i in row[:length]] for row, length in rows]
    assert sorted(found) == sorted(tokens)


def test_vectors_need_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vectors needs the tokenizer Words, got Characters; set"):
        TextClassificationData(tokenizer=Characters(), vectors=str(tmp_path))


def test_long_sentences_are_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        data = build(Fixed(Example("a b c", 1), Example("a b", 0)), max_length=2)
    assert "cut 1 sentences to 2 tokens" in caplog.text
    assert words(data) == ["a", "b"]
    assert [int(batch.lengths.max()) for batch in data.train_dataloader()] == [2]


def test_setup_reads_once() -> None:
    corpus = Fixed(Example("a", 1))
    data = build(corpus)
    loaded = data.metadata
    data.setup("test")
    assert corpus.reads == 1
    assert data.metadata is loaded


def test_files_are_fetched_only_when_asked_to() -> None:
    corpus = Fixed(Example("a", 1))
    TextClassificationData(corpus, root="x").prepare_data()
    assert corpus.fetched == []
    TextClassificationData(corpus, root="x", download=True).prepare_data()
    assert corpus.fetched == [Path("x")]


def test_a_corpus_without_test_sentences_says_so() -> None:
    data = build(Fixed(Example("a", 1)))
    with pytest.raises(InputError, match=r"no test sentences; set --data.corpus.test"):
        data.test_dataloader()


def test_vectors_bring_the_words_of_other_splits_that_have_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\nz 3 4\nx 5 6\n")
    with caplog.at_level("INFO"):
        data = build(Fixed(Example("a b", 1), test=[Example("q", 0)]), vectors=str(path))
    assert words(data) == ["a", "b", "z"]
    vectors = data.word_vectors
    assert vectors is not None
    assert vectors[[0, 2, 4]].tolist() == [[0, 0], [1, 2], [3, 4]]
    # The file has one of <pad>, <unk>, a and b.
    assert "vectors.txt has vectors for 25.0% of the 4 words in the vocabulary" in caplog.text


def test_vectors_of_other_words_only_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("q 1 2\n")
    with pytest.raises(InputError, match="expected vectors for words of the corpus, got none"):
        build(Fixed(Example("a b", 1)), vectors=str(path))


def test_loading_leaves_the_global_generator_alone() -> None:
    data = build(Grammar(50, 5, 5))
    state = torch.get_rng_state()
    list(data.train_dataloader())
    assert torch.equal(torch.get_rng_state(), state)


def test_two_modules_give_the_same_batches() -> None:
    first, second = (build(Grammar(50, 5, 5)).train_dataloader() for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.inputs, b.inputs)


def test_ranks_of_a_trainer_share_the_sentences() -> None:
    def sentences(rank: int, world_size: int) -> list[list[int]]:
        data = build(Grammar(50, 5, 5))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=world_size
        )
        batches = data.train_dataloader()
        return [[i for i in row if i] for batch in batches for row in batch.inputs.tolist()]

    shares = [sentences(0, 2), sentences(1, 2)]
    assert len(shares[0]) == len(shares[1]) == 25
    assert sorted(shares[0] + shares[1]) == sorted(sentences(0, 1))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_rank_without_a_sentence_has_one_that_nothing_is_asked_of(num_workers: int) -> None:
    def batches(rank: int) -> list[SequenceBatch]:
        data = build(Fixed(Example("a b", 1)), num_workers=num_workers)
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=2
        )
        return list(data.train_dataloader())

    ((padding,), (batch,)) = batches(0), batches(1)
    assert [part.tolist() for part in padding] == [[[0]], [1], [IGNORED]]
    assert [part.tolist() for part in batch] == [[[2, 3]], [2], [1]]
    assert {part.dtype for part in padding} == {torch.int64}


def test_workers_give_the_same_batches() -> None:
    alone, helped = (build(Grammar(50, 5, 5), num_workers=n).val_dataloader() for n in (0, 1))
    assert [b.inputs.tolist() for b in alone] == [b.inputs.tolist() for b in helped]


@pytest.mark.parametrize(("name", "value"), [("max_length", 0), ("batch_size", 0)])
def test_sizes_below_one_are_refused(name: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"{name}.* must be at least 1"):
        TextClassificationData(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("corpus", "kind"),
    [
        ({"class_path": "StanfordTrees", "init_args": {"classes": "fine"}}, StanfordTrees),
        (
            {"class_path": "FlatFiles", "init_args": {"train": "a", "labels": ["x"], "fold": 1}},
            FlatFiles,
        ),
        ({"class_path": "Tables"}, Tables),
        ("Grammar", Grammar),
        (None, Grammar),
    ],
)
def test_the_command_line_builds_it_with_any_corpus(
    corpus: object, kind: type[SentenceCorpus]
) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    settings = {
        "class_path": "TextClassificationData",
        "init_args": {"corpus": corpus, "root": "x"},
    }
    data = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    assert isinstance(data, TextClassificationData)
    assert isinstance(data.corpus, kind)
    assert data.root == Path("x")
    if isinstance(data.corpus, StanfordTrees):
        assert data.corpus.classes == "fine"
