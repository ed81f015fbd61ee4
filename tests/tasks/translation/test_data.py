"""What the data module of translation promises."""

import base64
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.tasks.translation.batch import BEGIN_ID, END_ID, SPECIALS, UNKNOWN_ID
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers
from srulight.tasks.translation.data import TranslationData
from srulight.tasks.translation.dataset import PairFilters
from srulight.text.tokenizers import Characters, SentencePiece, Tokenizer, Words, from_settings

PAIRS = [("a b", "x"), ("a b a c", "x y"), ("b", "y x x")]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> None:
    for side, language in enumerate(("en", "de")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"{name}.{language}").write_text(text, encoding="utf-8")


def module(
    folder: Path,
    train: list[tuple[str, str]] = PAIRS,
    val: list[tuple[str, str]] = PAIRS,
    **options: Any,  # noqa: ANN401
) -> TranslationData:
    write(folder, "train", train)
    write(folder, "val", val)
    settings = {"tokenizer": Words("space"), "joint": False, **options}
    return TranslationData(ParallelText(), root=str(folder), **settings)


def test_a_batch_holds_both_sides_between_begin_and_end(tmp_path: Path) -> None:
    data = module(tmp_path)
    data.setup()
    # By frequency, then by alphabet: a, b, c and x, y are tokens 4, 5, 6 and 4, 5.
    (batch,) = data.val_dataloader()
    assert batch.source.tolist() == [
        [4, 5, END_ID, 0, 0],
        [5, END_ID, 0, 0, 0],
        [4, 5, 4, 6, END_ID],
    ]
    assert batch.source_lengths.tolist() == [3, 2, 5]
    assert batch.target.tolist() == [[BEGIN_ID, 4, 0, 0], [BEGIN_ID, 5, 4, 4], [BEGIN_ID, 4, 5, 0]]
    labels = [[4, END_ID, -100, -100], [5, 4, 4, END_ID], [4, 5, END_ID, -100]]
    assert batch.labels.tolist() == labels
    assert batch.texts == [("a b", "x"), ("b", "y x x"), ("a b a c", "x y")]
    assert batch.size == 3 + 2 + 2 + 4 + 5 + 3
    (batch,) = data.train_dataloader()
    assert batch.texts == []


def test_a_process_without_pairs_gets_a_sentence_with_nothing_to_learn(tmp_path: Path) -> None:
    data = module(tmp_path)
    data.setup()
    (batch,) = data.val_dataloader().dataset.__getitems__([])  # type: ignore[attr-defined]
    assert batch.source.tolist() == [[END_ID]]
    assert batch.labels.tolist() == [[IGNORED]]
    assert batch.size == 0


