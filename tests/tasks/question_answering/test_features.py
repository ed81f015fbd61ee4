"""Batches of questions, compared with values computed by hand."""

import json
from itertools import pairwise

import pytest
import torch

from srulight.data.base import IGNORED
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.annotation import Annotated, Annotator
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
    Windows,
    answer_words,
)
from srulight.tasks.question_answering.token_table import token_table
from srulight.text.tokenizers import PAD_UNKNOWN, Characters, Words

WORDS = ["who", "sold", "lamps", "ada", "the", "she", "?", "."]
TOKENIZER = Words(lowercase=True).with_vocabulary(WORDS, PAD_UNKNOWN)
SETTINGS = FeaturizerSettings(TOKENIZER, None, [], Windows(6, 2), no_answer=False)


def read(settings: FeaturizerSettings, *texts: str) -> QuestionFeaturizer:
    return QuestionFeaturizer(token_table(Annotator(Words())(texts)), settings)


def test_words_and_features_are_those_of_the_text() -> None:
    featurizer = read(SETTINGS, "The Lamps the dog", "Who sold the lamps?")
    batch = featurizer.batch([QuestionExample(0, 1, (1, 1))])
    assert batch.document.tolist() == [[6, 4, 6, 1]]
    assert batch.question.tolist() == [[2, 3, 6, 4, 8]]
    # Exact match, lower-case match, and frequency: "the" is half of the words.
    assert batch.features.tolist() == [[[0, 1, 0.5], [0, 1, 0.25], [1, 1, 0.5], [0, 0, 0.25]]]
    assert (batch.lengths.tolist(), batch.question_lengths.tolist()) == ([4], [5])
    assert (batch.first.tolist(), batch.last.tolist()) == ([1], [1])
    assert (batch.size, batch.unit) == (1, "questions")


def test_words_keep_their_case_if_the_vocabulary_does() -> None:
    tokenizer = Words().with_vocabulary(["Lamps", "lamps"], PAD_UNKNOWN)
    featurizer = read(SETTINGS._replace(tokenizer=tokenizer), "Lamps LAMPS lamps", "?")
    assert featurizer.batch([QuestionExample(0, 1, None)]).document.tolist() == [[2, 1, 3]]


def test_lemmas_and_tags_are_features() -> None:
    text = Annotated(["Ada", "sold"], [0, 4], [3, 8], ["ada", "sell"], (["NN", "VB"], ["PER", ""]))
    other = Annotated(["bye", "sells"], [0, 4], [3, 9], ["bye", "sell"], (["UH", "VB"], ["", ""]))
    settings = SETTINGS._replace(annotator="rules", tag_names=[["VB", "NN"], ["GPE", "PER"]])
    batch = QuestionFeaturizer(token_table([text, other]), settings).batch(
        [QuestionExample(0, 1, None), QuestionExample(1, 0, None)]
    )
    assert settings.feature_size == 8
    # Exact, lower case, frequency, lemma, VB, NN, GPE, PER; unseen tags are ignored.
    assert batch.features.tolist() == [
        [[0, 0, 0.5, 0, 0, 1, 0, 1], [0, 0, 0.5, 1, 1, 0, 0, 0]],
        [[0, 0, 0.5, 0, 0, 0, 0, 0], [0, 0, 0.5, 1, 1, 0, 0, 0]],
    ]


def test_a_long_text_is_read_in_windows_that_overlap() -> None:
    text = " ".join("abcdefghijkl")  # 12 words: windows of 6 with an overlap of 2
    featurizer = read(SETTINGS, text, "who", "Ada sold the lamps")
    long, short = QuestionExample(0, 1, (5, 6)), QuestionExample(2, 1, (0, 0))
    assert featurizer.windows(long) == [range(6), range(4, 10), range(8, 12)]
    assert featurizer.windows(short) == [range(4)]
    batch = featurizer.batch([long, short])
    assert batch.question_index.tolist() == [0, 0, 0, 1]
    assert batch.offsets.tolist() == [0, 4, 8, 0]
    assert batch.lengths.tolist() == [6, 6, 4, 4]
    # The first window has half of the answer and the third none of it: both are skipped.
    assert batch.first.tolist() == [IGNORED, 1, IGNORED, 0]
    assert batch.last.tolist() == [IGNORED, 2, IGNORED, 0]
    assert featurizer.batch([long, short], training=True).offsets.tolist() == [4, 0]


