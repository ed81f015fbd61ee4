"""The labels of the embedded corpus are correct, and depend on the word order."""

from collections import Counter
from pathlib import Path

import pytest

from srulight.data.grammar import Claim, Clause, Contrast, NotBut, Report
from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.grammar import Grammar

A, B = "the plot was", "the cast was"


@pytest.mark.parametrize(
    ("clause", "adjectives", "text", "sign"),
    [
        (Claim(A), "dull", "the plot was dull", -1),
        (Claim(A, is_negated=True), "dull", "the plot was not dull", 1),
        (Claim(A, "barely"), "funny", "the plot was barely funny", 1),
        (NotBut(A, True), "dull funny", "the plot was not dull but funny", 1),
        (NotBut(A, False), "dull funny", "the plot was dull , not funny", -1),
        (
            Report("critics who said that", "were wrong", -1, Claim(A, is_negated=True)),
            "dull",
            "critics who said that the plot was not dull were wrong",
            -1,
        ),
        (
            Report(
                "it is not true that", "", -1, Report("nobody would say that", "", -1, Claim(A))
            ),
            "dull",
            "it is not true that nobody would say that the plot was dull",
            -1,
        ),
        (
            Contrast("although", ",", Claim(A), Claim(B)),
            "dull funny",
            "although the plot was dull , the cast was funny",
            1,
        ),
        (
            Contrast("", ", yet", Claim(A, "extremely"), Claim(B)),
            "dull funny",
            "the plot was extremely dull , yet the cast was funny",
            -1,
        ),
        (
            Contrast("", ", but", Claim(A), Claim(B, "a little")),
            "funny dull",
            "the plot was funny , but the cast was a little dull",
            1,
        ),
    ],
)
def test_clauses_mean_what_they_say(clause: Clause, adjectives: str, text: str, sign: int) -> None:
    meaning = clause.say(iter(adjectives.split()))
    assert (meaning.text, meaning.sign) == (text, sign)
    assert clause.slots == len(adjectives.split())


def test_most_sentences_have_a_twin_with_the_same_words_and_the_other_label() -> None:
    train = Grammar(2000, 1, 1).read(Path()).train
    bags: dict[frozenset[tuple[str, int]], Counter[object]] = {}
    for example in train:
        bag = frozenset(Counter(example.text.split()).items())
        bags.setdefault(bag, Counter())[example.label] += 1
    # A model that ignores order can at best guess the more frequent label of each bag of words.
    best = sum(max(labels.values()) for labels in bags.values()) / len(train)
    assert best < 0.6


def test_no_sentence_occurs_twice() -> None:
    splits = Grammar(500, 100, 100).read(Path())
    texts = [example.text for part in splits[:3] for example in part]
    assert len(texts) == len(set(texts)) == 700


def test_sentences_have_4_to_30_words_and_both_labels_equally() -> None:
    train = Grammar(1000, 1, 1).read(Path()).train
    assert all(4 <= len(example.text.split()) <= 30 for example in train)
    assert 450 <= sum(example.label == 1 for example in train) <= 550


def test_the_seed_alone_decides_the_sentences() -> None:
    assert Grammar(20, 5, 5).read(Path()) == Grammar(20, 5, 5).read(Path())
    assert Grammar(20, 5, 5).read(Path()) != Grammar(20, 5, 5, seed=1).read(Path())


def test_test_sentences_do_not_depend_on_the_training_size() -> None:
    assert Grammar(9, 5, 5).read(Path()).test == Grammar(99, 5, 5).read(Path()).test


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InputError, match="val_size must be at least 1, got 0"):
        Grammar(val_size=0)
