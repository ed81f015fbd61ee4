"""The Stanford Sentiment Treebank: parse trees with a label for every phrase."""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from srulight.data.download import Source, download_zip
from srulight.runtime.errors import InputError
from srulight.runtime.files import filled_lines
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits

_SOURCE = Source(
    "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
    "5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
)
_FILES = ("train.txt", "dev.txt", "test.txt")

_FINE = ["very negative", "negative", "neutral", "positive", "very positive"]
_BINARY = ["negative", "positive"]

# An opening bracket with its label, a closing bracket, or a word. Only ASCII spaces and tabs
# separate words, because one word of the corpus contains a no-break space.
_TOKEN = re.compile(r"\(([^() \t]*)|(\))|([^() \t]+)")

# The format spells out brackets and escapes slashes and asterisks. Word vectors, and text that a
# user types, contain the plain characters.
_ESCAPES = {"-LRB-": "(", "-RRB-": ")"}


class Phrase(NamedTuple):
    """A node of a tree.

    Attributes:
        words: The words below the node.
        label: Sentiment from 0 (very negative) to 4 (very positive).
    """

    words: list[str]
    label: int


def parse_tree(line: str) -> list[Phrase]:
    """Parses a tree such as ``(3 (2 not) (1 bad))``.

    Args:
        line: A whole tree.

    Returns:
        All phrases of the tree, each one after the phrases inside it; the last one is the sentence.

    Raises:
        ValueError: If the line is not exactly one tree with labels from 0 to 4.
    """
    phrases: list[Phrase] = []
    words: list[str] = []
    # A stack, because a tree may be deeper than Python's recursion limit.
    is_open: list[tuple[int, int]] = []  # label, and index of the first word
    for label, close, word in _TOKEN.findall(line):
        if phrases and not is_open:
            raise ValueError("expected one tree, got text after its last closing bracket")
        if close:
            if not is_open:
                raise ValueError(
                    "expected balanced brackets, got a closing bracket without an opening one"
                )
            number, start = is_open.pop()
            if start == len(words):
                raise ValueError("expected a word in every pair of brackets, got none")
            phrases.append(Phrase(words[start:], number))
        elif word:
            if not is_open:
                raise ValueError(f"expected an opening bracket, got {word!r}")
            words.append(_ESCAPES.get(word) or word.replace("\\", ""))
        elif label in ("0", "1", "2", "3", "4"):
            is_open.append((int(label), len(words)))
        else:
            raise ValueError(f"expected a label from 0 to 4 after a bracket, got {label!r}")
    if is_open:
        raise ValueError(f"expected balanced brackets, got {len(is_open)} without a closing one")
    return phrases


class StanfordTrees(SentenceCorpus):
    """The Stanford Sentiment Treebank: movie reviews with sentiment labels for all phrases.

    The files ``train.txt``, ``dev.txt`` and ``test.txt`` have one tree per line. See Socher et al.
    (2013), Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP.

    Args:
        classes: ``binary`` for negative and positive, without the neutral sentences and phrases, or
            ``fine`` for five grades of sentiment.
        phrases: Whether to train on all distinct phrases of the training trees rather than on whole
            sentences only. Validation and test always use whole sentences.
    """

    def __init__(self, classes: Literal["binary", "fine"] = "binary", phrases: bool = True) -> None:
        self.classes = classes
        self.phrases = phrases

    def fetch(self, root: Path) -> None:
        if not all((root / name).exists() for name in _FILES):
            download_zip(_SOURCE, {f"trees/{name}": root / name for name in _FILES})

    def read(self, root: Path) -> Splits:
        train, val, test = (self._trees(root / name) for name in _FILES)
        if self.phrases:
            phrases = self._examples([phrase for tree in train for phrase in tree])
            examples = list(dict.fromkeys(phrases))
        else:
            examples = self._examples(self._roots(train))
        labels = _BINARY if self.classes == "binary" else _FINE
        return Splits(
            examples,
            self._examples(self._roots(val)),
            self._examples(self._roots(test)),
            labels,
            is_tokenized=True,
        )

    def _trees(self, path: Path) -> list[list[Phrase]]:
        remedy = "set --data.root to its folder, or --data.download=true"
        trees = []
        for number, line in filled_lines(path, remedy):
            try:
                trees.append(parse_tree(line))
            except ValueError as error:
                raise InputError(f"{path}:{number}: {error}") from error
        return trees

    def _roots(self, trees: list[list[Phrase]]) -> list[Phrase]:
        return [tree[-1] for tree in trees]

    def _examples(self, phrases: list[Phrase]) -> list[Example]:
        if self.classes == "fine":
            return [Example(" ".join(p.words), p.label) for p in phrases]
        return [Example(" ".join(p.words), int(p.label > 2)) for p in phrases if p.label != 2]
