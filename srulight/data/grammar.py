"""A small generative grammar of sentences whose sentiment depends on the word order."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_GOOD = ["clever", "funny", "moving", "brilliant", "charming", "lively", "fresh", "gripping"]
_BAD = ["dull", "clumsy", "tedious", "silly", "shallow", "lifeless", "stale", "awful"]
_SIGNS = dict.fromkeys(_GOOD, 1) | dict.fromkeys(_BAD, -1)

_OWNERS = ["the", "this", "its"]
_THINGS = ["plot", "script", "acting", "cast", "story"]
_THINGS += ["dialogue", "music", "ending"]  # codespell:ignore dialogue
_VERBS = ["was", "seemed", "felt"]

# Strength of a claim with each degree word; 2 without any.
_DEGREES = {"barely": 1, "a little": 1, "": 2, "very": 3, "extremely": 3}

# Words before and after a reported claim, and the sign that its own sign is multiplied by.
_REPORTS = [
    ("critics who said that", "were wrong", -1),
    ("critics who said that", "were right", 1),
    ("those who thought that", "were mistaken", -1),
    ("it is not true that", "", -1),
    ("it is true that", "", 1),
    ("nobody would say that", "", -1),
    ("nobody would deny that", "", 1),
]

# Words before and between two claims.
_CONTRASTS = [("although", ","), ("while", ","), ("", ", yet"), ("", ", but")]


class Sentence(NamedTuple):
    """A sentence and its sentiment.

    Attributes:
        text: Words of the sentence, separated by single spaces.
        is_praise: Whether praise outweighs blame.
    """

    text: str
    is_praise: bool


class Meaning(NamedTuple):
    """The words and the sentiment of a clause.

    Attributes:
        text: Words of the clause, separated by single spaces.
        sign: 1 for praise, -1 for blame.
        strength: Strength of the praise or blame, 1 to 3.
    """

    text: str
    sign: int
    strength: int


class Clause(ABC):
    """A clause with open slots for adjectives.

    All rules of the grammar are symmetric in praise and blame: if each adjective is replaced by one
    of the opposite sign, the clause has the opposite sign.
    """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of adjectives that the clause needs."""

    @abstractmethod
    def say(self, adjectives: Iterator[str]) -> Meaning:
        """Fills the slots.

        Args:
            adjectives: One adjective for each of the ``slots``, in the order of the text.
        """


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Claim(Clause):
    """``the plot was extremely dull`` or ``the plot was not dull``."""

    start: str
    degree: str = ""
    is_negated: bool = False

    @property
    def slots(self) -> int:
        return 1

    def say(self, adjectives: Iterator[str]) -> Meaning:
        adjective = next(adjectives)
        sign = -_SIGNS[adjective] if self.is_negated else _SIGNS[adjective]
        text = _join(self.start, "not" if self.is_negated else "", self.degree, adjective)
        return Meaning(text, sign, _DEGREES[self.degree])


@dataclass(frozen=True)
class NotBut(Clause):
    """``the plot was not X but Y`` or ``the plot was Y , not X``: Y determines the sign."""

    start: str
    not_first: bool

    @property
    def slots(self) -> int:
        return 2

    def say(self, adjectives: Iterator[str]) -> Meaning:
        first, second = next(adjectives), next(adjectives)
        if self.not_first:
            return Meaning(_join(self.start, "not", first, "but", second), _SIGNS[second], 2)
        return Meaning(_join(self.start, first, ", not", second), _SIGNS[first], 2)


@dataclass(frozen=True)
class Report(Clause):
    """``critics who said that A were wrong``: confirms (sign 1) or denies (sign -1) a claim."""

    before: str
    after: str
    sign: int
    inner: Clause

    @property
    def slots(self) -> int:
        return self.inner.slots

    def say(self, adjectives: Iterator[str]) -> Meaning:
        text, sign, strength = self.inner.say(adjectives)
        return Meaning(_join(self.before, text, self.after), self.sign * sign, strength)


