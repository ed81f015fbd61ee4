"""SQuAD, and all that is in its format."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, Literal, TypeVar

from srulight.data.download import Source, download
from srulight.runtime.errors import InputError
from srulight.runtime.files import read_text
from srulight.runtime.records import parse_json
from srulight.tasks.question_answering.corpora.answers import Slip, locate
from srulight.tasks.question_answering.corpora.base import (
    Answer,
    Paragraph,
    Question,
    QuestionCorpus,
    QuestionSplits,
)

_URL = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_CHECKSUMS = {
    "train-v1.1.json": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1.json": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
}
_MENDED: dict[Slip, str] = {
    "white space": "answers with other white space than their context, mended",
    "place": "answers a few characters away from where they should be, mended",
}

_WANTED = {str: "text", int: "a whole number", list: "a list"}

Faulty = Literal["refuse", "skip"]
_T = TypeVar("_T", str, int, list[Any])


class Squad(QuestionCorpus):
    """Files in the format of SQuAD 1.1 or 2.0 (Rajpurkar et al. 2016 and 2018).

    An answer that is a few characters away from where the file says, or has other white space, is
    mended, and counted. In a file in which some question has ``is_impossible``, a question may have
    no answer. Parts are split off by article: questions about one article are much alike.

    Args:
        train: Name of the training file, inside ``root``.
        val: Name of the validation file; if None, some articles of the training file.
        test: Name of the test file; if None, some articles of the training file, or nothing.
        val_fraction: Share of the articles for validation if ``val`` is None, 0 to 1.
        test_fraction: Share of the articles to test on if ``test`` is None, 0 to 1; 0 for nothing.
        on_error: What to do with an answer that is not in its context, a question without an
            answer, and a context without words: "refuse" to begin, or "skip" and count them.
        seed: Number that decides which articles are split off.

    Raises:
        InputError: If a fraction is out of range or no use.
    """

    def __init__(
        self,
        train: str = "train-v1.1.json",
        val: str | None = None,
        test: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.0,
        on_error: Faulty = "skip",
        seed: int = 1,
    ) -> None:
        if val is None and not 0 < val_fraction < 1:
            raise InputError(
                f"val_fraction must be above 0 and below 1, got {val_fraction}; or set val to a "
                "file"
            )
        if not 0 <= test_fraction < 1 or (val is None and val_fraction + test_fraction >= 1):
            raise InputError(
                "val_fraction and test_fraction must leave something to learn from, got "
                f"{val_fraction} and {test_fraction}"
            )
        if test is not None and test_fraction:
            raise InputError(f"give test or test_fraction, not both; got {test}, {test_fraction}")
        self.train = train
        self.val = val
        self.test = test
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.on_error: Faulty = on_error
        self.seed = seed

    def fetch(self, root: Path) -> None:
        for name in (self.train, self.val, self.test):
            if name is None or (root / name).exists():
                continue
            if name not in _CHECKSUMS:
                raise InputError(
                    f"{name} cannot be downloaded (only {', '.join(_CHECKSUMS)} can); set "
                    "--data.root to the folder that has it"
                )
            download(Source(_URL + name, _CHECKSUMS[name]), root / name)

    def read(self, root: Path) -> QuestionSplits:
        mended: Counter[str] = Counter()

        def file(name: str) -> list[Paragraph]:
            paragraphs, counts = read_squad(root / name, self.on_error)
            mended.update(counts)
            if not paragraphs:
                raise InputError(f"{root / name} has no question that can be used")
            return paragraphs

        train = file(self.train)
        parts = self._split(train, root / self.train)
        val = parts["val"] if self.val is None else file(self.val)
        test = parts["test"] or None if self.test is None else file(self.test)
        self._refuse_shared({"train": parts["train"], "val": val, "test": test or []})
        return QuestionSplits(parts["train"], val, test, dict(mended))

    def _refuse_shared(self, parts: dict[str, list[Paragraph]]) -> None:
        """Raises if a question is in two parts: figures would be of what was learnt by heart."""
        found: dict[str, str] = {}
        for name, paragraphs in parts.items():
            for id in (question.id for paragraph in paragraphs for question in paragraph.questions):
                if id in found:
                    file = getattr(self, name) or self.train
                    raise InputError(
                        f"question {id} of {file} is in {found[id]} and in {name}; give them "
                        "different files, or null to split one by article: --data.corpus.val=null"
                    )
                found[id] = name

    def _split(self, paragraphs: list[Paragraph], path: Path) -> dict[str, list[Paragraph]]:
        articles = sorted({paragraph.article for paragraph in paragraphs})
        random.Random(self.seed).shuffle(articles)
        counts = {
            "val": 0 if self.val is not None else self.val_fraction,
            "test": self.test_fraction,
        }
        part: dict[str, str] = {}
        for name, share in counts.items():
            count = max(1, round(share * len(articles))) if share else 0
            part.update(dict.fromkeys(articles[len(part) : len(part) + count], name))
        if len(part) >= len(articles):
            raise InputError(
                f"{path} has too few articles to split, {len(articles)}; set val and test to files"
            )
        found: dict[str, list[Paragraph]] = {"train": [], "val": [], "test": []}
        for paragraph in paragraphs:
            found[part.get(paragraph.article, "train")].append(paragraph)
        return found


def read_squad(
    path: Path, on_error: Faulty, answered: bool = True
) -> tuple[list[Paragraph], dict[str, int]]:
    """Reads a file in the format of SQuAD.

    Args:
        path: The file.
        on_error: What to do with an answer that is not in its context, a question without one, and
            a context without words.
        answered: Whether answers are read; if not, they need not be there.

    Returns:
        The paragraphs that have questions; and how much was mended or left out, by what was wrong.

    Raises:
        InputError: If the file is not in the format, or something on_error is refused.
    """
    text = read_text(path, "set --data.root to the folder that has it")
    data = parse_json(text, str(path))
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise InputError(
            f'{path} is not in the format of SQuAD: expected an object with a list "data", got '
            f"{_kind(data)}"
        )
    return _Reader(path, on_error, answered, '"is_impossible"' in text).read(data["data"])


class _Reader:
    """Reads the articles of a file.

    Args:
        path: The file.
        on_error: What to do with what is on_error.
        answered: Whether answers are read.
        may_lack: Whether a question may have no answer.
    """

    def __init__(self, path: Path, on_error: Faulty, answered: bool, may_lack: bool) -> None:
        self._path = path
        self._faulty = on_error
        self._answered = answered
        self._may_lack = may_lack
        self._articles: dict[str, str] = {}  # of each question id
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
                    self._fault(
                        f"{where}, question {questions[0].id}: the context has no words",
                        "paragraphs without words, left out",
                    )
                elif questions:
                    found.append(Paragraph(context, questions, title))
        return found, dict(self._counts)

    def _question(self, data: object, context: str, title: str, where: str) -> Question | None:
        # Some have numbers for ids; predictions have them as text.
        if isinstance(data, dict) and type(data.get("id")) is int:
            data = {**data, "id": str(data["id"])}
        id = self._field(data, "id", str, where)
        where = f"{where}, question {id}"
        if id in self._articles:
            raise InputError(
                f"{where}: the id is taken by a question of article {self._articles[id]}"
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
            self._fault(f"{where}: has no answer", "questions without an answer, left out")
            return None
        return Question(id, text, answers)

    def _answer(self, data: object, context: str, where: str) -> Answer | None:
        text = self._field(data, "text", str, where)
        start = self._field(data, "answer_start", int, where)
        found = locate(text, start, context)
        if found is None:
            there = context[max(start, 0) : max(start, 0) + len(text)]
            if context.strip():
                self._fault(
                    f"{where}: the answer {text!r} is not at character {start} of its context, "
                    f"which has {there!r} there",
                    "answers that are not in their context, left out",
                )
            return None
        if found.slip is not None:
            self._counts[_MENDED[found.slip]] += 1
        return found.answer

    def _fault(self, says: str, counted: str) -> None:
        if self._faulty == "refuse":
            raise InputError(f"{says}; mend it, or leave such out: --data.corpus.on_error=skip")
        self._counts[counted] += 1

    def _field(self, data: object, name: str, kind: type[_T], where: str) -> _T:
        if not isinstance(data, dict):
            raise InputError(f'{where}: expected an object with "{name}", got {_kind(data)}')
        if name not in data:
            raise InputError(f'{where}: the field "{name}" is missing')
        value = data[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(
                f'{where}: the field "{name}" must be {_WANTED[kind]}, got {_kind(value)}'
            )
        return value


def _kind(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."
