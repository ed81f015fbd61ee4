"""Beam search equals an exhaustive search, and does no unnecessary work."""

import itertools
import math
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.translation.beam_search import IncrementalDecoder, beam_search
from srulight.tasks.translation.beams import Hypothesis
from srulight.tasks.translation.settings import SearchSettings

BEGIN, END, A, B = range(4)
LIMITS = (4, 2, 3)
LENGTHS = (3, 1, 2)
STEPS = 3  # source steps, padded


class Penalties(NamedTuple):
    """Penalties of the length and of the coverage."""

    length: float = 0.0
    coverage: float = 0.0


NONE = Penalties()


def settings(beam_size: int = 1, penalties: Penalties = NONE) -> SearchSettings:
    return SearchSettings(beam_size, *penalties)


class Tables(IncrementalDecoder):
    """A decoder whose probabilities and attention depend on the sentence and all its tokens."""

    def __init__(self, sentences: list[int]) -> None:
        self.rows: list[tuple[int, tuple[int, ...]]] = [(s, ()) for s in sentences]
        self.sizes: list[int] = []

    @staticmethod
    def look_up(sentence: int, read: tuple[int, ...]) -> tuple[list[float], list[float]]:
        generator = random.Random(str((sentence, read)))
        weights = [generator.random() ** 2 + 1e-3 for _ in range(4)]
        weights[END] *= 0.3  # so that few hypotheses are empty
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


Read = tuple[int, ...]
Told = tuple[list[float], list[float]]  # probabilities of all tokens; attention


class Answers(IncrementalDecoder):
    """A decoder of one sentence with scripted steps. It fails if the search does not stop in time.

    Args:
        tell: Function from the tokens so far to the probabilities and the attention.
        limit: Maximum number of tokens.
    """

    def __init__(self, tell: Callable[[Read], Told], limit: int) -> None:
        self.tell = tell
        self.limit = limit
        self.rows: list[Read] = [()]

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        self.rows = [(*read, int(token)) for read, token in zip(self.rows, tokens, strict=True)]
        assert len(self.rows[0]) <= self.limit + 1
        chances, looks = zip(*map(self.tell, self.rows), strict=True)
        return torch.tensor(chances).log(), torch.tensor(looks)

    def reorder(self, rows: Tensor) -> None:
        self.rows = [self.rows[i] for i in rows.tolist()]

    def keep(self, sequences: Tensor) -> None:
        raise AssertionError("the only sentence is left or all is done")


def ask(
    tell: Callable[[Read], Told],
    limit: int,
    beam_size: int = 1,
    n_best: int = 1,
    penalties: Penalties = NONE,
    forbidden: tuple[int, ...] = (),
) -> list[Hypothesis]:
    """Runs a search for a sentence of two source steps, possibly with padding."""
    (found,) = beam_search(
        Answers(tell, limit), torch.tensor([2]), [limit], BEGIN, END,
        settings(beam_size, penalties), n_best=n_best, forbidden=forbidden,
    )  # fmt: skip
    return found


def measure(sentence: int, tokens: tuple[int, ...], penalties: Penalties) -> Hypothesis:
    """Scores a sequence by the formula."""
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
    """Scores all sequences, the best first."""
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
    decoder = Tables(sentences)
    lengths = torch.tensor([LENGTHS[s] for s in sentences])
    limits = torch.tensor([LIMITS[s] for s in sentences])
    found = beam_search(
        decoder, lengths, limits, BEGIN, END, settings(beam_size, penalties), n_best=n_best,
        forbidden=(BEGIN,),
    )  # fmt: skip
    return found, decoder


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
@pytest.mark.parametrize("n_best", [5, 40])
def test_a_wide_beam_finds_the_best_of_all(n_best: int, penalties: Penalties) -> None:
    # 31 sequences of up to 4 of two tokens: five, and all there are.
    found, _ = look_for([0, 1, 2], 40, n_best, penalties)
    for sentence, best in enumerate(found):
        for got, wanted in zip(best, every(sentence, penalties)[:n_best], strict=True):
            assert_same(got, wanted)


