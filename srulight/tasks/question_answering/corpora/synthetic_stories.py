"""A generated corpus of small stories and questions about them."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from srulight.runtime.errors import check_range
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
_COLORS = ("blue", "green", "red", "white", "black", "yellow")
_GOODS = (
    *("boats", "bricks", "candles", "chairs", "clocks", "coats", "hats", "kites", "lamps"),
    *("mirrors", "pianos", "ropes", "shoes", "stamps", "tents", "violins"),
)


class _Templates(NamedTuple):
    """Templates of the statements and questions for one kind of fact about a person.

    Attributes:
        statements: Sentences about the person "{}" with the value "{answer}".
        questions: Questions about the person "{}" that ask for the value.
        person_questions: Questions about the value "{answer}" that ask for the person.
    """

    statements: tuple[str, ...]
    questions: tuple[str, ...]
    person_questions: tuple[str, ...]


_KINDS = {
    "birth": _Templates(
        ("{} was born in {answer}.", "{} came into the world in {answer}."),
        ("Where was {} born?", "In which city was {} born?"),
        ("Who was born in {answer}?",),
    ),
    "home": _Templates(
        ("{} moved to {answer} later.", "{} now lives in {answer}."),
        ("Where did {} move?", "In which city does {} live now?"),
        ("Who moved to {answer}?", "Who lives in {answer} now?"),
    ),
    "year": _Templates(
        ("{} opened a shop in {answer}.", "In {answer} {} opened a shop."),
        ("When did {} open a shop?", "In which year did {} open a shop?"),
        ("Who opened a shop in {answer}?",),
    ),
    "goods": _Templates(
        ("{} sold {answer}.", "People bought {answer} from {}."),
        ("What did {} sell?", "What did people buy from {}?"),
        ("Who sold {answer}?",),
    ),
}


class SyntheticStories(QuestionCorpus):
    """Generates small stories about two people and questions about them; needs no files.

    A story can mention several cities, years and goods, so a model cannot find an answer by its
    type alone. It must connect the answer with the right person, whom the sentence need not name.
    Every story occurs once.

    Args:
        train_size: Number of training stories, at least 1.
        val_size: Number of validation stories, at least 1.
        test_size: Number of test stories, 0 or more. With 0 there is no test set.
        unanswerable: Share of questions that the story does not answer, from 0 to 1.
        seed: Seed for the stories.

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
        check_range(1, train_size=train_size, val_size=val_size)
        check_range(0, test_size=test_size)
        check_range(0, 1, unanswerable=unanswerable)
        self.train_size = train_size
        self.val_size = val_size
        self.test_size = test_size
        self.unanswerable = unanswerable
        self.seed = seed

    def read(self, root: Path) -> QuestionSplits:
        rng = random.Random(self.seed)
        stories: dict[str, Paragraph] = {}
        while len(stories) < self.train_size + self.val_size + self.test_size:
            story = _story(rng, f"story {len(stories) + 1}", self.unanswerable)
            stories.setdefault(story.context, story)
        paragraphs = list(stories.values())
        train, rest = paragraphs[: self.train_size], paragraphs[self.train_size :]
        test = rest[self.val_size :] if self.test_size else None
        return QuestionSplits(train, rest[: self.val_size], test, {})


class _Fact(NamedTuple):
    """A fact of a story.

    Attributes:
        person: Name of the person.
        kind: Key of the templates of this kind of fact.
        value: Value that is stated about the person.
        start: Start of the value in the story, in characters.
        person_start: Start of the name in the story, in characters; -1 if the sentence says "This
            person" instead.
    """

    person: str
    kind: str
    value: str
    start: int
    person_start: int


def _story(rng: random.Random, name: str, unanswerable: float) -> Paragraph:
    people = _draw(rng, _FIRST, 3)
    people = [f"{first} {last}" for first, last in zip(people, _draw(rng, _LAST, 3), strict=True)]
    absent = people.pop()
    cities = iter(_draw(rng, _CITIES, 6))
    years = iter(_draw(rng, range(1900, 2000), 3))
    goods = iter(f"{rng.choice(_COLORS)} {what}" for what in _draw(rng, _GOODS, 3))
    values = {
        "birth": lambda: next(cities), "home": lambda: next(cities),
        "year": lambda: str(next(years)), "goods": lambda: next(goods),
    }  # fmt: skip
    text = ""
    facts: list[_Fact] = []
    for person in people:
        for i, kind in enumerate(_draw(rng, list(_KINDS), 3)):
            value = values[kind]()
            template = rng.choice(_KINDS[kind].statements)
            # The first sentence about a person has the name; later ones may refer back to it.
            named = i == 0 or rng.random() < 0.4 or not template.startswith("{}")
            sentence = template.replace("{}", person if named else "This person")
            start = len(text) + sentence.index("{answer}")
            sentence = sentence.replace("{answer}", value)
            person_start = len(text) + sentence.index(person) if named else -1
            facts.append(_Fact(person, kind, value, start, person_start))
            text += sentence + " "
    questions = []
    for number, fact in enumerate(rng.sample(facts, 3)):
        question = _ask(rng, fact, facts, absent, unanswerable)
        questions.append(Question(f"{name}, {number + 1}", *question))
    return Paragraph(text.strip(), questions, name)


def _ask(
    rng: random.Random, fact: _Fact, facts: list[_Fact], absent: str, unanswerable: float
) -> tuple[str, list[Answer]]:
    templates = _KINDS[fact.kind]
    if rng.random() < unanswerable:
        # Ask about a person who does not occur in the story.
        return rng.choice(templates.questions).replace("{}", absent), []
    if rng.random() < 0.3:
        starts = [one.person_start for one in facts if one.person == fact.person]
        answers = [Answer(fact.person, start) for start in starts if start >= 0]
        return rng.choice(templates.person_questions).replace("{answer}", fact.value), answers
    answer = Answer(fact.value, fact.start)
    return rng.choice(templates.questions).replace("{}", fact.person), [answer]


def _draw(rng: random.Random, things: Sequence[object], count: int) -> list[str]:
    return [str(thing) for thing in rng.sample(list(things), count)]
