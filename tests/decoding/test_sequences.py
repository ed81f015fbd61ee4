"""A search finds what looking at every sequence finds, and does no more work than it must."""

import itertools
import math
import random

import pytest
import torch
from torch import Tensor

from srulight.decoding import Hypothesis, Penalties, Writer, search
from srulight.errors import InputError

BEGIN, END, A, B = range(4)
LIMITS = (4, 2, 3)
LENGTHS = (3, 1, 2)
STEPS = 3  # source steps, padded
NONE = Penalties()


class Tables(Writer):
    """Probabilities and attention that depend on the sentence and all that is written so far."""

    def __init__(self, sentences: list[int]) -> None:
        self.rows: list[tuple[int, tuple[int, ...]]] = [(s, ()) for s in sentences]
        self.sizes: list[int] = []

    @staticmethod
    def look_up(sentence: int, read: tuple[int, ...]) -> tuple[list[float], list[float]]:
        generator = random.Random(str((sentence, read)))
        weights = [generator.random() ** 2 + 1e-3 for _ in range(4)]
        weights[END] *= 0.3  # so that most are longer than nothing
        looks = [generator.random() if i < LENGTHS[sentence] else 0.0 for i in range(STEPS)]
        log_probs = [math.log(weight / sum(weights)) for weight in weights]
        return log_probs, [look / sum(looks) for look in looks]

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        pairs = zip(self.rows, tokens.tolist(), strict=True)
        self.rows = [(sentence, (*read, token)) for (sentence, read), token in pairs]
        self.sizes.append(len(self.rows))
        log_probs, looks = zip(*itertools.starmap(self.look_up, self.rows), strict=True)
        return torch.tensor(log_probs), torch.tensor(looks)

    def reorder(self, rows: Tensor) -> None:
        self.rows = [self.rows[i] for i in rows.tolist()]

    def keep(self, sequences: Tensor) -> None:
        known = list(dict.fromkeys(sentence for sentence, _ in self.rows))
        chosen = [known[i] for i in sequences.tolist()]
        self.rows = [row for row in self.rows if row[0] in chosen]


def measure(sentence: int, tokens: tuple[int, ...], penalties: Penalties) -> Hypothesis:
    """Works a sequence out, from the formula."""
    total, rows = 0.0, []
    read: tuple[int, ...] = (BEGIN,)
    for token in (*tokens, END):
        log_probs, looks = Tables.look_up(sentence, read)
        total += log_probs[token]
        rows.append(looks)
        read = (*read, token)
    score = total / ((5 + len(rows)) / 6) ** penalties.length
    for i in range(LENGTHS[sentence]):
        score += penalties.coverage * math.log(min(sum(row[i] for row in rows), 1.0))
    attention = torch.tensor(rows[:-1]).reshape(-1, STEPS)[:, : LENGTHS[sentence]]
    return Hypothesis(tokens, score, total, attention)


def every(sentence: int, penalties: Penalties) -> list[Hypothesis]:
    """Looks at all sequences; the best first."""
    sequences = (
        tokens
        for length in range(LIMITS[sentence] + 1)
        for tokens in itertools.product((A, B), repeat=length)
    )
    found = [measure(sentence, tokens, penalties) for tokens in sequences]
    return sorted(found, key=lambda h: -h.score)


def look_for(
    sentences: list[int], beam_size: int, n_best: int = 1, penalties: Penalties = NONE
) -> tuple[list[list[Hypothesis]], Tables]:
    writer = Tables(sentences)
    lengths = torch.tensor([LENGTHS[s] for s in sentences])
    limits = torch.tensor([LIMITS[s] for s in sentences])
    found = search(
        writer, lengths, limits, BEGIN, END, beam_size=beam_size, n_best=n_best,
        penalties=penalties, forbidden=(BEGIN,),
    )  # fmt: skip
    return found, writer


def assert_same(got: Hypothesis, expected: Hypothesis) -> None:
    assert got.tokens == expected.tokens
    assert got.score == pytest.approx(expected.score, abs=1e-5)
    assert got.log_probability == pytest.approx(expected.log_probability, abs=1e-5)
    torch.testing.assert_close(got.attention, expected.attention)


