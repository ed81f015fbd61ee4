"""Beam search agrees with exhaustive sums over alignments and with a textbook search."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.base import Token
from srulight.tasks.speech_recognition.ctc.beam import BeamSearch
from srulight.tasks.speech_recognition.ctc.greedy import Greedy
from srulight.tasks.speech_recognition.ctc.ngram import NGram

MODEL = r"""\data\
ngram 1=5
ngram 2=3
\1-grams:
-99 <s> -0.2
-0.9 </s>
-1.6 <unk>
-0.5 a -0.3
-0.9 ab -0.1
\2-grams:
-0.2 <s> ab
-0.3 a ab
-0.1 ab a
\end\
"""
CHARACTERS = {1: "a", 2: " ", 3: "b"}
PIECES = {1: " a", 2: "b", 3: " b"}
Prefix = tuple[int, ...]
Score = Callable[[Prefix], float]


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NGram:
    path = tmp_path_factory.mktemp("model") / "words.arpa"
    path.write_text(MODEL)
    return NGram.read(path)


def random_frames(seed: int, steps: int, size: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(steps, size, generator=generator)).double().log_softmax(1)


def collapse(path: tuple[int, ...]) -> list[Token]:
    tokens, end = [], 0
    for index, run in itertools.groupby(path):
        start, end = end, end + len(list(run))
        if index:
            tokens.append(Token(index, start, end))
    return tokens


def indices(tokens: list[Token]) -> Prefix:
    return tuple(token.index for token in tokens)


def best_of_all(log_probs: Tensor, score: Score) -> list[Token]:
    """Sums over all alignments."""
    rows = log_probs.tolist()
    paths = defaultdict(list)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(rows)):
        log_prob = sum(row[index] for row, index in zip(rows, path, strict=True))
        paths[indices(collapse(path))].append((log_prob, path))
    total = {p: math.log(sum(math.exp(w[0]) for w in paths[p])) + score(p) for p in paths}
    return collapse(max(paths[max(total, key=lambda p: total[p])])[1])


def textbook(log_probs: Tensor, size: int, threshold: float, score: Score) -> list[Prefix]:
    """Prefix search with a table of probabilities by prefix."""
    beam: dict[Prefix, tuple[float, float]] = {(): (1.0, 0.0)}
    for row in log_probs.exp().tolist():
        table: dict[Prefix, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, label) in beam.items():
            table[prefix][0] += (blank + label) * row[0]
            if prefix:
                table[prefix][1] += label * row[prefix[-1]]
            for index, p in enumerate(row):
                if index and p >= max(row) * math.exp(-threshold):
                    before = blank if prefix[-1:] == (index,) else blank + label
                    table[(*prefix, index)][1] += before * p
        scores = {p: math.log(sum(paths)) + score(p) for p, paths in table.items() if sum(paths)}
        kept = sorted(scores, key=lambda p: -scores[p])[:size]
        beam = {p: (table[p][0], table[p][1]) for p in kept}
    return list(beam)


def words_score(ngram: NGram, texts: dict[int, str], weight: float, bonus: float) -> Score:
    """Scores words, of which the last is complete, and the end of the sentence."""

    def score(prefix: Prefix) -> float:
        words = "".join(texts[index] for index in prefix).split()
        total, state = bonus * len(words), ngram.start
        for word in words:
            log_prob, state = ngram.score(state, word)
            total += weight * log_prob
        return total + weight * ngram.finish(state)

    return score


def begun_score(ngram: NGram, texts: dict[int, str], weight: float, bonus: float) -> Score:
    """Scores words, of which the last may be incomplete."""

    def score(prefix: Prefix) -> float:
        words = "".join(texts[index] for index in prefix).split(" ")[:-1]
        total, state = 0.0, ngram.start
        for word in filter(None, words):
            log_prob, state = ngram.score(state, word)
            total += weight * log_prob + bonus
        return total

    return score


def nothing(prefix: Prefix) -> float:
    return 0.0


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_beam_without_limits_is_exact(steps: int) -> None:
    for seed in range(40):
        frames = random_frames(seed, steps, 3)
        decoder = BeamSearch(10**6, threshold=math.inf)
        decoder.advance(frames)
        assert decoder.tokens() == decoder.finish() == best_of_all(frames, nothing)


@pytest.mark.parametrize("texts", [CHARACTERS, PIECES], ids=["characters", "pieces"])
@pytest.mark.parametrize(("weight", "bonus"), [(0.7, 0.0), (0.4, 1.5), (0.0, -1.0)])
def test_a_beam_without_limits_is_exact_with_a_language_model(
    texts: dict[int, str], weight: float, bonus: float, ngram: NGram
) -> None:
    complete = words_score(ngram, texts, weight, bonus)
    begun = begun_score(ngram, texts, weight, bonus)
    for seed in range(40):
        frames = random_frames(seed, 5, 3) if seed % 2 else random_frames(seed, 3, 4)
        decoder = BeamSearch(
            10**6,
            text_of=texts.__getitem__,
            ngram=ngram,
            lm_weight=weight,
            word_bonus=bonus,
            threshold=math.inf,
        )
        decoder.advance(frames)
        assert decoder.tokens() == best_of_all(frames, begun)
        assert decoder.finish() == best_of_all(frames, complete)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("threshold", [0.5, 2.0, math.inf])
def test_a_beam_with_limits_is_that_of_the_textbook(size: int, threshold: float) -> None:
    for seed in range(10):
        frames = random_frames(seed, 20, 4, spread=1.5)
        decoder = BeamSearch(size, threshold=threshold)
        decoder.advance(frames)
        assert indices(decoder.tokens()) == textbook(frames, size, threshold, nothing)[0]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_beam_with_limits_and_words_is_that_of_the_textbook(size: int, ngram: NGram) -> None:
    score = begun_score(ngram, PIECES, 0.5, 2.0)
    for seed in range(15):
        frames = random_frames(seed, 20, 4, spread=1.5)
        decoder = BeamSearch(size, text_of=PIECES.__getitem__, ngram=ngram, word_bonus=2.0)
        decoder.advance(frames)
        assert indices(decoder.tokens()) == textbook(frames, size, 10.0, score)[0]


def test_what_is_stable_is_what_all_on_the_beam_begin_with() -> None:
    frames = random_frames(1, 30, 4, spread=3.0)
    decoder = BeamSearch(4)
    counts = []
    for step, frame in enumerate(frames, start=1):
        decoder.advance(frame[None])
        beam = textbook(frames[:step], 4, 10.0, nothing)
        same = [len(set(column)) == 1 for column in zip(*beam, strict=False)]
        counts.append(decoder.num_stable())
        assert counts[-1] == (same.index(False) if False in same else len(same))
    assert counts[-1] > 3


@pytest.mark.parametrize("size", [1, 3])
def test_pieces_are_as_the_whole(size: int, ngram: NGram) -> None:
    frames = random_frames(2, 7, 4, spread=1.5).float()
    for cuts in itertools.product([False, True], repeat=6):
        ends = [i for i, cut in enumerate(cuts, start=1) if cut]
        whole, parts = (
            BeamSearch(size, text_of=CHARACTERS.__getitem__, ngram=ngram) for _ in range(2)
        )
        whole.advance(frames)
        for start, end in itertools.pairwise([0, 0, *ends, 7]):
            parts.advance(frames[start:end])
        assert parts.tokens() == whole.tokens()
        assert parts.finish() == whole.finish()
        assert parts.num_stable() == whole.num_stable()


def test_alignments_together_beat_the_best_alignment() -> None:
    frames = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    greedy, beam = Greedy(), BeamSearch()
    greedy.advance(frames)
    beam.advance(frames)
    assert greedy.tokens() == []
    assert indices(beam.tokens()) == (1,)  # 0.64, of which no alignment has more than 0.24


def test_clear_frames_are_decoded_as_greedy_does_it() -> None:
    generator = torch.Generator().manual_seed(3)
    hot = torch.randint(4, (200,), generator=generator).repeat_interleave(2)
    frames = (9.0 * torch.nn.functional.one_hot(hot, 4)).log_softmax(1)
    greedy, beam = Greedy(), BeamSearch()
    greedy.advance(frames)
    beam.advance(frames)
    assert beam.tokens() == beam.finish() == greedy.tokens()


@pytest.mark.parametrize(("middle", "tokens"), [(0, [(1, 0, 1), (1, 2, 3)]), (1, [(1, 0, 3)])])
def test_only_a_blank_makes_two_of_a_token(middle: int, tokens: list[tuple[int, ...]]) -> None:
    frames = torch.full((3, 2), -torch.inf)
    frames[[0, 1, 2], [1, middle, 1]] = 0.0
    decoder = BeamSearch(threshold=math.inf)
    decoder.advance(frames)
    assert decoder.tokens() == tokens


def test_a_language_model_decides_between_words_that_sound_alike(ngram: NGram) -> None:
    frames = torch.tensor([[0.01, 0.98, 0.005, 0.005], [0.5, 0.01, 0.01, 0.48]]).log()
    alone = BeamSearch()
    helped = BeamSearch(text_of=CHARACTERS.__getitem__, ngram=ngram)
    for decoder in (alone, helped):
        decoder.advance(frames)
    assert indices(alone.finish()) == (1,)
    assert indices(helped.tokens()) == (1,)  # the word may be incomplete
    assert indices(helped.finish()) == (1, 3)  # "ab" is how sentences start


def test_a_bonus_makes_more_words() -> None:
    frames = torch.tensor([[0.01, 0.98, 0.01], [0.6, 0.01, 0.39], [0.01, 0.98, 0.01]]).log()
    for bonus, tokens in ((0.0, (1, 1)), (1.0, (1, 2, 1))):
        decoder = BeamSearch(text_of=CHARACTERS.__getitem__, word_bonus=bonus)
        decoder.advance(frames)
        assert indices(decoder.finish()) == tokens


def test_improbable_tokens_are_not_tried() -> None:
    frames = torch.tensor([[0.8, 0.2]]).log().expand(5, 2)  # ln 4 apart
    for threshold, tokens in ((1.38, ()), (1.39, (1,))):
        decoder = BeamSearch(threshold=threshold)
        decoder.advance(frames)
        assert indices(decoder.tokens()) == tokens


@pytest.mark.parametrize("size", [1, 2, 16])
def test_of_equals_the_tokens_that_come_first_win(size: int) -> None:
    decoder = BeamSearch(size)
    decoder.advance(torch.tensor([[-9.0, -1.0, -1.0, -1.0], [-1.0, -9.0, -9.0, -9.0]]))
    assert indices(decoder.tokens()) == (1,)
    decoder.advance(torch.tensor([[-9.0, -9.0, -1.0, -1.0]]))
    assert indices(decoder.tokens()) == (1, 2)


def test_finishing_changes_nothing(ngram: NGram) -> None:
    frames = random_frames(4, 8, 4)
    asked, other = (BeamSearch(4, text_of=PIECES.__getitem__, ngram=ngram) for _ in range(2))
    for decoder in (asked, other):
        decoder.advance(frames[:4])
    asked.finish()
    for decoder in (asked, other):
        decoder.advance(frames[4:])
    assert asked.finish() == other.finish()


def test_no_tokens_without_frames(ngram: NGram) -> None:
    decoder = BeamSearch(text_of=PIECES.__getitem__, ngram=ngram)
    assert decoder.tokens() == decoder.finish() == []
    decoder.advance(torch.zeros(0, 4))
    assert decoder.finish() == []
    assert decoder.num_stable() == 0


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: BeamSearch(0), "size must be at least 1, got 0"),
        (lambda: BeamSearch(threshold=-1), "threshold must be at least 0, got -1"),
        (lambda: BeamSearch(threshold=math.nan), "threshold must be at least 0, got nan"),
        (lambda: BeamSearch(lm_weight=-0.5), "lm_weight must be at least 0, got -0.5"),
        (lambda: BeamSearch(word_bonus=math.inf), "word_bonus must be a finite number"),
        (lambda: BeamSearch(word_bonus=1.0), "text_of must be a function with ngram or word_bonus"),
        (lambda: BeamSearch(ngram=NGram(1, {}, {})), "text_of must be a function"),
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], BeamSearch], why: str) -> None:
    with pytest.raises(InputError, match=why):
        build()


@pytest.mark.parametrize("text", ["a ", "a b", " a b"])
def test_a_space_within_a_token_is_refused(text: str) -> None:
    decoder = BeamSearch(text_of=lambda index: text, word_bonus=1.0)
    with pytest.raises(InputError, match=f"a space at the start only, got '{text}' for token 1"):
        decoder.advance(torch.zeros(1, 2))


def test_the_number_of_tokens_cannot_change() -> None:
    decoder = BeamSearch()
    decoder.advance(torch.zeros(1, 3))
    with pytest.raises(InputError, match="must have 3 tokens per frame as before, got 4"):
        decoder.advance(torch.zeros(1, 4))


def test_frames_without_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="got nan in frame 1 of 2"):
        BeamSearch().advance(torch.tensor([[0.0, 0.0], [0.0, torch.nan]]))