@pytest.mark.parametrize("words", range(1, 30))
def test_windows_cover_a_text_and_none_is_within_another(words: int) -> None:
    windows = SETTINGS.windows.split(words)
    assert {word for window in windows for word in window} == set(range(words))
    assert all(len(window) == 6 for window in windows[:-1])
    for one, next in pairwise(windows):
        assert one.stop - next.start == 2
        assert next.stop > one.stop


def test_where_there_may_be_no_answer_a_window_without_it_says_so() -> None:
    featurizer = read(SETTINGS._replace(no_answer=True), " ".join("abcdefghijkl"), "who", "a b")
    batch = featurizer.batch(
        [QuestionExample(0, 1, (0, 0)), QuestionExample(2, 1, None)], training=True
    )
    # 6 is the padded length, which stands for "no answer".
    assert batch.first.tolist() == batch.last.tolist() == [0, 6, 6, 6]


def test_nothing_to_read_is_an_unknown_word_with_nothing_to_learn() -> None:
    for no_answer in (False, True):
        batch = read(SETTINGS._replace(no_answer=no_answer), "a", "who").batch([], training=True)
        assert (batch.document.tolist(), batch.question.tolist()) == ([[1]], [[1]])
        assert batch.first.tolist() == batch.last.tolist() == [IGNORED]
        assert batch.features.shape == (1, 1, 3)
        assert batch.size == 0


def test_a_question_without_words_is_an_unknown_one() -> None:
    batch = read(SETTINGS, "Ada sold lamps", "  ").batch([QuestionExample(0, 1, None)])
    assert batch.question.tolist() == [[1]]
    assert batch.features[..., :2].sum() == 0


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (0, 3, (0, 0)), (4, 8, (1, 1)), (0, 8, (0, 1)), (5, 7, (1, 1)), (2, 5, (0, 1)),
        (3, 8, (1, 1)),
    ],
)  # fmt: skip
def test_a_part_of_a_text_has_the_words_it_touches(
    start: int, end: int, words: tuple[int, int]
) -> None:
    # "Ada sold"
    assert answer_words(start, end, torch.tensor([0, 4]), torch.tensor([3, 8])) == words


def test_settings_travel_as_plain_data() -> None:
    settings = SETTINGS._replace(annotator="rules", tag_names=[["VB"], ["GPE"]], no_answer=True)
    plain = json.loads(json.dumps(settings.metadata))
    assert plain["windows"] == {"size": 6, "overlap": 2}
    assert plain["tokenizer"]["vocabulary"] == ["<pad>", "<unk>", *WORDS]
    made = FeaturizerSettings.from_metadata(plain)
    assert made[1:] == settings[1:]
    assert made.tokenizer.settings == TOKENIZER.settings


def test_settings_of_a_file_are_not_trusted() -> None:
    letters = Characters().with_vocabulary(["a"], PAD_UNKNOWN).settings
    for wrong, says in (
        ({"tokenizer": letters}, "tokenizer.kind must be Words, got Characters"),
        ({"windows": {"size": 0, "overlap": 0}}, "windows.size must be at least 1, got 0"),
        ({"windows": {"size": 5, "overlap": 5}}, "windows.overlap must be 0 to 4, got 5"),
    ):
        with pytest.raises(InputError, match=says):
            FeaturizerSettings.from_metadata({**SETTINGS.metadata, **wrong})
