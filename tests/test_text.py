"""Raw text becomes the words and indices that a reader expects."""

from collections import Counter

import pytest

from srulight.errors import InputError
from srulight.text import Vocabulary, get_tokenizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's great, isn't it?", "It 's great , is n't it ?"),
        ("They've said I'm right; he'd go.", "They 've said I 'm right ; he 'd go ."),
        ("I can't, you CAN'T, we cannot", "I ca n't , you CA N'T , we can not"),
        ("don\u2019t", "do n't"),
        ("well-made (or so)...", "well-made ( or so ) ..."),
        ("Mr. Bean paid $2,500.50 -- twice", "Mr. Bean paid $ 2,500.50 -- twice"),
        ("o'clock in the '70s", "o'clock in the '70s"),
        ("a dull end.", "a dull end ."),
        ("the U.S. crème brûlée", "the U.S. crème brûlée"),
    ],
)
def test_english_splits_punctuation_and_clitics(text: str, words: str) -> None:
    assert get_tokenizer("english")(text) == words.split()


@pytest.mark.parametrize(
    "text",
    [
        "if you 've ever did n't , it 's a film -lrb- sort of -rrb- .",
        r"writer\/director , 3\/4th of ` good ' \* \*\*",
        "`` a '70s run-of-the-mill 90-minute b-movie '' ?!? ... -- mr. e.t. 2,500",
    ],
)
def test_english_leaves_tokens_alone(text: str) -> None:
    assert get_tokenizer("english")(text) == text.split()


def test_english_finds_no_words_in_white_space() -> None:
    assert get_tokenizer("english")(" \n") == []


def test_space_splits_at_white_space_only() -> None:
    assert get_tokenizer("space")(" isn't  it?") == ["isn't", "it?"]


def test_torchtext_tokenizers_are_known_by_name() -> None:
    assert get_tokenizer("basic_english")("Isn't it?") == ["isn", "'", "t", "it", "?"]


def test_unknown_tokenizer_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"one of english, space, basic_english.*got 'enlgish'"):
        get_tokenizer("enlgish")


def test_tokenizer_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacremoses", None)
    with pytest.raises(InputError, match="tokenizer 'moses' needs"):
        get_tokenizer("moses")


def test_vocabulary_orders_by_count_then_alphabet() -> None:
    counts = Counter({"b": 2, "a": 2, "c": 3, "d": 1})
    vocabulary = Vocabulary.from_counts(counts)
    assert vocabulary.words == ["<pad>", "<unk>", "c", "a", "b", "d"]
    assert len(vocabulary) == 6


def test_rare_words_and_those_beyond_the_limit_are_left_out() -> None:
    counts = Counter({"a": 3, "b": 2, "c": 1})
    assert Vocabulary.from_counts(counts, min_count=2).words[2:] == ["a", "b"]
    assert Vocabulary.from_counts(counts, max_size=1).words[2:] == ["a"]


def test_encoding_gives_unknown_words_one() -> None:
    vocabulary = Vocabulary(["<pad>", "<unk>", "film", "a"])
    assert vocabulary.encode(["a", "dull", "film"]) == [3, 1, 2]
    assert vocabulary.words == ["<pad>", "<unk>", "film", "a"]


def test_an_empty_sentence_is_one_unknown_word() -> None:
    assert Vocabulary(["<pad>", "<unk>"]).encode([]) == [1]


def test_padding_cannot_be_written_in_text() -> None:
    assert Vocabulary(["<pad>", "<unk>"]).encode(["<pad>"]) == [1]


def test_vocabulary_refuses_words_without_the_special_two() -> None:
    with pytest.raises(ValueError, match="must begin with <pad>, <unk>, got"):
        Vocabulary(["film"])
