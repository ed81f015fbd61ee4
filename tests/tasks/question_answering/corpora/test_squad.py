"""Files in the format of SQuAD are read, corrected, refused, and split by article."""

import json
from pathlib import Path
from typing import Any

import pytest

from srulight.data.download import Source
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora import squad as squad_module
from srulight.tasks.question_answering.corpora.base import Answer, Paragraph
from srulight.tasks.question_answering.corpora.squad import Squad
from srulight.tasks.question_answering.corpora.squad_format import locate, read_squad

CONTEXT = "Ada sold  red lamps.\nThe red lamps were new."


def asked(id: object = "q1", *answers: tuple[str, int], **more: object) -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": "Which?", "answers": found, **more}


def article(title: str, *questions: dict[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}


def write(folder: Path, *articles: dict[str, Any], name: str = "train.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"version": "1.1", "data": articles}))
    return path


@pytest.mark.parametrize(
    ("text", "start", "found", "slip"),
    [
        ("Ada", 0, Answer("Ada", 0), None),
        ("red lamps", 10, Answer("red lamps", 10), None),
        # White space around an answer is not part of it.
        (" Ada ", -1, Answer("Ada", 0), "white space"),
        ("sold ", 4, Answer("sold", 4), "white space"),
        # White space is taken from the context.
        ("sold red", 4, Answer("sold  red", 4), "white space"),
        ("lamps. The", 14, Answer("lamps.\nThe", 14), "white space"),
        # The position is off by a few characters: the nearest match counts.
        ("Ada", 1, Answer("Ada", 0), "place"),
        ("red lamps", 14, Answer("red lamps", 10), "place"),
        ("red lamps", 22, Answer("red lamps", 25), "place"),
        ("sold red", 7, Answer("sold  red", 4), "place"),
        # Other differences, and matches far away, do not count.
        ("ada", 0, None, None),
        ("Lamps", 14, None, None),
        ("Ada", 21, None, None),
        ("new", 10, None, None),
        ("", 0, None, None),
        # Positions outside the text are invalid.
        ("lamps.", -6, None, None),
        ("Ada", -1, None, None),
        (" Ada", -2, None, None),
        ("Ada", 10**30, None, None),
        ("  ", 8, None, None),
        ("lamp.", 14, None, None),
    ],
)
def test_an_answer_is_looked_for_near_its_place(
    text: str, start: int, found: Answer | None, slip: str | None
) -> None:
    assert locate(text, start, CONTEXT) == (found and (found, slip))
    if found is not None:
        assert CONTEXT[found.start :].startswith(found.text)


def test_questions_and_answers_are_those_of_the_file(tmp_path: Path) -> None:
    first, second = asked("q1", ("Ada", 0), ("red lamps", 10)), asked(7, ("new", 40))
    path = write(tmp_path, article("Lamps", first, second), article("", asked("q3", ("Ada", 0))))
    paragraphs, counts = read_squad(path, "refuse")
    assert counts == {}
    assert [paragraph.article for paragraph in paragraphs] == ["Lamps", "2"]
    assert paragraphs[0].context == CONTEXT
    assert [question.id for question in paragraphs[0].questions] == ["q1", "7"]
    assert paragraphs[0].questions[0].text == "Which?"
    assert paragraphs[0].questions[0].answers == [Answer("Ada", 0), Answer("red lamps", 10)]


def test_what_is_corrected_or_left_out_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        article(
            "Lamps",
            asked("q1", ("Ada", 1), ("sold red", 4), ("blue", 3)),
            asked("q2", ("blue", 3)),
            asked("q3", (CONTEXT[-4:], -4)),
        ),
        article("Nothing", asked("q4", ("x", 0)), context=" \n"),
    )
    paragraphs, counts = read_squad(path, "skip")
    assert [question.id for p in paragraphs for question in p.questions] == ["q1"]
    assert paragraphs[0].questions[0].answers == [Answer("Ada", 0), Answer("sold  red", 4)]
    assert counts == {
        "answers corrected: a few characters away from their stated position": 1,
        "answers corrected: white space differs from the context": 1,
        "answers skipped: not in the context": 3,
        "questions skipped: no answer": 2,
        "paragraphs skipped: no words in the context": 1,
    }


@pytest.mark.parametrize(
    ("question", "context", "says"),
    [
        (
            asked("q9", ("blue", 3)), CONTEXT,
            "train.json, article Lamps, question q9: expected the answer 'blue' at character 3 of "
            "the context, got ' sol'; fix it, or skip such items with --data.corpus.on_error=skip",
        ),
        (asked("q9"), CONTEXT, "article Lamps, question q9: expected an answer, got none"),
        (asked("q9", ("a", 0)), " ", "question q9: expected a context with words, got ' '; fix"),
    ],
)  # fmt: skip
def test_what_is_faulty_is_refused_with_its_place(
    question: dict[str, Any], context: str, says: str, tmp_path: Path
) -> None:
    path = write(tmp_path, article("Lamps", question, context=context))
    with pytest.raises(InputError) as error:
        read_squad(path, "refuse")
    assert says in str(error.value)


def test_a_question_may_have_no_answer_where_the_file_says_so(tmp_path: Path) -> None:
    plausible = [{"text": "Ada", "answer_start": 0}]
    path = write(
        tmp_path,
        article(
            "Lamps",
            asked("q1", ("Ada", 0), is_impossible=False),
            asked("q2", is_impossible=True, plausible_answers=plausible),
            asked("q3"),
            asked("q4", ("Ada", 0), is_impossible=True),
        ),
    )
    ((_, questions, _),), counts = read_squad(path, "refuse")
    assert counts == {}
    assert [len(question.answers) for question in questions] == [1, 0, 0, 0]


def test_answers_need_not_be_there_to_be_found(tmp_path: Path) -> None:
    bare = {"id": "q1", "question": "Which?"}
    path = write(tmp_path, article("Lamps", bare, asked("q2", ("blue", 3))))
    ((_, questions, _),), counts = read_squad(path, "refuse", answered=False)
    assert [(question.id, question.answers) for question in questions] == [("q1", []), ("q2", [])]
    assert counts == {}


def without(data: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != field}


GOOD = asked("q9", ("Ada", 0))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], 'expected an object with a list "data", as in SQuAD, got []'),
        ({"data": {}}, 'expected an object with a list "data", as in SQuAD, got {"data": {}}'),
        ({"data": [3]}, 'train.json, article 1: expected an object with "paragraphs", got 3'),
        ({"data": [{"title": "A"}]}, 'article A: expected "paragraphs", got no such field'),
        ({"data": [{"paragraphs": "x"}]}, 'article 1: expected a list as "paragraphs", got'),
        (
            {"data": [{"title": "A", "paragraphs": [{"qas": []}]}]},
            'article A: expected "context", got no such field',
        ),
        (
            {"data": [{"title": "A", "paragraphs": [{"context": "x"}]}]},
            'article A: expected "qas", got no such field',
        ),
        (
            {"data": [article("A", without(GOOD, "id"))]},
            'article A: expected "id", got no such field',
        ),
        ({"data": [article("A", asked(None))]}, 'expected a string as "id", got null'),
        (
            {"data": [article("A", without(GOOD, "question"))]},
            'article A, question q9: expected "question", got no such field',
        ),
        (
            {"data": [article("A", without(GOOD, "answers"))]},
            'article A, question q9: expected "answers", got no such field',
        ),
        (
            {"data": [article("A", {**GOOD, "answers": [{"text": "Ada"}]})]},
            'question q9: expected "answer_start", got no such field',
        ),
        (
            {"data": [article("A", {**GOOD, "answers": [{"text": 1, "answer_start": 0}]})]},
            'question q9: expected a string as "text", got 1',
        ),
        (
            {"data": [article("A", {**GOOD, "answers": [{"text": "Ada", "answer_start": True}]})]},
            'question q9: expected an integer as "answer_start", got true',
        ),
        (
            {"data": [article("A", GOOD), article("B", GOOD)]},
            "article B, question q9: expected a unique id, got that of a question in article A",
        ),
    ],
)
def test_another_format_is_refused(data: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as error:
        read_squad(path, "skip")
    assert says in str(error.value)


def test_what_is_no_json_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"data":\n [,]}')
    with pytest.raises(
        InputError, match=r"train\.json: not JSON: Expecting value: line 2 column 3"
    ):
        read_squad(path, "skip")
    path.write_bytes(b'{"data":\n "\xff"}')
    with pytest.raises(InputError, match=r"train\.json:2: byte 0xff is not UTF-8"):
        read_squad(path, "skip")
    with pytest.raises(InputError, match=r"none\.json is not in .*; set --data\.root"):
        read_squad(tmp_path / "none.json", "skip")


