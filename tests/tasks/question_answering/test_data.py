"""Questions become batches, once read from whatever has them."""

from pathlib import Path

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering import question_tokens as tokens_module
from srulight.tasks.question_answering.corpora.base import (
    Answer,
    Paragraph,
    Question,
    QuestionCorpus,
    QuestionSplits,
)
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.question_tokens import paragraph_tokens

TEXT = "Ada sold lamps in Oslo. She was happy."
QUESTIONS = [
    Question("1", "Who sold lamps?", [Answer("Ada", 0)]),
    Question("2", "Where did Ada sell lamps?", [Answer("Oslo", 18), Answer("in Oslo", 15)]),
    Question("3", "What is half a word?", [Answer("amp", 10)]),
]


class Given(QuestionCorpus):
    """Paragraphs given by the test."""

    def __init__(self, *train: Paragraph, test: list[Paragraph] | None = None) -> None:
        self.splits = QuestionSplits(list(train), list(train), test, {"answers mended": 1200})
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
    words = data.metadata["words"]
    assert batch.texts == []
    places = {}
    for question, first, last in zip(batch.question, batch.first, batch.last, strict=True):
        text = " ".join(words[i] for i in question if i)
        places[text] = (int(first), int(last))
    assert places == {
        "who sold lamps ?": (0, 0),
        "where did ada sell lamps ?": (4, 4),
        "what is half a word ?": (2, 2),  # the word that has it
    }
    assert [words[i] for i in batch.document[0]] == TEXT.lower().replace(".", " .").split()


def test_what_is_measured_has_its_texts() -> None:
    (batch,) = build().val_dataloader()
    assert {text.id: text.answers for text in batch.texts} == {
        "1": ["Ada"], "2": ["Oslo", "in Oslo"], "3": ["amp"],
    }  # fmt: skip
    for text in batch.texts:
        assert text.context == TEXT
        assert [text.context[i:j] for i, j in zip(text.starts, text.ends, strict=True)] == (
            TEXT.replace(".", " .").split()
        )


def test_words_of_questions_come_first() -> None:
    # By how often they are asked, then by how often they occur, then by the alphabet.
    words = build().metadata["words"]
    assert words[:5] == ["<pad>", "<unk>", "?", "lamps", "ada"]
    assert set(words[-6:]) == {".", "happy", "in", "oslo", "she", "was"}
    rare = build(min_count=2).metadata["words"]
    assert rare == ["<pad>", "<unk>", "?", "lamps", "ada", "sold", "."]
    assert build(max_size=2).metadata["words"] == ["<pad>", "<unk>", "?", "lamps"]
    assert "Ada" in build(lowercase=False).metadata["words"]


def test_metadata_is_plain_and_complete() -> None:
    metadata = build(window=20, overlap=3).metadata
    assert {name: value for name, value in metadata.items() if name != "words"} == {
        "lowercase": True, "tag_names": [], "lemmas": False, "window": 20, "overlap": 3,
        "no_answer": False, "annotator": None, "tokenizer": "english",
    }  # fmt: skip
    given = QuestionAnsweringData(SyntheticStories(4, 1, 0, unanswerable=1.0))
    given.setup()
    assert given.metadata["no_answer"] is True
    with pytest.raises(RuntimeError, match="call setup before"):
        QuestionAnsweringData().metadata  # noqa: B018


def test_a_checkpoint_brings_its_vocabulary() -> None:
    metadata = build().metadata
    data = QuestionAnsweringData(Given(Paragraph("Bob ran", [Question("9", "who", [])], "B")))
    data.load_metadata(metadata)
    data.setup()
    (batch,) = data.val_dataloader()
    assert batch.document.tolist() == [[1, 1]]
    other = QuestionAnsweringData(annotator="rules")
    with pytest.raises(InputError, match="annotator=None and the data have annotator=rules"):
        other.load_metadata(metadata)


def test_vectors_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("ada 1 2\nzebra 3 4\noslo 5 6\nbob 7 8\n")
    test = [Paragraph("Bob ran", [Question("9", "who", [Answer("Bob", 0)])], "B")]
    data = QuestionAnsweringData(
        Given(Paragraph(TEXT, QUESTIONS, "Ada"), test=test), vectors=str(path)
    )
    data.setup()
    vectors, words = data.word_vectors, data.metadata["words"]
    assert vectors is not None
    assert "zebra" not in words
    assert words[-1] == "bob"  # of the test alone, with a vector
    for word, row in (("ada", [1, 2]), ("oslo", [5, 6]), ("bob", [7, 8]), ("<pad>", [0, 0])):
        assert vectors[words.index(word)].tolist() == row
    path.write_text("zebra 3 4\n")
    with pytest.raises(InputError, match="has a vector for no word of the corpus"):
        QuestionAnsweringData(Given(Paragraph(TEXT, QUESTIONS, "A")), vectors=str(path)).setup()


