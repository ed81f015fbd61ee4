"""Tests of the data module of question answering."""

import json
from pathlib import Path

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering import token_table as tables_module
from srulight.tasks.question_answering.corpora.base import (
    Answer,
    Paragraph,
    Question,
    QuestionCorpus,
    QuestionSplits,
)
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.features import Windows
from srulight.tasks.question_answering.token_table import paragraph_tokens
from srulight.text.tokenizers import Words

TEXT = "Ada sold lamps in Oslo. She was happy."
QUESTIONS = [
    Question("1", "Who sold lamps?", [Answer("Ada", 0)]),
    Question("2", "Where did Ada sell lamps?", [Answer("Oslo", 18), Answer("in Oslo", 15)]),
    Question("3", "What is half a word?", [Answer("amp", 10)]),
]


class Given(QuestionCorpus):
    """A corpus with paragraphs given by the test."""

    def __init__(self, *train: Paragraph, test: list[Paragraph] | None = None) -> None:
        self.splits = QuestionSplits(list(train), list(train), test, {"answers corrected": 1200})
        self.fetched: list[Path] = []

    def fetch(self, root: Path) -> None:
        self.fetched.append(root)

    def read(self, root: Path) -> QuestionSplits:
        return self.splits


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def build(*paragraphs: Paragraph, **options: object) -> QuestionAnsweringData:
    given = paragraphs or (Paragraph(TEXT, QUESTIONS, "Ada"),)
    data = QuestionAnsweringData(Given(*given), **options)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


def test_a_training_batch_has_words_and_places_of_answers() -> None:
    data = build()
    (batch,) = data.train_dataloader()
    words = data.metadata["tokenizer"]["vocabulary"]
    assert batch.contexts == []
    places = {}
    for question, first, last in zip(batch.question, batch.first, batch.last, strict=True):
        text = " ".join(words[i] for i in question if i)
        places[text] = (int(first), int(last))
    assert places == {
        "who sold lamps ?": (0, 0),
        "where did ada sell lamps ?": (4, 4),
        "what is half a word ?": (2, 2),  # the word that contains the answer
    }
    assert [words[i] for i in batch.document[0]] == TEXT.lower().replace(".", " .").split()


def test_what_is_measured_has_its_texts() -> None:
    (batch,) = build().val_dataloader()
    assert {context.id: context.answers for context in batch.contexts} == {
        "1": ["Ada"], "2": ["Oslo", "in Oslo"], "3": ["amp"],
    }  # fmt: skip
    for context in batch.contexts:
        assert context.text == TEXT
        assert [TEXT[i:j] for i, j in zip(context.starts, context.ends, strict=True)] == (
            TEXT.replace(".", " .").split()
        )


def words_of(tokenizer: Words | None = None) -> list[str]:
    vocabulary = build(tokenizer=tokenizer).metadata["tokenizer"]["vocabulary"]
    assert vocabulary[:2] == ["<pad>", "<unk>"]
    return list(vocabulary[2:])


def test_words_of_questions_come_first(tmp_path: Path) -> None:
    # Ordered by count in the questions, then by count in all texts, then alphabetically.
    words = words_of()
    assert words[:3] == ["?", "lamps", "ada"]
    assert set(words[-6:]) == {".", "happy", "in", "oslo", "she", "was"}
    rare = words_of(Words(lowercase=True, min_count=2))
    assert rare == ["?", "lamps", "ada", "sold", "."]
    assert words_of(Words(lowercase=True, max_size=2)) == ["?", "lamps"]
    assert "Ada" in words_of(Words())
    path = tmp_path / "words.txt"
    path.write_text("zebra\nlamps\nada\n?\n")
    given = words_of(Words(lowercase=True, file=str(path)))
    assert given == ["?", "lamps", "ada", "zebra"]


def test_metadata_is_plain_and_complete() -> None:
    metadata = build(windows=Windows(20, 3)).metadata
    tokenizer = metadata["tokenizer"]
    assert (tokenizer["kind"], tokenizer["split"], tokenizer["lowercase"]) == (
        "Words", "english", True,
    )  # fmt: skip
    assert {name: value for name, value in metadata.items() if name != "tokenizer"} == {
        "annotator": None, "tag_names": [], "windows": {"size": 20, "overlap": 3},
        "no_answer": False,
    }  # fmt: skip
    assert json.loads(json.dumps(metadata)) == metadata
    given = QuestionAnsweringData(SyntheticStories(4, 1, 0, unanswerable=1.0))
    given.setup()
    assert given.metadata["no_answer"] is True
    with pytest.raises(RuntimeError, match=r"call setup\(\) before"):
        QuestionAnsweringData().metadata  # noqa: B018


def test_a_checkpoint_brings_its_vocabulary() -> None:
    metadata = build().metadata
    data = QuestionAnsweringData(Given(Paragraph("Bob ran", [Question("9", "who", [])], "B")))
    data.load_metadata(metadata)
    data.setup()
    (batch,) = data.val_dataloader()
    assert batch.document.tolist() == [[1, 1]]
    other = QuestionAnsweringData(annotator="rules")
    with pytest.raises(
        InputError, match="annotator must be None, as in training, got 'rules'; set"
    ):
        other.load_metadata(metadata)


