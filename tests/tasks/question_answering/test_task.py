"""Tests of the question answering task, from a batch to an answer."""

import warnings
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from srulight.encoders import CNN, GRU, LSTM, QRNN, SRU
from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.annotation import Annotator
from srulight.tasks.question_answering.batch import QuestionBatch, QuestionContext
from srulight.tasks.question_answering.data import QuestionAnsweringData
from srulight.tasks.question_answering.features import (
    FeaturizerSettings,
    QuestionExample,
    QuestionFeaturizer,
    Windows,
)
from srulight.tasks.question_answering.model import ReaderLayers
from srulight.tasks.question_answering.task import PredictedAnswer, QuestionAnswering
from srulight.tasks.question_answering.token_table import token_table
from srulight.text.tokenizers import PAD_UNKNOWN, Words

TOKENIZER = Words(lowercase=True).with_vocabulary([*"abcdefgh", "?"], PAD_UNKNOWN)
SETTINGS = FeaturizerSettings(TOKENIZER, None, [], Windows(6, 2), no_answer=False)


def make(settings: FeaturizerSettings = SETTINGS, **options: Any) -> QuestionAnswering:  # noqa: ANN401
    torch.manual_seed(0)
    encoder = partial(SRU, hidden_size=4, num_layers=1, bidirectional=True)
    given = {"embedding_size": 5, "layers": ReaderLayers(2, 1), "encoder": encoder}
    task = QuestionAnswering(**{**given, **options})
    task.metadata = settings.metadata
    task.build(task.metadata)
    return task.eval()


def batch_of(settings: FeaturizerSettings = SETTINGS) -> QuestionBatch:
    """Creates two questions: one has its answer in the second window, the other has none."""
    texts = ["a b c d e f g h", "b ? a"]
    table = token_table(Annotator(Words())([*texts, "c d ?"]))
    examples = [QuestionExample(0, 2, (6, 7)), QuestionExample(1, 2, None)]
    contexts = [
        QuestionContext(str(i), text, table.starts[here], table.ends[here], answers)
        for i, (text, answers) in enumerate(zip(texts, (["g h"], []), strict=True))
        for here in [table.place(i)]
    ]
    return QuestionFeaturizer(table, settings).batch(examples, contexts)


@torch.no_grad()
def scores_of(task: QuestionAnswering, batch: QuestionBatch) -> Any:  # noqa: ANN401
    return task(
        batch.document, batch.lengths, batch.features, batch.question, batch.question_lengths
    )


def test_the_loss_is_the_mean_of_first_and_last_word() -> None:
    task, batch = make(), batch_of()
    scores = scores_of(task, batch)
    # One of three windows has the answer; words 6 and 7 are its words 2 and 3.
    start, end = (s[1, :4].log_softmax(0) for s in (scores.start, scores.end))
    expected = -(start[2] + end[3]) / 2
    assert task.training_step(batch, 0).detach() == pytest.approx(float(expected), rel=1e-5)


def test_no_answer_competes_with_the_words() -> None:
    settings = SETTINGS._replace(no_answer=True)
    task, batch = make(settings), batch_of(settings)
    scores = scores_of(task, batch)
    total = torch.zeros(())
    for window, (first, last, length) in enumerate([(None, None, 6), (2, 3, 4), (None, None, 3)]):
        for words, wanted in ((scores.start, first), (scores.end, last)):
            row = torch.cat((words[window, :length], scores.none[window].view(1))).log_softmax(0)
            total = total - row[-1 if wanted is None else wanted] / 2
    assert task.training_step(batch, 0).detach() == pytest.approx(float(total / 3), rel=1e-5)


def test_only_the_first_words_are_tuned() -> None:
    task = make(tuned_words=3)
    assert next(name for name, _ in task.named_parameters()) == "tuned.weight"
    assert task.tuned.weight.shape == (5, 5)  # padding, unknown and three
    everything = torch.cat((task.tuned.weight, task.fixed))
    words = torch.tensor([[0, 1, 4, 5, 10]])
    torch.testing.assert_close(task._embed(words), F.embedding(words, everything))
    task._embed(words).sum().backward()
    assert task.tuned.weight.grad is not None
    assert task.tuned.weight.grad.sum(1).tolist() == [0, 5, 0, 0, 5]
    for tuned in (None, 9, 100):
        assert len(make(tuned_words=tuned).fixed) == 0
    assert len(make(tuned_words=0).tuned.weight) == 2


def test_vectors_of_the_data_are_where_words_are() -> None:
    task = make(tuned_words=3)
    vectors = torch.arange(55.0).view(11, 5)
    data = QuestionAnsweringData()
    data.word_vectors = vectors
    task.load_pretrained_embeddings(data)
    words = torch.arange(11)
    assert torch.equal(task._embed(words), vectors)
    data.word_vectors = torch.zeros(11, 4)
    with pytest.raises(InputError, match=r"embedding_size must be 4, .* got 5; set --model\.embed"):
        task.load_pretrained_embeddings(data)


