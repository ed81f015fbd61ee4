"""The Stanford Sentiment Treebank as trees, every phrase with its own label."""

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

# An opening bracket with its label, a closing bracket, or a word. Only ASCII spaces separate: the
# corpus has a word with a no-break space.
_TOKEN = re.compile(r"\(([^() \t]*)|(\))|([^() \t]+)")

# The format spells out brackets and escapes slashes and stars, because its own syntax uses them.
# Word vectors, and text that a user types, have the plain signs.
_ESCAPES = {"-LRB-": "(", "-RRB-": ")"}


class Phrase(NamedTuple):
    """One node of a tree.

    Attributes:
        words: The words below it.
        label: Its sentiment, 0 very negative to 4 very positive.
    """

    words: list[str]
    label: int


def parse_tree(line: str) -> list[Phrase]:
    """Reads a tree such as ``(3 (2 not) (1 bad))``.

    Args:
        line: One whole tree.

    Returns:
        Every phrase, each after those inside it; the last is the sentence.

    Raises:
        ValueError: If the line is not one tree with labels 0 to 4, saying why.
    """
    phrases: list[Phrase] = []
    words: list[str] = []
    # A stack instead of recursion: a tree may be deeper than Python's limit.
    is_open: list[tuple[int, int]] = []  # label, and index of the first word
    for label, close, word in _TOKEN.findall(line):
        if phrases and not is_open:
            raise ValueError("expected one tree, got something after its last bracket")
        if close:
            if not is_open:
                raise ValueError("a bracket closes that none opened")
            number, start = is_open.pop()
            if start == len(words):
                raise ValueError("a node has no words")
            phrases.append(Phrase(words[start:], number))
        elif word:
            if not is_open:
                raise ValueError(f"expected a bracket, got {word!r}")
            words.append(_ESCAPES.get(word) or word.replace("\\", ""))
        elif label in ("0", "1", "2", "3", "4"):
            is_open.append((int(label), len(words)))
        else:
            raise ValueError(f"expected a label 0 to 4 after a bracket, got {label!r}")
    if is_open:
        raise ValueError(f"brackets left open: {len(is_open)}")
    return phrases


class StanfordTrees(SentenceCorpus):
    """Sentences of film reviews with graded sentiment, labelled at every node of their trees.

    Reads ``train.txt``, ``dev.txt`` and ``test.txt``, one tree a line, from Socher et al. (2013),
    Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP.

    Args:
        classes: ``binary`` (negative, positive; neutral phrases are left out) or ``fine`` (five
            grades).
        phrases: Train on every phrase of the training trees, equal ones once, instead of on whole
            sentences only. Validation and test are always whole sentences.
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
        remedy = "set --data.root to the folder of the trees, or --data.download=true"
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