def test_vectors_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("ada 1 2\nzebra 3 4\noslo 5 6\nbob 7 8\n")
    test = [Paragraph("Bob ran", [Question("9", "who", [Answer("Bob", 0)])], "B")]
    data = QuestionAnsweringData(
        Given(Paragraph(TEXT, QUESTIONS, "Ada"), test=test), vectors=str(path)
    )
    data.setup()
    vectors, words = data.word_vectors, data.metadata["tokenizer"]["vocabulary"]
    assert vectors is not None
    assert "zebra" not in words
    assert words[-1] == "bob"  # occurs in the test set only, and has a vector
    for word, row in (("ada", [1, 2]), ("oslo", [5, 6]), ("bob", [7, 8]), ("<pad>", [0, 0])):
        assert vectors[words.index(word)].tolist() == row
    path.write_text("zebra 3 4\n")
    with pytest.raises(InputError, match="expected vectors for words of the corpus, got none"):
        QuestionAnsweringData(Given(Paragraph(TEXT, QUESTIONS, "A")), vectors=str(path)).setup()


def test_what_was_corrected_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        build()
    assert caplog.text.count("1,200 answers corrected") == 1
    assert "train: widened 1 answers that begin or end inside a word" in caplog.text
    assert "train: 1 articles, 1 paragraphs, 3 questions" in caplog.text


def test_a_question_whose_answer_no_window_has_is_not_learnt_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = Question("4", "What?", [Answer("sold lamps in Oslo", 4)])
    with caplog.at_level("INFO"):
        data = build(Paragraph(TEXT, [*QUESTIONS, long], "Ada"), windows=Windows(3, 1))
    assert "train: 1 articles, 1 paragraphs, 3 questions; skipped 1: no window" in caplog.text
    assert sum(batch.size for batch in data.train_dataloader()) == 3
    assert sum(batch.size for batch in data.val_dataloader()) == 4


@pytest.mark.parametrize("start", [-6, 1, 99])
def test_an_answer_that_is_elsewhere_is_refused(start: int) -> None:
    question = Question("q", "How was she?", [Answer("happy.", start)])
    with pytest.raises(
        InputError, match=f"question q: expected the answer at character {start} of"
    ):
        build(Paragraph(TEXT, [question], "Ada"))


def test_characters_are_words_for_scripts_without_spaces() -> None:
    context = "\u5979\u5728\u5317\u4eac\u5356 lampe\u0301."
    answers = [Answer("\u5317\u4eac", 2)], [Answer("e\u0301.", 10)]
    asked = [Question(str(i), "\u54ea\u91cc\uff1f", found) for i, found in enumerate(answers)]
    characters = Words("characters", lowercase=True)
    data = build(Paragraph(context, asked, "Ada"), tokenizer=characters)
    (batch,) = data.train_dataloader()
    assert [data.metadata["tokenizer"]["vocabulary"][i] for i in batch.document[0]] == [
        *"\u5979\u5728\u5317\u4eac\u5356lamp\u00e9."
    ]
    assert sorted(zip(batch.first.tolist(), batch.last.tolist(), strict=True)) == [(2, 3), (9, 10)]
    with pytest.raises(
        InputError, match=r"tokenizer\.split must be 'characters', as in training, got 'english'"
    ):
        build().load_metadata(data.metadata)


def test_words_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build().metadata
    monkeypatch.setattr(tables_module, "Annotator", None)  # calling it raises an error
    assert build().metadata == first
    with pytest.raises(TypeError):
        build(Paragraph(TEXT + " Yes.", QUESTIONS, "Ada"))


@pytest.mark.slow
def test_several_processes_find_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paragraphs = SyntheticStories(30, 1, 0).read(tmp_path).train
    monkeypatch.setattr(tables_module, "_PIECE", 7)
    alone = paragraph_tokens(paragraphs, Words(), None, 0, "train")
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "other"))
    together = paragraph_tokens(paragraphs, Words(), None, 2, "train")
    assert len(paragraphs) > 7
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, torch.Tensor):
            assert isinstance(other, torch.Tensor)
            assert torch.equal(one, other)
        else:
            assert one == other


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        QuestionAnsweringData(batch_size=0)
    with pytest.raises(InputError, match="locate words in the text, got 'basic_english'"):
        QuestionAnsweringData(tokenizer=Words("basic_english"))
    with pytest.raises(InputError, match=r"windows\.size must be at least 1, got 0"):
        Windows(0, 0)
    with pytest.raises(InputError, match=r"windows\.overlap must be 0 to 9, got 10"):
        Windows(10, 10)


def test_a_context_without_words_is_named() -> None:
    with pytest.raises(InputError, match="article Ada, question 1: expected a context with words"):
        build(Paragraph(" ", QUESTIONS[:1], "Ada"))


def test_a_missing_split_is_named() -> None:
    with pytest.raises(InputError, match="has no test questions; set"):
        build().test_dataloader()


def test_only_a_download_fetches(tmp_path: Path) -> None:
    corpus = Given(Paragraph(TEXT, QUESTIONS, "Ada"))
    QuestionAnsweringData(corpus, root=str(tmp_path)).prepare_data()
    assert corpus.fetched == []
    QuestionAnsweringData(corpus, root=str(tmp_path), download=True).prepare_data()
    assert corpus.fetched == [tmp_path]