def test_a_penalty_changes_the_winner() -> None:
    winners = [
        look_for([0], beam_size=40, penalties=penalties)[0][0][0].tokens
        for penalties in (Penalties(), Penalties(length=3.0), Penalties(coverage=3.0))
    ]
    assert winners[0] != winners[1]
    assert winners[0] != winners[2]


def test_a_length_penalty_divides_by_the_length_with_the_end() -> None:
    def tell(read: Read) -> Told:
        return ([0.0, 0.4, 0.6, 0.0] if len(read) == 1 else [0.0, 0.6, 0.4, 0.0]), [1.0, 0.0]

    # The empty sequence has 0.4, and A 0.6 * 0.6 = 0.36, whose logarithm is divided by (5 + 2) / 6.
    short, long = ask(tell, 1, beam_size=2, n_best=2)
    assert (short.tokens, long.tokens) == ((), (A,))
    assert (short.score, long.score) == pytest.approx((-0.91629, -1.02165), abs=1e-4)
    long, short = ask(tell, 1, beam_size=2, n_best=2, penalties=Penalties(length=1.0))
    assert (short.tokens, long.tokens) == ((), (A,))
    assert (short.score, long.score) == pytest.approx((-0.91629, -0.87570), abs=1e-4)
    assert long.log_probability == pytest.approx(-1.02165, abs=1e-4)