def pointing(task: QuestionAnswering, first: str, last: str) -> QuestionAnswering:
    """Makes the reader select given words by their vectors, whatever the question."""

    def point(
        document: Tensor, lengths: Tensor, features: Tensor, question: Tensor, ends: Tensor
    ) -> Any:  # noqa: ANN401
        scores = scores_before(document, lengths, features, question, ends)
        padded = scores.start == float("-inf")
        start, end = (
            (10.0 * (document == TOKENIZER.tokens.index(word))).masked_fill(padded, float("-inf"))
            for word in (first, last)
        )
        return scores._replace(start=start, end=end)

    scores_before = task.forward
    task.forward = point  # type: ignore[method-assign, assignment]
    return task


def test_an_answer_is_a_part_of_the_text_with_its_place() -> None:
    text = "A b-c, d  (e) f g h"
    (best,) = pointing(make(), "d", "e").predict([(text, "a?")], n_best=2)
    assert best[0].text == "d  (e"
    assert best[0].start == text.index("d")
    assert text[best[0].start :].startswith(best[0].text)
    assert best[0].probability > 0.9
    assert len(best) == 2
    assert best[1].probability < 0.1


def test_texts_are_answered_in_order_in_any_batch() -> None:
    task = make()
    asked = [(" ".join("abcdefgh"[: 1 + i % 8]), "c d?") for i in range(13)]
    one_by_one = [task.predict([pair])[0] for pair in asked]
    for size in (2, 5, 64):
        for found, alone in zip(task.predict(asked, batch_size=size), one_by_one, strict=True):
            assert found[0][:2] == alone[0][:2]
            assert found[0].probability == pytest.approx(alone[0].probability, rel=1e-4)
    assert task.predict([]) == []


def test_all_answers_together_are_certain() -> None:
    for settings in (SETTINGS, SETTINGS._replace(no_answer=True)):
        (found,) = make(settings).predict([("a b c", "d?")], n_best=100)
        assert len(found) == 6 + settings.no_answer  # 3 of one word, 2 of two, 1 of three
        assert sum(one.probability for one in found) == pytest.approx(1, rel=1e-5)
        assert found == sorted(found, key=lambda one: -one.probability)
        assert (PredictedAnswer("", -1, 0)[:2] in [one[:2] for one in found]) == settings.no_answer


def test_a_longer_answer_than_allowed_is_not_given() -> None:
    (found,) = make(max_answer=2).predict([("a b c d", "?")], n_best=100)
    assert {len(one.text.split()) for one in found} == {1, 2}


@pytest.mark.parametrize("inputs", ["a b", ("a b", "c?"), [("a", "b", "c")], [("a", 1)]])
def test_what_is_no_text_with_a_question_is_refused(inputs: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"inputs must be pairs \(text, question\), got "):
        make().predict(inputs)


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="text must have words, got ' '"):
        make().predict([("a", "b"), (" ", "b")])


@pytest.mark.parametrize(
    ("predicted", "answers", "exact", "f1"),
    [
        # Articles, case and punctuation are ignored.
        ("the Denver Broncos!", ["denver broncos"], 100, 100),
        # Precision 2/3 and recall 1: F1 is 2 * 2/3 * 1 / (2/3 + 1).
        ("big Denver Broncos", ["Denver Broncos"], 0, 80),
        # The best of several answers counts.
        ("Broncos", ["Denver Broncos", "broncos"], 100, 100),
        # A repeated word counts once: precision 1/2, recall 1.
        ("ha ha", ["ha"], 0, 200 / 3),
        ("Denver", ["Oslo"], 0, 0),
        # The question has no answer, and the model gives none, or one.
        ("", [], 100, 100),
        ("Denver", [], 0, 0),
        ("", ["Denver"], 0, 0),
    ],
)
def test_scores_are_those_of_the_official_rules(
    predicted: str, answers: list[str], exact: float, f1: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, batch = make(), batch_of()
    contexts = [context._replace(answers=answers) for context in batch.contexts]
    best = [[PredictedAnswer(predicted, 0, 1.0)]] * 2
    monkeypatch.setattr(task, "_best_answers", lambda *_: best)
    task.validation_step(batch._replace(contexts=contexts), 0)
    values = task.val_metrics.compute()
    assert values.keys() == {"val/loss", "val/exact_match", "val/f1"}
    assert float(values["val/exact_match"]) == pytest.approx(exact)
    assert float(values["val/f1"]) == pytest.approx(f1)


def test_a_batch_that_only_fills_up_measures_nothing() -> None:
    task = make()
    featurizer = QuestionFeaturizer(token_table(Annotator(Words())(["a", "b"])), SETTINGS)
    task.validation_step(featurizer.batch([]), 0)
    assert task.val_metrics["loss"].count == 0
    assert task.val_metrics["answers"].total == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(value.isnan() for value in task.val_metrics.compute().values())


@pytest.mark.parametrize("encoder", [LSTM, GRU, QRNN, CNN])
def test_any_encoder_reads(encoder: Any) -> None:  # noqa: ANN401
    task = make(encoder=lambda size: encoder(size), question_encoder=lambda size: SRU(size, 3))
    assert scores_of(task, batch_of()).start.shape == (3, 6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tuned_words": -1}, "tuned_words must be at least 0, got -1"),
        ({"max_answer": 0}, "max_answer must be at least 1, got 0"),
        ({"word_dropout": 1.5}, r"word_dropout must be 0 to 1, got 1\.5"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make(**options)
