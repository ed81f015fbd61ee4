"""Raw text is split into the words that a reader expects."""

import random
import unicodedata

import pytest

from srulight.text.tokenizers.splitting import normalize, splitter, word_spans


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
    assert splitter("english", "en")(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("un cafe\u0301 noir", "un café noir"),
        ("co\u00adop, me\u200craft", "co\u00adop , me\u200craft"),
        ("\u0643\u064e\u062a\u064e \u0639", "\u0643\u064e\u062a\u064e \u0639"),
        ("\u0938\u094d\u0924\u0947", "\u0938\u094d\u0924\u0947"),
        ("isn't\u0301 it\u2019s", "is n't\u0301 it 's"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "\ud55c\uae00"),
        ("good \u2764\ufe0f!", "good \u2764\ufe0f !"),
        ("one\u200btwo", "one two"),
        (" \u0301a", "\u0301 a"),
    ],
)  # fmt: skip
def test_english_leaves_marks_and_hidden_signs_with_their_words(text: str, words: str) -> None:
    assert splitter("english", "en")(text) == words.split()


def test_characters_are_words_of_their_own_with_their_marks() -> None:
    text = "\u4e2d\u6587 \u0e17\u0e35\u0e48 e\u0301x."
    words = ["中", "文", "ที่", "é", "x", "."]
    assert splitter("characters", "en")(text) == words


def test_words_of_any_text_are_where_it_says_and_those_of_its_normal_form() -> None:
    generator = random.Random(0)
    signs = [
        *"ae n'.-/_!\u2019\t", "\u0301", "\u0327", "\u0308", "\u1112", "\u1161", "\u11ab", "\ud55c",
        "\u00ad", "\u200b", "\u200c", "\u200d", "\ufe0f", "\u0643", "\u064e", "\u4e2d", "\u0e35",
        "\u212b", "\u1e0b", "\u0344", "\u0958", "\u09c7", "\u09be", "\U0001f600", "\U000e0100",
    ]  # fmt: skip
    for _ in range(5000):
        text = "".join(generator.choices(signs, k=generator.randrange(1, 12)))
        for split in ("english", "characters"):
            spans = list(word_spans(text, split))
            covered = [place for start, end in spans for place in range(start, end)]
            hidden = {i for i, sign in enumerate(text) if sign.isspace() or sign == "\u200b"}
            assert covered == [i for i in range(len(text)) if i not in hidden], ascii(text)
            words = [normalize(text[start:end]) for start, end in spans]
            assert words == splitter(split, "en")(unicodedata.normalize("NFC", text)), ascii(text)


@pytest.mark.parametrize(
    "text",
    [
        "if you 've ever did n't , it 's a film -lrb- sort of -rrb- .",
        r"writer\/director , 3\/4th of ` good ' \* \*\*",
        "`` a '70s run-of-the-mill 90-minute b-movie '' ?!? ... -- mr. e.t. 2,500",
    ],
)
def test_english_leaves_tokens_alone(text: str) -> None:
    assert splitter("english", "en")(text) == text.split()


def test_english_finds_no_words_in_white_space() -> None:
    assert splitter("english", "en")(" \n") == []


def test_space_splits_at_white_space_only() -> None:
    assert splitter("space", "en")(" isn't  it?") == ["isn't", "it?"]
