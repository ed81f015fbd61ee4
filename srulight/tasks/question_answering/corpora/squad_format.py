"""Reads the JSON format of SQuAD: articles with paragraphs, questions and answers."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal, TypeVar

from srulight.runtime.errors import InputError
from srulight.runtime.files import read_text
from srulight.runtime.records import parse_json
from srulight.tasks.question_answering.corpora.base import Answer, Paragraph, Question

OnError = Literal["refuse", "skip"]
"""What to do with an answer, a question or a text that cannot be used."""

_NEAR = 20  # Maximum distance of an answer from its stated position, in characters.

_Slip = Literal["white space", "place"]
_CORRECTED: dict[_Slip, str] = {
    "white space": "answers corrected: white space differs from the context",
    "place": "answers corrected: a few characters away from their stated position",
}

_WANTED = {str: "a string", int: "an integer", list: "a list"}
_T = TypeVar("_T", str, int, list[Any])


def locate(text: str, start: int, context: str) -> tuple[Answer, _Slip | None] | None:
    """Finds an answer in its context.

    The answer may be a few characters away from its stated position, and it may differ from the
    context in white space. Of several matches, the nearest one counts.

    Args:
        text: The answer.
        start: Stated position of the answer, in characters.
        context: Text that contains the answer.

    Returns:
        The answer as it occurs in the context, and what was corrected, None for nothing. The result
        is None if the answer has no words, or does not occur near its stated position.
    """
    words = text.split()
    # Leading white space is not part of the answer.
    inner = start + len(text) - len(text.lstrip())
    # Python would count a negative position from the end.
    if not words or not 0 <= inner < len(context):
        return None
    if context.startswith(text, start) and text == text.strip():
        return Answer(text, start), None
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    found = [
        (abs(match.start() - inner), match)
        for match in pattern.finditer(context, max(0, inner - _NEAR))
        if match.start() <= inner + _NEAR
    ]
    if not found:
        return None
    away, match = min(found, key=lambda one: one[0])
    return Answer(match[0], match.start()), "place" if away else "white space"


def read_squad(
    path: Path, on_error: OnError, answered: bool = True
) -> tuple[list[Paragraph], dict[str, int]]:
    """Reads a file in the format of SQuAD.

    Args:
        path: JSON file.
        on_error: What to do with an answer that is not in its context, a question without an
            answer, or a context without words: "refuse" or "skip".
        answered: Whether to read the answers. If not, the file may lack them.

    Returns:
        The paragraphs that have questions, and the number of corrected or skipped answers,
        questions and paragraphs, by reason.

    Raises:
        InputError: If the file is not in the format of SQuAD, or ``on_error`` refuses an item.
    """
    text = read_text(path, "set --data.root to the folder that has it")
    data = parse_json(text, str(path))
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise InputError(
            f'{path}: expected an object with a list "data", as in SQuAD, got {_kind(data)}; '
            "convert the file to the format of SQuAD"
        )
    return _Reader(path, on_error, answered, '"is_impossible"' in text).read(data["data"])


class _Reader:
    """Reads the articles of a file.

    Args:
        path: JSON file, for error messages.
        on_error: What to do with items that cannot be used.
        answered: Whether to read the answers.
        may_lack: Whether questions may lack an answer.
    """

    def __init__(self, path: Path, on_error: OnError, answered: bool, may_lack: bool) -> None:
        self._path = path
        self._on_error = on_error
        self._answered = answered
        self._may_lack = may_lack
        self._articles: dict[str, str] = {}  # article of each question id
        self._counts: Counter[str] = Counter()

    def read(self, articles: list[Any]) -> tuple[list[Paragraph], dict[str, int]]:
        found = []
        for number, article in enumerate(articles, 1):
            title = article.get("title") if isinstance(article, dict) else None
            title = str(title or number)
            where = f"{self._path}, article {title}"
            for paragraph in self._field(article, "paragraphs", list, where):
                context = self._field(paragraph, "context", str, where)
                questions = [
                    question
                    for one in self._field(paragraph, "qas", list, where)
                    if (question := self._question(one, context, title, where)) is not None
                ]
                if questions and not context.strip():
                    self._refuse_or_count(
                        f"{where}, question {questions[0].id}: expected a context with words, got "
                        f"{context[:60]!r}",
                        "paragraphs skipped: no words in the context",
                    )
                elif questions:
                    found.append(Paragraph(context, questions, title))
        return found, dict(self._counts)

    def _question(self, data: object, context: str, title: str, where: str) -> Question | None:
        # Some files have integer ids, but ids of predictions are strings.
        if isinstance(data, dict) and type(data.get("id")) is int:
            data = {**data, "id": str(data["id"])}
        id = self._field(data, "id", str, where)
        where = f"{where}, question {id}"
        if id in self._articles:
            raise InputError(
                f"{where}: expected a unique id, got that of a question in article "
                f"{self._articles[id]}; change one of the ids"
            )
        self._articles[id] = title
        text = self._field(data, "question", str, where)
        if not self._answered:
            return Question(id, text, [])
        given = self._field(data, "answers", list, where)
        impossible = isinstance(data, dict) and data.get("is_impossible")
        if impossible or (self._may_lack and not given):
            return Question(id, text, [])
        answers = [one for answer in given if (one := self._answer(answer, context, where))]
        if not answers and context.strip():
            self._refuse_or_count(
                f"{where}: expected an answer, got none that can be used",
                "questions skipped: no answer",
            )
            return None
        return Question(id, text, answers)

    def _answer(self, data: object, context: str, where: str) -> Answer | None:
        text = self._field(data, "text", str, where)
        start = self._field(data, "answer_start", int, where)
        found = locate(text, start, context)
        if found is None:
            there = context[max(start, 0) : max(start, 0) + len(text)]
            if context.strip():
                self._refuse_or_count(
                    f"{where}: expected the answer {text!r} at character {start} of the context, "
                    f"got {there!r}",
                    "answers skipped: not in the context",
                )
            return None
        answer, slip = found
        if slip is not None:
            self._counts[_CORRECTED[slip]] += 1
        return answer

    def _refuse_or_count(self, message: str, counted: str) -> None:
        if self._on_error == "refuse":
            remedy = "fix it, or skip such items with --data.corpus.on_error=skip"
            raise InputError(f"{message}; {remedy}")
        self._counts[counted] += 1

    def _field(self, data: object, name: str, kind: type[_T], where: str) -> _T:
        if not isinstance(data, dict):
            raise InputError(f'{where}: expected an object with "{name}", got {_kind(data)}')
        if name not in data:
            raise InputError(f'{where}: expected "{name}", got no such field; add it')
        value = data[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(
                f'{where}: expected {_WANTED[kind]} as "{name}", got {_kind(value)}; fix it'
            )
        return value


def _kind(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."