def test_pairs_out_of_proportion_are_left_out_of_training_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [("a " * 9, "x " * 8), ("a", "x x x x"), ("", "")]
    data = module(tmp_path, PAIRS + odd, PAIRS + odd, filters=PairFilters(8, 3))
    with caplog.at_level("INFO"):
        data.setup()
    said = "train: 3 pairs, 7 and 6 tokens"
    assert said in caplog.text
    for why in ("longer than 8 tokens", "one more than 3 times as long", "empty on both sides"):
        assert f"left out 1: {why}" in caplog.text
    # What is measured is measured whole.
    assert "val: 5 pairs, 17 and 18 tokens; left out 1: empty on both sides" in caplog.text


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (("a", ""), r"train.en:4: the translation is empty, and the sentence is not; mend it"),
        (("", "x"), r"train.en:4: the sentence is empty, and its translation is not; mend it"),
    ],
)
def test_a_line_that_is_empty_on_one_side_is_refused_or_counted(
    tmp_path: Path, pair: tuple[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = module(tmp_path, [*PAIRS, pair])
    with pytest.raises(InputError, match=says):
        data.setup()
    data = module(tmp_path, [*PAIRS, pair], filters=PairFilters(on_error="skip"))
    with caplog.at_level("INFO"):
        data.setup()
    assert "train: 3 pairs, 7 and 6 tokens; left out 1: empty on one side" in caplog.text


def test_sides_have_one_vocabulary_or_two(tmp_path: Path) -> None:
    two = module(tmp_path)
    two.setup()
    assert two.metadata["source"]["vocabulary"] == [*SPECIALS, "a", "b", "c"]
    assert two.metadata["target"]["vocabulary"] == [*SPECIALS, "x", "y"]
    one = module(tmp_path, joint=True, tokenizer=Words("space", min_count=2))
    one.setup()
    assert one.metadata["source"] == one.metadata["target"]
    assert one.metadata["source"]["vocabulary"] == [*SPECIALS, "x", "a", "b", "y"]
    assert one.metadata["joint"]


def test_what_a_model_was_trained_with_is_used_again(tmp_path: Path) -> None:
    trained = module(tmp_path)
    trained.setup()
    other = module(tmp_path, [("c d", "z x")])
    other.load_metadata(trained.metadata)
    other.setup()
    (batch,) = other.train_dataloader()
    assert batch.source.tolist() == [[6, UNKNOWN_ID, END_ID]]
    assert batch.target.tolist() == [[BEGIN_ID, UNKNOWN_ID, 4]]


def test_tokenizers_and_ids_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(root: Path, size: int = 60) -> TranslationData:
        root.mkdir(exist_ok=True)
        corpus = SyntheticNumbers(train_size=60, val_size=5, test_size=5)
        return TranslationData(corpus, str(root), tokenizer=SentencePiece(size, "bpe"))

    first = make(tmp_path / "one")
    first.prepare_data()
    first.setup()

    def again(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(SentencePiece, "fit", again)
    monkeypatch.setattr("srulight.tasks.translation.dataset._encode", again)
    second = make(tmp_path / "two")
    second.setup()
    assert second.metadata == first.metadata
    pairs = [next(iter(data.train_dataloader())) for data in (first, second)]
    assert torch.equal(pairs[0].source, pairs[1].source)
    with pytest.raises(AssertionError, match="made again"):
        make(tmp_path / "two", 61).setup()


def test_some_validation_sentences_are_translated_and_all_of_the_test(tmp_path: Path) -> None:
    pairs = [(f"a {'b ' * i}".strip(), "x") for i in range(10)]
    data = module(tmp_path, PAIRS, pairs, val_translations=3)
    data.corpus = ParallelText(test="val")
    data.setup()
    texts = [text for batch in data.val_dataloader() for text in batch.texts]
    assert [i for i, text in enumerate(texts) if text] == [0, 3, 6]
    assert texts[3] == ("a b b b", "x")
    tested = [text for batch in data.test_dataloader() for text in batch.texts]
    assert tested == pairs


def test_a_subword_model_of_ones_own(tmp_path: Path) -> None:
    lines = [f"the {word} was {other}" for word in ("plot", "cast") for other in ("dull", "fresh")]
    paths = [tmp_path / "one.model", tmp_path / "other.model"]
    for path, size in zip(paths, (30, 31), strict=True):
        fitted = SentencePiece(size, "bpe").fit(lines, SPECIALS)
        path.write_bytes(base64.b64decode(fitted.vocabulary))
    own, other = (SentencePiece(file=str(path)) for path in paths)
    data = module(tmp_path, [(lines[0], lines[1])], tokenizer=own)
    data.setup()
    assert data.metadata["joint"]
    assert data.metadata["source"] == data.metadata["target"]
    (batch,) = data.train_dataloader()
    assert batch.source[0].tolist() == [*own.fit((), SPECIALS).encode(lines[0]), END_ID]

    with pytest.raises(InputError, match=r"other.model is not the vocabulary that the checkpoint"):
        module(tmp_path, tokenizer=other).load_metadata(data.metadata)
    module(tmp_path, tokenizer=own).load_metadata(data.metadata)
    # The checkpoint has what is needed, without the file.
    paths[1].unlink()
    module(tmp_path, tokenizer=other).load_metadata(data.metadata)


def test_each_side_follows_the_rules_of_its_language(tmp_path: Path) -> None:
    text = [("bzw. So", "bzw. So")]
    data = module(tmp_path, text, text, tokenizer=Words("moses"))
    data.setup()
    vocabularies = [data.metadata[side]["vocabulary"] for side in ("source", "target")]
    # A German abbreviation keeps its dot, which in English ends a sentence.
    assert "bzw." not in vocabularies[0]
    assert "bzw." in vocabularies[1]


@pytest.mark.parametrize("tokenizer", [Characters(), SentencePiece(9, "bpe")])
def test_other_tokens_make_batches(tmp_path: Path, tokenizer: Tokenizer) -> None:
    data = module(tmp_path, tokenizer=tokenizer)
    data.setup()
    made = from_settings(data.metadata["source"], SPECIALS)
    (batch,) = data.val_dataloader()
    assert [made.decode(row.tolist()) for row in batch.source] == ["a b", "b", "a b a c"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"val_translations": 0}, "val_translations must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        module(tmp_path, **options)


def test_filters_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"max_ratio must be at least 1, got 0.5"):
        PairFilters(max_ratio=0.5)
    with pytest.raises(InputError, match="max_length must be at least 1, got 0"):
        PairFilters(max_length=0)


def test_without_limits_nothing_is_too_long(tmp_path: Path) -> None:
    filters = PairFilters(max_length=None, max_ratio=None)
    data = module(tmp_path, [("a " * 200, "x")], filters=filters)
    data.setup()
    (batch,) = data.train_dataloader()
    assert batch.source.shape == (1, 201)


def test_nothing_left_is_said(tmp_path: Path) -> None:
    data = module(tmp_path, [("a", "x x x x x x")])
    with pytest.raises(InputError, match=r"no train pairs are left: raise filters.max_length"):
        data.setup()


def test_a_corpus_without_test_pairs_says_so(tmp_path: Path) -> None:
    data = module(tmp_path, [("a", "x")])
    data.setup()
    with pytest.raises(InputError, match=r"no test sentence pairs; set --data.corpus.test"):
        data.test_dataloader()