def test_what_was_mended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        build()
    said = caplog.text
    assert said.count("1,200 answers mended") == 1
    assert "train: 1 answers begin or end inside a word, and are widened" in said
    assert "train: 1 articles, 1 paragraphs, 3 questions" in said


def test_a_question_whose_answer_no_window_has_is_not_learnt_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = Question("4", "What?", [Answer("sold lamps in Oslo", 4)])
    with caplog.at_level("INFO"):
        data = build(Paragraph(TEXT, [*QUESTIONS, long], "Ada"), window=3, overlap=1)
    assert "train: 1 articles, 1 paragraphs, 3 questions; 1 left out: no window" in caplog.text
    assert sum(batch.size for batch in data.train_dataloader()) == 3
    assert sum(batch.size for batch in data.val_dataloader()) == 4


@pytest.mark.parametrize("start", [-6, 1, 99])
def test_an_answer_that_is_elsewhere_is_refused(start: int) -> None:
    question = Question("q", "How was she?", [Answer("happy.", start)])
    with pytest.raises(
        InputError, match=f"the answer of question q is not at character {start} of"
    ):
        build(Paragraph(TEXT, [question], "Ada"))


def test_characters_are_words_for_scripts_without_spaces() -> None:
    context = "\u5979\u5728\u5317\u4eac\u5356 lampe\u0301."
    answers = [Answer("\u5317\u4eac", 2)], [Answer("e\u0301.", 10)]
    asked = [Question(str(i), "\u54ea\u91cc\uff1f", found) for i, found in enumerate(answers)]
    data = build(Paragraph(context, asked, "Ada"), tokenizer="characters")
    (batch,) = data.train_dataloader()
    assert [data.metadata["words"][i] for i in batch.document[0]] == [
        *"\u5979\u5728\u5317\u4eac\u5356lamp\u00e9."
    ]
    assert sorted(zip(batch.first.tolist(), batch.last.tolist(), strict=True)) == [(2, 3), (9, 10)]
    with pytest.raises(InputError, match="trained with tokenizer=characters and the data have"):
        build().load_metadata(data.metadata)


def test_words_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build().metadata
    monkeypatch.setattr(tokens_module, "Annotator", None)  # whoever calls it fails
    assert build().metadata == first
    with pytest.raises(TypeError):
        build(Paragraph(TEXT + " Yes.", QUESTIONS, "Ada"))


def test_where_no_system_says_which_cores_are_ours_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert tokens_module.usable_cores() == 6


@pytest.mark.slow
def test_several_processes_find_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paragraphs = SyntheticStories(30, 1, 0).read(tmp_path).train
    monkeypatch.setattr(tokens_module, "_PIECE", 7)
    alone = paragraph_tokens(paragraphs, None, "english", 0, "train")
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "other"))
    together = paragraph_tokens(paragraphs, None, "english", 2, "train")
    assert len(paragraphs) > 7
    for one, other in zip(alone, together, strict=True):
        if isinstance(one, torch.Tensor):
            assert isinstance(other, torch.Tensor)
            assert torch.equal(one, other)
        else:
            assert one == other


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"window": 10, "overlap": 10}, "overlap must be 0 to below window, 10, got 10"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"min_count": 0}, "min_count must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        QuestionAnsweringData(**options)  # type: ignore[arg-type]


def test_a_context_without_words_is_named() -> None:
    with pytest.raises(InputError, match="article Ada: the context of question 1 has no words"):
        build(Paragraph(" ", QUESTIONS[:1], "Ada"))


def test_a_missing_split_is_named() -> None:
    with pytest.raises(InputError, match="has no test questions: set"):
        build().test_dataloader()


def test_only_a_download_fetches(tmp_path: Path) -> None:
    corpus = Given(Paragraph(TEXT, QUESTIONS, "Ada"))
    QuestionAnsweringData(corpus, root=str(tmp_path)).prepare_data()
    assert corpus.fetched == []
    QuestionAnsweringData(corpus, root=str(tmp_path), download=True).prepare_data()
    assert corpus.fetched == [tmp_path]
