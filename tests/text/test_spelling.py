"""Transcripts become tokens and come back."""

import json

import pytest

from srulight.runtime.errors import InputError
from srulight.text.spelling import Characters, Pieces, Speller, Words, get_speller, normalize

TEXTS = ["one two", "two three one", "three  twenty two", "twenty one", "ten two one"] * 4


def test_characters() -> None:
    speller = Characters("ba c")
    assert speller.tokens == ["<blank>", " ", "a", "b", "c"]
    assert speller.encode("ab c") == [2, 3, 1, 4]
    assert speller.decode([1, 2, 3, 1, 1, 4, 1]) == "ab c"
    with pytest.raises(InputError, match="character 'x' is not in the alphabet"):
        speller.encode("axb")


def test_words() -> None:
    speller = Words(["two", "one", "two"])
    assert speller.tokens == ["<blank>", "one", "two"]
    assert speller.encode("two one two") == [2, 1, 2]
    assert speller.decode([2, 1]) == "two one"
    with pytest.raises(InputError, match="word 'three' is not in the training transcripts"):
        speller.encode("one three")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_pieces(kind: str) -> None:
    speller = Pieces.train(TEXTS, 14, kind)  # type: ignore[arg-type]
    assert len(speller.tokens) == 14
    tokens = speller.encode("twenty three")
    assert 0 not in tokens
    assert speller.decode(tokens) == "twenty three"
    assert len(speller.encode("two one two")) < len("two one two")
    assert speller.spell(tokens[0]).startswith(" ")
    with pytest.raises(InputError, match="'x' is not in the training transcripts"):
        speller.encode("two x one")


def test_more_pieces_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match=r"5000 subwords cannot be made of them: .*too high"):
        Pieces.train(TEXTS, 5000, "unigram")


@pytest.mark.parametrize(
    "speller", [Characters("onetw hr"), Words(["one"]), Pieces.train(TEXTS, 14, "bpe")]
)
def test_plain_data_make_the_same(speller: Speller) -> None:
    again = get_speller(json.loads(json.dumps(speller.settings)))
    assert type(again) is type(speller)
    assert again.tokens == speller.tokens
    assert again.encode("one") == speller.encode("one")


def test_normal_form() -> None:
    assert normalize(" One\t TWO ", lowercase=True) == "one two"
    assert normalize("One  TWO", lowercase=False) == "One TWO"
