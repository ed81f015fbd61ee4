"""A corpus made by a small grammar: sentiment that depends on the order of the words."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_GOOD = ["clever", "funny", "moving", "brilliant", "charming", "lively", "fresh", "gripping"]
_BAD = ["dull", "clumsy", "tedious", "silly", "shallow", "lifeless", "stale", "awful"]
_SIGNS = dict.fromkeys(_GOOD, 1) | dict.fromkeys(_BAD, -1)

_OWNERS = ["the", "this", "its"]
_THINGS = ["plot", "script", "acting", "cast", "story", "dialogue", "music", "ending"]
_VERBS = ["was", "seemed", "felt"]

# How strongly each word makes a claim; a plain one has strength 2.
_DEGREES = {"barely": 1, "a little": 1, "": 2, "very": 3, "extremely": 3}

# Words before and after a claim inside another, and the sign they give it.
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
    """A sentence, and whether it praises.

    Attributes:
        text: Its words with single spaces between them.
        is_praise: Whether praise outweighs blame.
    """

    text: str
    is_praise: bool


class Meaning(NamedTuple):
    """What a clause says.

    Attributes:
        text: Its words with single spaces between them.
        sign: 1 for praise, -1 for blame.
        strength: How strong the praise or blame is, 1 to 3.
    """

    text: str
    sign: int
    strength: int


class Clause(ABC):
    """A clause whose adjectives are left open.

    Every rule of the grammar treats praise and blame alike: with each adjective exchanged for one
    of the other sign, a clause means the opposite.
    """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Adjectives left open."""

    @abstractmethod
    def say(self, adjectives: Iterator[str]) -> Meaning:
        """Fills the clause in.

        Args:
            adjectives: Gives one word for each of the ``slots``, in the order of the text.
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
    """``the plot was not X but Y`` or ``the plot was Y , not X``: Y holds."""

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
    """``critics who said that A were wrong``: upholds a claim (sign 1) or denies it (sign -1)."""

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
    """``although A , B``: the stronger claim decides; of two equal ones, the second."""

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
    """Draws a clause: contrasts half of the time, and claims that others report, twice at most."""
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
    """Makes a sentence, and its mirrored twin where it has one.

    With two adjectives of opposite sign the twin has the two exchanged: the same words, and the
    opposite label. One adjective alone, or two that agree, leave nothing to exchange.
    """
    clause = _clause(rng)
    good, bad = rng.choice(_GOOD), rng.choice(_BAD)
    if clause.slots == 1:
        return [_sentence(clause, [rng.choice([good, bad])])]
    if isinstance(clause, Contrast) and rng.random() < 0.15:
        return [_sentence(clause, rng.sample(rng.choice([_GOOD, _BAD]), 2))]
    return [_sentence(clause, [good, bad]), _sentence(clause, [bad, good])]


class GrammarSizes(NamedTuple):
    """How many sentences to make, and from which seed.

    Attributes:
        train: Training sentences.
        val: Validation sentences.
        test: Test sentences.
        seed: Number that decides which sentences are made.
    """

    train: int
    val: int
    test: int
    seed: int


def draw(sizes: GrammarSizes) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    """Makes the sentences of a corpus; no two are equal.

    Args:
        sizes: How many; validation and test sentences do not depend on ``train``.

    Returns:
        Those to train with, to choose a model by, and to report.
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