def names(paragraphs: list[Paragraph] | None) -> set[str]:
    return {paragraph.article for paragraph in paragraphs or []}


def test_parts_are_split_by_article(tmp_path: Path) -> None:
    # Every article occurs twice, with one paragraph each time.
    articles = [article(f"A{i % 20}", asked(f"q{i}", ("Ada", 0))) for i in range(40)]
    write(tmp_path, *articles)
    corpus = Squad("train.json", val_fraction=0.2, test_fraction=0.1)
    train, val, test, _ = corpus.read(tmp_path)
    assert test is not None
    assert (len(train), len(val), len(test)) == (28, 8, 4)
    parts = [names(part) for part in (train, val, test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 20
    # The split depends on the seed and not on the order of the file.
    write(tmp_path, *reversed(articles))
    assert [names(part) for part in corpus.read(tmp_path)[:3]] == parts
    other = Squad("train.json", val_fraction=0.2, test_fraction=0.1, seed=2).read(tmp_path)
    assert names(other.val) != parts[1]
    alone = Squad("train.json", val_fraction=0.2).read(tmp_path)
    assert alone.test is None
    assert names(alone.train) | names(alone.val) == set().union(*parts)


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, article("A", asked("1", ("Ada", 1))))
    write(tmp_path, article("A", asked("2", ("Ada", 1))), name="val.json")
    write(tmp_path, article("C", asked("3", ("Ada", 0))), name="test.json")
    train, val, test, corrected = Squad("train.json", "val.json", "test.json").read(tmp_path)
    assert [paragraphs and paragraphs[0].questions[0].id for paragraphs in (train, val, test)] == [
        "1", "2", "3",
    ]  # fmt: skip
    assert corrected == {"answers corrected: a few characters away from their stated position": 2}


def test_too_few_articles_are_not_split(tmp_path: Path) -> None:
    path = write(tmp_path, article("A", GOOD))
    with pytest.raises(InputError, match=r"or more articles to split, got 1; set val and test"):
        Squad("train.json").read(tmp_path)
    write(tmp_path, article("A", asked("q1", ("blue", 0))))
    with pytest.raises(InputError, match="expected questions, got none that can be used"):
        Squad("train.json").read(tmp_path)
    assert path.exists()


def test_a_question_in_two_parts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, article("A", asked("1", ("Ada", 0))), article("B", asked("2", ("Ada", 0))))
    says = "train.json: .* got [12] in train and val; set --data.corpus.val to another file"
    with pytest.raises(InputError, match=says):
        Squad("train.json", val="train.json").read(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"val_fraction": 0.0},
            "val_fraction must be above 0 and below 1, got 0.0; set it, or set val",
        ),
        ({"val_fraction": 1.0}, "val_fraction must be above 0 and below 1, got 1.0"),
        (
            {"val_fraction": 0.5, "test_fraction": 0.5},
            "must be at least 0 and leave articles to train on",
        ),
        ({"test_fraction": -0.1}, "leave articles to train on, got 0.1 and -0.1"),
        ({"test": "x.json", "test_fraction": 0.1}, r"0 if test is a file \(.x.json.\), got 0.1"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Squad(**options)


def test_only_what_is_known_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[str, str, Path]] = []

    def take(source: Source, target: Path) -> None:
        got.append((source.url.rsplit("/", 1)[1], source.sha256[:8], target))

    monkeypatch.setattr(squad_module, "download", take)
    (tmp_path / "train-v1.1.json").touch()
    Squad(val="dev-v1.1.json", test="dev-v2.0.json").fetch(tmp_path)
    assert got == [
        ("dev-v1.1.json", "95aa6a52", tmp_path / "dev-v1.1.json"),
        ("dev-v2.0.json", "80a5225e", tmp_path / "dev-v2.0.json"),
    ]
    with pytest.raises(InputError, match=r"own\.json cannot be downloaded, only train-v1"):
        Squad("own.json").fetch(tmp_path)