@pytest.mark.parametrize(
    "penalties",
    [Penalties(), Penalties(length=1.0), Penalties(coverage=0.7), Penalties(0.6, 0.4)],
    ids=["none", "length", "coverage", "both"],
)
def test_a_wide_beam_finds_the_best_of_all(penalties: Penalties) -> None:
    # 31 sequences of up to 4 of two tokens.
    found, _ = look_for([0, 1, 2], beam_size=40, n_best=5, penalties=penalties)
    for sentence, best in enumerate(found):
        expected = every(sentence, penalties)[:5]
        assert len(best) == 5
        for got, wanted in zip(best, expected, strict=True):
            assert_same(got, wanted)


def test_a_penalty_changes_the_winner() -> None:
    winners = [
        look_for([0], beam_size=40, penalties=penalties)[0][0][0].tokens
        for penalties in (Penalties(), Penalties(length=3.0), Penalties(coverage=3.0))
    ]
    assert winners[0] != winners[1]
    assert winners[0] != winners[2]


def test_one_beginning_takes_the_likeliest_token_at_each_step() -> None:
    found, writer = look_for([0, 1, 2], beam_size=1)
    for sentence, (best,) in enumerate(found):
        read: tuple[int, ...] = (BEGIN,)
        while len(read) <= LIMITS[sentence]:
            log_probs, _ = Tables.look_up(sentence, read)
            token = max((END, A, B), key=log_probs.__getitem__)
            if token == END:
                break
            read = (*read, token)
        assert_same(best, measure(sentence, read[1:], Penalties()))
    lengths = [len(best.tokens) for (best,) in found]
    assert writer.sizes == [sum(length >= t for length in lengths) for t in range(max(lengths) + 1)]


@pytest.mark.parametrize("beam_size", [2, 3])
def test_a_sentence_is_written_as_if_alone(beam_size: int) -> None:
    together, writer = look_for([2, 0, 1], beam_size, 2, Penalties(0.6, 0.2))
    sizes: list[list[int]] = []
    for sentence, best in zip([2, 0, 1], together, strict=True):
        alone, lonely = look_for([sentence], beam_size, 2, Penalties(0.6, 0.2))
        sizes.append(lonely.sizes)
        for got, expected in zip(best, alone[0], strict=True):
            assert_same(got, expected)
            assert_same(got, measure(sentence, got.tokens, Penalties(0.6, 0.2)))
    # A sentence that is done costs nothing more.
    assert writer.sizes == [sum(step) for step in itertools.zip_longest(*sizes, fillvalue=0)]
    assert len({len(size) for size in sizes}) > 1


def test_poor_endings_do_not_stop_the_search() -> None:
    class Sure(Tables):
        """Nine in ten for A, six times, and then for the end."""

        def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            _, looks = super().step(tokens)
            likely = [A if len(read) <= 6 else END for _, read in self.rows]
            chances = [[0.9 if i == token else 0.05 for i in range(4)] for token in likely]
            return torch.tensor(chances).log(), looks

    limit, length = torch.tensor([9]), torch.tensor([3])
    ((best,),) = search(Sure([0]), length, limit, BEGIN, END, beam_size=3, penalties=Penalties(0.6))
    assert best.tokens == (A,) * 6
    assert best.log_probability == pytest.approx(7 * math.log(0.9), abs=1e-5)


def test_nothing_may_be_all_there_is() -> None:
    writer = Tables([0])
    ((best,),) = search(writer, torch.tensor([3]), torch.tensor([0]), BEGIN, END)
    assert_same(best, measure(0, (), Penalties()))
    assert best.attention.shape == (0, 3)


def test_bad_numbers_are_refused() -> None:
    one = torch.tensor([1])
    with pytest.raises(InputError, match="n_best must be at least 1 and at most beam_size, got 3"):
        search(Tables([0]), one, one, BEGIN, END, beam_size=2, n_best=3)
    with pytest.raises(InputError, match=r"penalties must be 0 or more, got .*length=-1"):
        search(Tables([0]), one, one, BEGIN, END, penalties=Penalties(length=-1))


def test_what_is_not_a_number_is_said() -> None:
    class Broken(Tables):
        def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            log_probs, looks = super().step(tokens)
            return log_probs * math.nan, looks

    with pytest.raises(InputError, match="a log-probability is not a number"):
        search(Broken([0]), torch.tensor([1]), torch.tensor([1]), BEGIN, END)
