"""Tests of the translation task."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from srulight.data.base import IGNORED
from srulight.encoders import GRU, LSTM, QRNN, SRU, RecurrentFactory, SRUpp
from srulight.runtime.errors import InputError
from srulight.tasks.translation.batch import (
    BEGIN_ID,
    END_ID,
    SPECIALS,
    UNKNOWN_ID,
    TranslationBatch,
)
from srulight.tasks.translation.beams import Hypothesis
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import TranslatorFactory
from srulight.tasks.translation.models.transformer import Transformer
from srulight.tasks.translation.settings import SearchSettings
from srulight.tasks.translation.task import Translation
from srulight.text.tokenizers import Words

A, B, C = 4, 5, 6


def metadata(joint: bool = False) -> dict[str, Any]:
    source, target = (
        Words("space").fit([words], SPECIALS).settings for words in ("a b c", "x y z")
    )
    return {"source": source, "target": source if joint else target, "joint": joint}


def rnn(decoder: RecurrentFactory, feeding: bool = False) -> TranslatorFactory:
    def build(size: int) -> AttentionRNN:
        return AttentionRNN(
            size, lambda n: SRU(n, 4, 1, bidirectional=True), decoder, input_feeding=feeding
        )

    return build


def transformer(size: int) -> Transformer:
    return Transformer(size, hidden_size=16, num_layers=2, num_heads=2)


TRANSLATORS: dict[str, TranslatorFactory] = {
    "SRU": rnn(lambda size: SRU(size, 8)),
    "SRU++": rnn(lambda size: SRUpp(size, 8, projection_size=4)),
    "LSTM": rnn(lambda size: LSTM(size, 8)),
    "GRU": rnn(lambda size: GRU(size, 8)),
    "QRNN": rnn(lambda size: QRNN(size, 8)),
    "input feeding": rnn(lambda size: SRU(size, 8), True),
    "Transformer": transformer,
}


def make(known: dict[str, Any] | None = None, **options: Any) -> Translation:  # noqa: ANN401
    torch.manual_seed(0)
    settings = {"embedding_size": 8, "translator": TRANSLATORS["SRU"], **options}
    task = Translation(**settings)
    task.build(known or metadata())
    task.metadata = known or metadata()
    return task.eval()


def batch_of(*pairs: tuple[list[int], list[int]]) -> TranslationBatch:
    sources = [torch.tensor([*source, END_ID]) for source, _ in pairs]
    targets = [torch.tensor([BEGIN_ID, *target]) for _, target in pairs]
    labels = [torch.tensor([*target, END_ID]) for _, target in pairs]
    return TranslationBatch(
        pad_sequence(sources, batch_first=True),
        torch.tensor([len(source) for source in sources]),
        pad_sequence(targets, batch_first=True),
        pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        [],
        0,
    )


PAIRS = (([A, B], [5, 6, 4]), ([C], [4]), ([B, A, A, C], [6, 6]))


@torch.no_grad()
def test_the_loss_is_that_of_each_sentence_alone() -> None:
    task = make(label_smoothing=0.2)
    total, count = task._loss(batch_of(*PAIRS), 0.2)
    assert int(count) == 4 + 2 + 3
    by_hand = 0.0
    for source, target in PAIRS:
        one = batch_of((source, target))
        log_probs = task(one.source, one.source_lengths, one.target)[0].log_softmax(-1)
        for step, token in enumerate([*target, END_ID]):
            # Szegedy et al.: 1 - s times the loss, plus s times the mean loss of all tokens.
            by_hand -= 0.8 * float(log_probs[step, token]) + 0.2 * float(log_probs[step].mean())
    assert float(total) == pytest.approx(by_hand, rel=1e-5)


def test_what_fills_up_adds_nothing() -> None:
    task = make()
    filler = torch.full((1, 1), IGNORED)
    one = TranslationBatch(
        torch.tensor([[END_ID]]), torch.tensor([1]), torch.tensor([[BEGIN_ID]]), filler, [], 0
    )
    total, count = task._loss(one, 0.1)
    assert (float(total.detach()), int(count)) == (0.0, 0)
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in task.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", TRANSLATORS)
def test_writing_step_by_step_is_reading_all_at_once(name: str) -> None:
    search = SearchSettings(beam_size=1, max_ratio=1.0, replace_unknown=False)
    task = make(translator=TRANSLATORS[name], search=search)
    inputs = ["a b", "c", "b a a c"]
    for text, (best,) in zip(inputs, task.predict(inputs), strict=True):
        source = torch.tensor([[*task.source.encode(text), END_ID]])
        lengths = torch.tensor([source.size(1)])
        read, total = [BEGIN_ID], 0.0
        for token in [*best.tokens, None]:
            scores = task(source, lengths, torch.tensor([read]))[0, -1].log_softmax(-1)
            wanted = END_ID if token is None else task.target.tokens.index(token)
            total += float(scores[wanted])
            scores[[0, BEGIN_ID]] = -math.inf
            assert token is None or int(scores.argmax()) == wanted
            read.append(wanted)
        assert best.log_probability == pytest.approx(total, abs=1e-4)
        assert best.attention.shape == (len(best.tokens), len(text.split()) + 1)


@pytest.mark.parametrize("name", ["SRU", "input feeding", "Transformer"])
def test_sentences_are_translated_as_if_alone(name: str) -> None:
    task = make(translator=TRANSLATORS[name], search=SearchSettings(beam_size=3, max_ratio=1.0))
    inputs = ["a b", "", "c", "b a a c", "a"]
    together = task.predict(inputs, n_best=2)
    assert [best.text for best in together[1]] == [""]
    for text, best in zip(inputs, together, strict=True):
        for one, alone in zip(best, task.predict([text], n_best=2)[0], strict=True):
            assert one.text == alone.text
            assert one.score == pytest.approx(alone.score, abs=1e-5)
    assert len(together[0]) == 2
    assert together[0][0].score >= together[0][1].score


def test_an_unknown_word_becomes_the_one_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = make()
    looks = torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.7, 0.1]])
    found = [[Hypothesis((4, UNKNOWN_ID), -1.0, -1.0, looks)]]
    monkeypatch.setattr("srulight.tasks.translation.task.beam_search", lambda *_, **__: found)
    assert task.predict(["a Zürich"])[0][0].text == "x Zürich"
    task.search_with(replace_unknown=False)
    assert task.predict(["a Zürich"])[0][0].text == "x <unk>"


def test_the_end_of_a_sentence_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make()
    found = [[Hypothesis((UNKNOWN_ID,), -1.0, -1.0, torch.tensor([[0.1, 0.2, 0.7]]))]]
    monkeypatch.setattr("srulight.tasks.translation.task.beam_search", lambda *_, **__: found)
    assert task.predict(["a b"])[0][0].text == "b"


def test_weights_are_tied_as_asked() -> None:
    def shared(known: dict[str, Any], tied: str) -> tuple[bool, bool]:
        task = make(known, tied=tied)
        target = task.target_embedding.weight
        return target is task.head.weight, target is task.source_embedding.weight

    assert shared(metadata(True), "none") == (False, False)
    assert shared(metadata(), "output") == (True, False)
    assert shared(metadata(True), "all") == (True, True)
    with pytest.raises(InputError, match=r"tied=all needs a joint vocabulary; set --data.joint"):
        make(tied="all")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1.0"),
        ({"embedding_size": 0}, "embedding_size must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make(**options)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, got -1.0"),
        ({"coverage_penalty": math.nan}, "coverage_penalty must be at least 0, got nan"),
        ({"max_ratio": -1.0}, "max_ratio must be above 0 and finite, got -1.0"),
    ],
)
def test_a_search_refuses_bad_settings(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SearchSettings(**changes)
    task = make()
    with pytest.raises(InputError, match=says):
        task.search_with(**changes)
    assert task.search == SearchSettings()


def logits_of(task: Translation, batch: TranslationBatch) -> Tensor:
    return F.log_softmax(task(batch.source, batch.source_lengths, batch.target), -1)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_padding_changes_nothing(name: str) -> None:
    task = make(translator=TRANSLATORS[name])
    both = logits_of(task, batch_of(*PAIRS))
    for row, pair in enumerate(PAIRS):
        alone = logits_of(task, batch_of(pair))[0]
        torch.testing.assert_close(both[row, : len(alone)], alone)
