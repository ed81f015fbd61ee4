"""Tests of words, their positions, and the annotation by spaCy."""

import sys
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.annotation import Annotator
from srulight.text.tokenizers import Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("In the mid-1990s, 24\u201310.", "In the mid - 1990s , 24 \u2013 10 ."),
        ("It wasn't Denver\u2019s", "It was n't Denver 's"),
        ("and/or U.S. $1,000.50", "and / or U.S. $ 1,000.50"),
        ("wait -- what...", "wait -- what ..."),
        ("a_b", "a _ b"),
        ("  \n\t ", ""),
    ],
)  # fmt: skip
def test_compounds_are_split_and_each_word_is_where_it_says(text: str, words: str) -> None:
    (found,) = Annotator(Words())([text])
    assert found.words == words.split()
    parts = [
        text[i:j].replace("\u2019", "'") for i, j in zip(found.starts, found.ends, strict=True)
    ]
    assert parts == found.words
    assert found.lemmas == []
    assert found.tags == ()


def test_words_stand_where_they_are_in_the_original() -> None:
    text = "  caf\u0065\u0301-bar\r\n\u4e2d\u6587"
    (found,) = Annotator(Words())([text])
    assert found.words == ["caf\u00e9", "-", "bar", "\u4e2d\u6587"]
    parts = [text[i:j] for i, j in zip(found.starts, found.ends, strict=True)]
    assert parts == ["caf\u0065\u0301", "-", "bar", "\u4e2d\u6587"]
    (found,) = Annotator(Words(split="characters"))([text])
    assert found.words == [*"caf\u00e9-bar\u4e2d\u6587"]
    assert (found.starts[3], found.ends[3], found.starts[4]) == (5, 7, 7)


def test_every_character_but_white_space_is_in_one_word() -> None:
    text = "A\u00f1o 5th\u2014(x)  \u00a71 \u6f22\u5b57 e\u0301! ''q'' [sic] 3.14.15 -lrb- _a"
    (found,) = Annotator(Words())([text])
    covered = [0] * len(text)
    for start, end in zip(found.starts, found.ends, strict=True):
        for i in range(start, end):
            covered[i] += 1
    assert covered == [int(not character.isspace()) for character in text]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A spaCy pipeline with rules instead of trained components."""
    spacy = pytest.importorskip("spacy")
    language = spacy.blank("en")
    ruler = language.add_pipe("attribute_ruler")
    ruler.add([[{"LOWER": "sold"}]], {"TAG": "VBD", "LEMMA": "sell"})
    ruler.add([[{"LOWER": "sell"}]], {"TAG": "VB", "LEMMA": "sell"})
    ruler.add([[{"IS_DIGIT": True}]], {"TAG": "CD"})
    language.add_pipe("entity_ruler").add_patterns([{"label": "GPE", "pattern": "Lisbon"}])
    path = tmp_path_factory.mktemp("spacy") / "rules"
    language.to_disk(path)
    return str(path)


def test_spacy_tags_the_same_words(pipeline: str) -> None:
    text = "She sold twenty-3 lamps  in Lisbon."
    (plain,) = Annotator(Words())([text])
    (found,) = Annotator(Words(), pipeline)([text])
    assert (found.words, found.starts, found.ends) == plain[:3]
    tag, entity = found.tags
    assert dict(zip(found.words, tag, strict=True)) == {
        **dict.fromkeys(found.words, ""), "sold": "VBD", "3": "CD",
    }  # fmt: skip
    assert dict(zip(found.words, entity, strict=True)) == {
        **dict.fromkeys(found.words, ""), "Lisbon": "GPE",
    }  # fmt: skip
    assert found.lemmas[1] == "sell"


def test_a_missing_pipeline_is_named() -> None:
    pytest.importorskip("spacy")
    with pytest.raises(
        InputError, match="got 'nosuch'; install it: python -m spacy download nosuch"
    ):
        Annotator(Words(), "nosuch")


def test_missing_spacy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match="annotator 'en_core_web_sm' needs spaCy; install it: pip"):
        Annotator(Words(), "en_core_web_sm")


def test_a_package_that_is_no_pipeline_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("spacy")
    (tmp_path / "no_pipeline.py").write_text("raise SystemExit('imported')")
    info = tmp_path / "no_pipeline-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: no_pipeline\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="an installed spaCy pipeline, got 'no_pipeline'"):
        Annotator(Words(), "no_pipeline")