@dataclass(frozen=True)
class Contrast(Clause):
    """``although A , B``: the stronger claim determines the sign; the second one if equal."""

    before: str
    between: str
    first: Clause
    second: Clause

    @property
    def slots(self) -> int:
        return self.first.slots + self.second.slots

    def say(self, adjectives: Iterator[str]) -> Meaning:
        first, second = self.first.say(adjectives), self.second.say(adjectives)
        winner = first if first.strength > second.strength else second
        text = _join(self.before, first.text, self.between, second.text)
        return Meaning(text, winner.sign, winner.strength)


def _subject(rng: random.Random) -> str:
    return f"{rng.choice(_OWNERS)} {rng.choice(_THINGS)}"


def _claim(rng: random.Random) -> Claim:
    if rng.random() < 0.25:
        return Claim(f"{_subject(rng)} was", is_negated=True)
    return Claim(f"{_subject(rng)} {rng.choice(_VERBS)}", rng.choice(list(_DEGREES)))


def _not_but(rng: random.Random) -> NotBut:
    return NotBut(f"{_subject(rng)} was", rng.random() < 0.5)


def _report(rng: random.Random, inner: Clause) -> Report:
    return Report(*rng.choice(_REPORTS), inner)


def _contrast(rng: random.Random) -> Contrast:
    first, second = (
        _report(rng, _claim(rng)) if rng.random() < 0.25 else _claim(rng) for _ in range(2)
    )
    return Contrast(*rng.choice(_CONTRASTS), first, second)


def _clause(rng: random.Random) -> Clause:
    """Draws a clause: half of them are contrasts, the others claims in up to two reports."""
    kind = rng.choice(["claim", "not but", "not but", "contrast", "contrast", "contrast"])
    if kind == "contrast":
        return _contrast(rng)
    clause: Clause = _claim(rng) if kind == "claim" else _not_but(rng)
    for _ in range(rng.choice([0, 1, 1, 2])):
        clause = _report(rng, clause)
    return clause


def _sentence(clause: Clause, adjectives: Sequence[str]) -> Sentence:
    meaning = clause.say(iter(adjectives))
    return Sentence(f"{meaning.text} .", meaning.sign > 0)


def _group(rng: random.Random) -> list[Sentence]:
    """Makes a sentence, and its twin if it has one.

    If a sentence has two adjectives of opposite sign, its twin has them exchanged: the same words
    and the opposite label. A sentence with one adjective, or with two of the same sign, has no
    twin.
    """
    clause = _clause(rng)
    good, bad = rng.choice(_GOOD), rng.choice(_BAD)
    if clause.slots == 1:
        return [_sentence(clause, [rng.choice([good, bad])])]
    if isinstance(clause, Contrast) and rng.random() < 0.15:
        return [_sentence(clause, rng.sample(rng.choice([_GOOD, _BAD]), 2))]
    return [_sentence(clause, [good, bad]), _sentence(clause, [bad, good])]


class GrammarSizes(NamedTuple):
    """The numbers of sentences to generate, and the seed.

    Attributes:
        train: Number of training sentences.
        val: Number of validation sentences.
        test: Number of test sentences.
        seed: Seed that determines which sentences are generated.
    """

    train: int
    val: int
    test: int
    seed: int


def draw(sizes: GrammarSizes) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    """Generates the sentences of a corpus; all of them are distinct.

    Args:
        sizes: Numbers of sentences. The validation and test sentences do not depend on ``train``.

    Returns:
        The training, validation and test sentences.
    """
    rng = random.Random(sizes.seed)
    seen: set[str] = set()

    def take(size: int) -> list[Sentence]:
        sentences: list[Sentence] = []
        while len(sentences) < size:
            group = _group(rng)
            if group[0].text not in seen:
                seen.update(sentence.text for sentence in group)
                sentences += group
        return sentences[:size]

    test, val, train = take(sizes.test), take(sizes.val), take(sizes.train)
    return train, val, test
