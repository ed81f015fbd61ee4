"""Questions about small stories that are made on the spot."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.base import (
    Answer,
    Paragraph,
    Question,
    QuestionCorpus,
    QuestionSplits,
)

_FIRST = (
    *("Ada", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas"),
    *("Karla", "Louis", "Marta", "Nico", "Olga", "Pavel", "Rosa", "Simon", "Tessa", "Victor"),
)
_LAST = (
    *("Abel", "Baker", "Costa", "Dorn", "Evans", "Fischer", "Grant", "Holm", "Ivers", "Jung"),
    *("Keller", "Lopez", "Marsh", "Novak", "Olsen", "Price", "Quist", "Reyes", "Stone", "Weber"),
)
_CITIES = (
    *("Athens", "Bergen", "Cairo", "Dakar", "Fez", "Genoa", "Havana", "Izmir", "Kyoto", "Lima"),
    *("Lisbon", "Lyon", "Malmo", "New Orleans", "Oslo", "Porto", "Quito", "Riga", "San Remo"),
    *("Santa Fe", "Seville", "Tunis", "Turin", "Vienna", "Zagreb"),
)
_COLOURS = ("blue", "green", "red", "white", "black", "yellow")
_GOODS = (
    *("boats", "bricks", "candles", "chairs", "clocks", "coats", "hats", "kites", "lamps"),
    *("mirrors", "pianos", "ropes", "shoes", "stamps", "tents", "violins"),
)


class _Fact(NamedTuple):
    """What is told of someone, and asked.

    Attributes:
        tells: Ways to tell it: of whom, "{}", and what, "{answer}".
        asks: Ways to ask what it is.
        asks_who: Ways to ask of whom it is told, with "{answer}".
    """

    tells: tuple[str, ...]
    asks: tuple[str, ...]
    asks_who: tuple[str, ...]


_FACTS = {
    "birth": _Fact(
        ("{} was born in {answer}.", "{} came into the world in {answer}."),
        ("Where was {} born?", "In which city was {} born?"),
        ("Who was born in {answer}?",),
    ),
    "home": _Fact(
        ("{} moved to {answer} later.", "{} now lives in {answer}."),
        ("Where did {} move?", "In which city does {} live now?"),
        ("Who moved to {answer}?", "Who lives in {answer} now?"),
    ),
    "year": _Fact(
        ("{} opened a shop in {answer}.", "In {answer} {} opened a shop."),
        ("When did {} open a shop?", "In which year did {} open a shop?"),
        ("Who opened a shop in {answer}?",),
    ),
    "goods": _Fact(
        ("{} sold {answer}.", "People bought {answer} from {}."),
        ("What did {} sell?", "What did people buy from {}?"),
        ("Who sold {answer}?",),
    ),
}


class SyntheticStories(QuestionCorpus):
    """Small stories of two or three people and questions about them: needs no files.

    Several cities, years and goods are in each story, so that an answer cannot be found by its kind
    alone: a model must bind it to the person that is asked about, who need not be named again. No
    story comes twice.

    Args:
        train_size: Training stories, at least 1.
        val_size: Validation stories, at least 1.
        test_size: Test stories, 0 or more; with 0 there is nothing to test on.
        unanswerable: Share of the questions that their story does not answer, 0 to 1.
        seed: Number that decides the stories.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(
        self,
        train_size: int = 800,
        val_size: int = 60,
        test_size: int = 60,
        unanswerable: float = 0.0,
        seed: int = 1,
    ) -> None:
        if train_size < 1 or val_size < 1 or test_size < 0:
            raise InputError(
                "train_size and val_size must be at least 1 and test_size 0 or more, got "
                f"train_size={train_size} val_size={val_size} test_size={test_size}"
            )
        if not 0 <= unanswerable <= 1:
            raise InputError(f"unanswerable must be 0 to 1, got {unanswerable}")
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
        self.unanswerable = unanswerable
        self.seed = seed

    def fetch(self, root: Path) -> None:
        """Does nothing: the stories are made on the spot."""

    def read(self, root: Path) -> QuestionSplits:
        dice = random.Random(self.seed)
        stories: dict[str, Paragraph] = {}
        while len(stories) < self.train_size + self.val_size + self.test_size:
            story = _story(dice, f"story {len(stories) + 1}", self.unanswerable)
            stories.setdefault(story.context, story)
        told = list(stories.values())
        train, rest = told[: self.train_size], told[self.train_size :]
        test = rest[self.val_size :] if self.test_size else None
        return QuestionSplits(train, rest[: self.val_size], test, {})


class _Told(NamedTuple):
    """A fact of a story.

    Attributes:
        person: Of whom.
        kind: Key of the fact.
        value: What.
        start: Where the value stands.
        person_start: Where the person's name stands; -1 if a pronoun stands there.
    """

    person: str
    kind: str
    value: str
    start: int
    person_start: int


def _story(dice: random.Random, name: str, unanswerable: float) -> Paragraph:
    people = _draw(dice, _FIRST, 3)
    people = [f"{first} {last}" for first, last in zip(people, _draw(dice, _LAST, 3), strict=True)]
    absent = people.pop()
    cities = iter(_draw(dice, _CITIES, 6))
    years = iter(_draw(dice, range(1900, 2000), 3))
    goods = iter(f"{dice.choice(_COLOURS)} {what}" for what in _draw(dice, _GOODS, 3))
    values = {
        "birth": lambda: next(cities), "home": lambda: next(cities),
        "year": lambda: str(next(years)), "goods": lambda: next(goods),
    }  # fmt: skip
    text = ""
    told: list[_Told] = []
    for person in people:
        kinds = _draw(dice, list(_FACTS), 3)
        for place, kind in enumerate(kinds):
            value = values[kind]()
            template = dice.choice(_FACTS[kind].tells)
            # Once somebody was named, the next sentences may go on without the name.
            named = place == 0 or dice.random() < 0.4 or not template.startswith("{}")
            sentence = template.replace("{}", person if named else "This person")
            start = len(text) + sentence.index("{answer}")
            sentence = sentence.replace("{answer}", value)
            where = len(text) + sentence.index(person) if named else -1
            told.append(_Told(person, kind, value, start, where))
            text += sentence + " "
    questions = []
    for number, fact in enumerate(dice.sample(told, 3)):
        question = _ask(dice, fact, told, absent, unanswerable)
        questions.append(Question(f"{name}, {number + 1}", *question))
    return Paragraph(text.strip(), questions, name)


def _ask(
    dice: random.Random, fact: _Told, told: list[_Told], absent: str, unanswerable: float
) -> tuple[str, list[Answer]]:
    form = _FACTS[fact.kind]
    if dice.random() < unanswerable:
        # Of somebody of whom it is not told.
        return dice.choice(form.asks).replace("{}", absent), []
    if dice.random() < 0.3:
        places = [one.person_start for one in told if one.person == fact.person]
        answers = [Answer(fact.person, place) for place in places if place >= 0]
        return dice.choice(form.asks_who).replace("{answer}", fact.value), answers
    answer = Answer(fact.value, fact.start)
    return dice.choice(form.asks).replace("{}", fact.person), [answer]


def _draw(dice: random.Random, things: Sequence[object], count: int) -> list[str]:
    return [str(thing) for thing in dice.sample(list(things), count)]
