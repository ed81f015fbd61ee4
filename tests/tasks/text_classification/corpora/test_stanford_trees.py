"""Trees are parsed into phrases, and errors name the line of a broken tree."""

from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora.stanford_trees import (
    Phrase,
    StanfordTrees,
    parse_tree,
)

TREE = "(3 (2 It) (4 (1 (2 not) (0 bad)) (2 .)))"


def write(root: Path, train: str = TREE, dev: str = TREE, test: str = TREE) -> Path:
    for name, text in [("train", train), ("dev", dev), ("test", test)]:
        (root / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    return root


def test_every_node_is_a_phrase_and_the_sentence_comes_last() -> None:
    assert parse_tree(TREE) == [
        Phrase(["It"], 2),
        Phrase(["not"], 2),
        Phrase(["bad"], 0),
        Phrase(["not", "bad"], 1),
        Phrase(["."], 2),
        Phrase(["not", "bad", "."], 4),
        Phrase(["It", "not", "bad", "."], 3),
    ]


def test_escapes_become_plain_signs() -> None:
    tree = r"(2 (2 -LRB-) (2 (2 and\/or) (2 (2 \*\*) (2 -RRB-))))"
    assert parse_tree(tree)[-1].words == ["(", "and/or", "**", ")"]


def test_trees_may_be_deeper_than_the_recursion_limit() -> None:
    assert len(parse_tree("(2 " * 5000 + "deep" + ")" * 5000)) == 5000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("(2 (2 a) (2 b)", "got 1 without a closing one"),
        ("(2 a))", "text after its last closing bracket"),
        (") (2 a)", "a closing bracket without an opening one"),
        ("(2 a) (2 b)", "text after its last closing bracket"),
        ("(2 ( a) (2 b))", "expected a label from 0 to 4 after a bracket, got ''"),
        ("((2 a) (2 b))", "expected a label from 0 to 4 after a bracket, got ''"),
        ("(5 a)", "expected a label from 0 to 4 after a bracket, got '5'"),
        ("(2 )", "expected a word in every pair of brackets, got none"),
        ("a (2 b)", "expected an opening bracket, got 'a'"),
    ],
)
def test_a_broken_tree_is_refused_with_its_place(line: str, why: str, tmp_path: Path) -> None:
    root = write(tmp_path, train=f"{TREE}\n{line}")
    with pytest.raises(InputError) as error:
        StanfordTrees().read(root)
    assert str(error.value).startswith(f"{root}/train.txt:2: ")
    assert why in str(error.value)


def test_binary_phrases_drop_neutral_ones_at_every_node(tmp_path: Path) -> None:
    splits = StanfordTrees().read(write(tmp_path))
    assert splits.train == [
        ("bad", 0),
        ("not bad", 0),
        ("not bad .", 1),
        ("It not bad .", 1),
    ]
    assert splits.labels == ["negative", "positive"]


def test_phrases_of_neutral_sentences_are_learnt_but_the_sentences_are_not(tmp_path: Path) -> None:
    neutral = "(2 (0 bad) (2 film))"
    splits = StanfordTrees().read(write(tmp_path, neutral, f"{neutral}\n{TREE}", TREE))
    assert splits.train == [("bad", 0)]
    assert splits.val == [("It not bad .", 1)]


def test_equal_phrases_count_once_unless_their_labels_differ(tmp_path: Path) -> None:
    train = "(4 (3 fun) (3 fun))\n(3 (1 fun) (3 fun))"
    splits = StanfordTrees().read(write(tmp_path, train))
    assert splits.train == [("fun", 1), ("fun fun", 1), ("fun", 0)]


def test_fine_sentences_keep_five_grades(tmp_path: Path) -> None:
    splits = StanfordTrees("fine", phrases=False).read(write(tmp_path, f"{TREE}\n(2 so)"))
    assert splits.train == [("It not bad .", 3), ("so", 2)]
    assert splits.labels[2] == "neutral"
    assert len(splits.labels) == 5


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.txt is not in .*--data.download=true"):
        StanfordTrees().read(tmp_path)
