"""Tests of the generated stories and their questions."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.base import Paragraph
from srulight.tasks.question_answering.corpora.synthetic_stories import (
    _CITIES,
    _FIRST,
    SyntheticStories,
)


def stories(**options: Any) -> list[Paragraph]:  # noqa: ANN401
    splits = SyntheticStories(
        **{"train_size": 200, "val_size": 20, "test_size": 20, **options}
    ).read(Path())
    return [*splits.train, *splits.val, *(splits.test or [])]


def test_every_answer_is_where_it_says() -> None:
    answered = [(s.context, a) for s in stories() for q in s.questions for a in q.answers]
    assert len(answered) >= 3 * 240
    for context, answer in answered:
        assert context[answer.start :].startswith(answer.text)
        assert not re.match(r"\w", context[answer.start + len(answer.text)])


def test_there_are_so_many_and_none_comes_twice() -> None:
    splits = SyntheticStories(30, 7, 5).read(Path())
    assert splits.test is not None
    assert (len(splits.train), len(splits.val), len(splits.test)) == (30, 7, 5)
    told = [*splits.train, *splits.val, *splits.test]
    assert len({story.context for story in told}) == len({story.article for story in told}) == 42
    assert len({q.id for story in told for q in story.questions}) == 42 * 3
    assert SyntheticStories(30, 7, 0).read(Path()).test is None


def test_the_seed_decides() -> None:
    assert stories() == stories()
    assert stories() != stories(seed=2)


def test_an_answer_is_not_found_by_its_kind() -> None:
    # Most stories have two or more candidates of the type that a question asks for.
    cities = [sum(story.context.count(city) for city in _CITIES) for story in stories()]
    assert min(cities) >= 2
    for story in stories():
        names = {word for word in story.context.split() if word in _FIRST}
        assert len(names) == 2
    assert max(Counter(q.text for s in stories() for q in s.questions).values()) < 10


def test_so_many_questions_have_no_answer() -> None:
    for share in (0.0, 0.3, 1.0):
        questions = [q for story in stories(unanswerable=share) for q in story.questions]
        missing = sum(not question.answers for question in questions)
        # Within four standard deviations.
        assert abs(missing / len(questions) - share) <= 4 * (share * (1 - share) / 720) ** 0.5
    for story in stories(unanswerable=1.0):
        for question in story.questions:
            (name,) = [word for word in question.text.split() if word in _FIRST]
            assert name not in story.context


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train_size": 0}, "train_size must be at least 1, got 0"),
        ({"test_size": -1}, "test_size must be at least 0, got -1"),
        ({"unanswerable": 1.5}, r"unanswerable must be 0 to 1, got 1\.5"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        stories(**options)