def test_a_coverage_penalty_is_of_real_steps_and_of_the_look_for_the_end() -> None:
    def tell(read: Read) -> Told:
        if len(read) == 1:
            return [0.0, 0.1, 0.5, 0.4], [0.5, 0.5, 0.0]
        looks = [1.0, 0.0, 0.0] if read[-1] == A else [0.5, 0.5, 0.0]
        return [0.0, 0.9, 0.05, 0.05], looks

    # A has 0.5 * 0.9, with attention 0.5 to the second step; B has 0.4 * 0.9, with 1 to both.
    first, second = ask(tell, 1, beam_size=3, n_best=2)
    assert (first.tokens, second.tokens) == ((A,), (B,))
    first, second = ask(tell, 1, beam_size=3, n_best=2, penalties=Penalties(coverage=1.0))
    assert (first.tokens, second.tokens) == ((B,), (A,))
    assert first.score == pytest.approx(-1.02165, abs=1e-4)
    assert second.score == pytest.approx(-0.79851 - 0.69315, abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_limit_ends_with_the_probability_of_the_end(beam_size: int) -> None:
    (best,) = ask(
        lambda _: ([0.0, 0.01, 0.89, 0.1], [1.0, 0.0]), 5, beam_size, penalties=Penalties(9)
    )
    assert best.tokens == (A,) * 5
    assert best.log_probability == pytest.approx(5 * math.log(0.89) + math.log(0.01), abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_what_is_forbidden_is_not_written_and_keeps_its_probability(beam_size: int) -> None:
    def tell(read: Read) -> Told:
        return ([0.1, 0.1, 0.6, 0.2] if len(read) <= 2 else [0.0, 1.0, 0.0, 0.0]), [1.0, 0.0]

    found = ask(tell, 9, beam_size, penalties=Penalties(9), forbidden=(BEGIN, A))
    assert found[0].tokens == (B, B)
    assert found[0].log_probability == pytest.approx(2 * math.log(0.2), abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_search_ends_where_the_end_cannot_come(beam_size: int) -> None:
    assert ask(lambda _: ([0.0, 0.0, 0.7, 0.3], [1.0, 0.0]), 3, beam_size) == []


def test_there_are_no_more_endings_than_there_can_be() -> None:
    found = ask(lambda _: ([0.0, 0.4, 0.6, 0.0], [1.0, 0.0]), 2, beam_size=8, n_best=8)
    assert sorted(best.tokens for best in found) == [(), (A,), (A, A)]


def test_one_beginning_takes_the_likeliest_token_at_each_step() -> None:
    found, decoder = look_for([0, 1, 2], beam_size=1)
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
    assert decoder.sizes == [
        sum(length >= t for length in lengths) for t in range(max(lengths) + 1)
    ]


@pytest.mark.parametrize("sentences", [[2, 0, 1], [1, 0, 2]])
@pytest.mark.parametrize("beam_size", [2, 3])
def test_a_sentence_is_written_as_if_alone(beam_size: int, sentences: list[int]) -> None:
    penalties = Penalties(0.6, 0.2)
    together, decoder = look_for(sentences, beam_size, 2, penalties)
    sizes: list[list[int]] = []
    for sentence, best in zip(sentences, together, strict=True):
        alone, lonely = look_for([sentence], beam_size, 2, penalties)
        sizes.append(lonely.sizes)
        for got, expected in zip(best, alone[0], strict=True):
            assert_same(got, expected)
            assert_same(got, measure(sentence, got.tokens, penalties))
    # A finished sentence takes no further steps.
    assert decoder.sizes == [sum(step) for step in itertools.zip_longest(*sizes, fillvalue=0)]
    assert len({len(size) for size in sizes}) > 1


def test_poor_endings_do_not_stop_the_search() -> None:
    class Sure(Tables):
        """A decoder that gives 0.9 to A six times, and then to the end."""

        def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            _, looks = super().step(tokens)
            likely = [A if len(read) <= 6 else END for _, read in self.rows]
            chances = [[0.9 if i == token else 0.05 for i in range(4)] for token in likely]
            return torch.tensor(chances).log(), looks

    limit, length = torch.tensor([9]), torch.tensor([3])
    ((best,),) = beam_search(Sure([0]), length, limit, BEGIN, END, settings(3, Penalties(0.6)))
    assert best.tokens == (A,) * 6
    assert best.log_probability == pytest.approx(7 * math.log(0.9), abs=1e-5)


def test_nothing_may_be_all_there_is() -> None:
    decoder = Tables([0])
    ((best,),) = beam_search(decoder, torch.tensor([3]), torch.tensor([0]), BEGIN, END, settings())
    assert_same(best, measure(0, (), Penalties()))
    assert best.attention.shape == (0, 3)


def test_bad_numbers_are_refused() -> None:
    one = torch.tensor([1])
    with pytest.raises(
        InputError, match=r"n_best must be between 1 and beam_size \(2\), got 3; raise"
    ):
        beam_search(Tables([0]), one, one, BEGIN, END, settings(2), n_best=3)
    with pytest.raises(InputError, match=r"beam_size \(2\), got 0"):
        beam_search(Tables([0]), one, one, BEGIN, END, settings(2), n_best=0)
    with pytest.raises(InputError, match="limits must be 0 or more, got -2"):
        beam_search(Tables([0, 1]), torch.tensor([3, 1]), [4, -2], BEGIN, END, settings())
    with pytest.raises(InputError, match=r"limits must have .* shape \(1,\), got shape \(2,\)"):
        beam_search(Tables([0]), one, [4, 2], BEGIN, END, settings())
    with pytest.raises(InputError, match="forbidden must not contain the end token, got 1"):
        beam_search(Tables([0]), one, one, BEGIN, END, settings(), forbidden=(BEGIN, END))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0.0, math.nan, 0.0, 0.0], "must be finite, got nan for .* at step 1 of sequence 1"),
        ([-math.inf] * 4, "must be finite, got -inf for .* at step 1 of sequence 1"),
    ],
    ids=["nan", "nothing"],
)
def test_a_model_that_says_nothing_is_named(wrong: list[float], message: str) -> None:
    class Broken(Tables):
        """A decoder that fails at the second step of a sentence, after another one has finished."""

        def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            log_probs, looks = super().step(tokens)
            for row, (sentence, read) in enumerate(self.rows):
                if sentence == 0 and len(read) == 2:
                    log_probs[row] = torch.tensor(wrong)
            return log_probs, looks

    with pytest.raises(InputError, match=message):
        beam_search(Broken([1, 0]), torch.tensor([1, 3]), [0, 4], BEGIN, END, settings(2))
