"""What the data module of translation promises."""

import base64
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.tasks.translation.corpora.synthetic_numbers import SyntheticNumbers
from srulight.tasks.translation.data import TranslationData
from srulight.text.line_tokenizers import BEGIN, END, UNKNOWN_ID, Subwords

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
    settings = {"tokenization": "space", "joint": False, **options}
    return TranslationData(ParallelText(), root=str(folder), **settings)


def test_a_batch_holds_both_sides_between_begin_and_end(tmp_path: Path) -> None:
    data = module(tmp_path)
    data.setup()
    # By frequency, then by alphabet: a, b, c and x, y are tokens 4, 5, 6 and 4, 5.
    (batch,) = data.val_dataloader()
    assert batch.source.tolist() == [[4, 5, END, 0, 0], [5, END, 0, 0, 0], [4, 5, 4, 6, END]]
    assert batch.source_lengths.tolist() == [3, 2, 5]
    assert batch.target.tolist() == [[BEGIN, 4, 0, 0], [BEGIN, 5, 4, 4], [BEGIN, 4, 5, 0]]
    labels = [[4, END, -100, -100], [5, 4, 4, END], [4, 5, END, -100]]
    assert batch.labels.tolist() == labels
    assert batch.texts == [("a b", "x"), ("b", "y x x"), ("a b a c", "x y")]
    assert batch.size == 3 + 2 + 2 + 4 + 5 + 3
    (batch,) = data.train_dataloader()
    assert batch.texts == []


def test_a_process_without_pairs_gets_a_sentence_with_nothing_to_learn(tmp_path: Path) -> None:
    data = module(tmp_path)
    data.setup()
    (batch,) = data.val_dataloader().dataset.__getitems__([])  # type: ignore[attr-defined]
    assert batch.source.tolist() == [[END]]
    assert batch.labels.tolist() == [[IGNORED]]
    assert batch.size == 0


def test_pairs_out_of_proportion_are_left_out_of_training_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [("a " * 9, "x " * 8), ("a", "x x x x"), ("", "")]
    data = module(tmp_path, PAIRS + odd, PAIRS + odd, max_length=8, max_ratio=3)
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
    data = module(tmp_path, [*PAIRS, pair], on_error="skip")
    with caplog.at_level("INFO"):
        data.setup()
    assert "train: 3 pairs, 7 and 6 tokens; left out 1: empty on one side" in caplog.text


def test_sides_have_one_vocabulary_or_two(tmp_path: Path) -> None:
    two = module(tmp_path)
    two.setup()
    assert two.metadata["source"]["words"] == ["a", "b", "c"]
    assert two.metadata["target"]["words"] == ["x", "y"]
    one = module(tmp_path, joint=True, min_count=2)
    one.setup()
    assert one.metadata["source"] == one.metadata["target"]
    assert one.metadata["source"]["words"] == ["x", "a", "b", "y"]
    assert one.metadata["joint"]


def test_what_a_model_was_trained_with_is_used_again(tmp_path: Path) -> None:
    trained = module(tmp_path)
    trained.setup()
    other = module(tmp_path, [("c d", "z x")])
    other.load_metadata(trained.metadata)
    other.setup()
    (batch,) = other.train_dataloader()
    assert batch.source.tolist() == [[6, UNKNOWN_ID, END]]
    assert batch.target.tolist() == [[BEGIN, UNKNOWN_ID, 4]]


def test_subwords_and_ids_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(root: Path) -> TranslationData:
        root.mkdir(exist_ok=True)
        corpus = SyntheticNumbers(train_size=60, val_size=5, test_size=5)
        return TranslationData(corpus, root=str(root), tokenization="bpe", vocabulary_size=60)

    first = make(tmp_path / "one")
    first.prepare_data()
    first.setup()

    def again(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(Subwords, "train", again)
    monkeypatch.setattr("srulight.tasks.translation.token_pairs._make", again)
    second = make(tmp_path / "two")
    second.setup()
    assert second.metadata == first.metadata
    pairs = [next(iter(data.train_dataloader())) for data in (first, second)]
    assert torch.equal(pairs[0].source, pairs[1].source)
    second = make(tmp_path / "two")
    second.vocabulary_size = 61
    with pytest.raises(AssertionError, match="made again"):
        second.setup()


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
        settings = Subwords.train(lines, size, "bpe", False).settings
        path.write_bytes(base64.b64decode(settings["model"]))
    options: dict[str, Any] = {"tokenization": "bpe", "subword_model": str(paths[0])}
    data = module(tmp_path, [(lines[0], lines[1])], **options)
    data.setup()
    assert data.metadata["source"] == data.metadata["target"]
    (batch,) = data.train_dataloader()
    tokenizer = Subwords.read(paths[0], False)
    assert batch.source[0].tolist() == [*tokenizer.encode(lines[0]), END]

    other = module(tmp_path, **{**options, "subword_model": str(paths[1])})
    with pytest.raises(InputError, match=r"other.model is not the subword model that the check"):
        other.load_metadata(data.metadata)
    module(tmp_path, **options).load_metadata(data.metadata)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"max_ratio": 0.5}, "max_ratio must be at least 1, got 0.5"),
        ({"tokenization": "bpe", "detokenize": True}, "detokenize is for .* tokenization is bpe"),
        ({"subword_model": "x"}, "subword_model is of no use with tokenization=space"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        module(tmp_path, **options)


def test_nothing_left_is_said(tmp_path: Path) -> None:
    data = module(tmp_path, [("a", "x x x x x x")])
    data.setup()
    with pytest.raises(InputError, match="no train pairs are left: raise max_length"):
        data.train_dataloader()
    with pytest.raises(InputError, match=r"the corpus has no test sentences: set --data.corpus.te"):
        data.test_dataloader()
