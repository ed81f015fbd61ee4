"""The most probable tokens, whatever their alignment, and a language model of words."""

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.base import BLANK, Decoder, Token, check_frames
from srulight.tasks.speech_recognition.ctc.ngram import WordModel
from srulight.tasks.speech_recognition.ctc.ways import NEVER, PrefixScores

_WORTH = itemgetter(0)
_PIECE = 1024  # frames that are numbers of Python at a time


class BeamSearch(Decoder):
    """Sums the probabilities of the alignments of an answer, and keeps the best answers so far.

    Prefix search of connectionist temporal classification: Graves (2012), Supervised Sequence
    Labelling with Recurrent Neural Networks, section 7.5.2, with the words of Hannun et al. (2014),
    First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs,
    algorithm 1 (arXiv 1408.2873). An answer is worth

        ln p(tokens) + sum over its words of (lm_weight ln p(word) + word_bonus)

    of which a word counts once the next begins, and in ``finish`` the last word and, times
    ``lm_weight``, the end of the sentence too. Of answers with equal worth the one comes first
    whose tokens do, compared one by one. With a ``size`` and a ``threshold`` without limit nothing
    is left out, and ``finish`` is exact.

    When a token starts and ends is that of the most probable single alignment of the answer, among
    those that the search has seen. So it is as greedy decoding says wherever that has the same
    answer.

    Args:
        size: Answers to keep after each frame, 1 or more.
        spell: Gives the text of a token, 1 or more; a space can only come first in it, and begins a
            word. Needed for words to count.
        ngram: Language model of the words; none if None.
        lm_weight: Weight of the language model, 0 or more.
        word_bonus: Worth of each word whatever it is, in nats; against short answers, which a
            language model prefers.
        threshold: How many nats less than a frame's most probable token one may have and still be
            tried as the next of an answer, 0 or more. Blank and the last token of an answer always
            are. 10 is a probability 22,000 times smaller.

    Raises:
        InputError: If one is out of range, or ``spell`` is needed and missing; in ``advance`` also
            if a text has a space elsewhere, or the number of tokens changes.
    """

    def __init__(
        self,
        size: int = 16,
        *,
        spell: Callable[[int], str] | None = None,
        ngram: WordModel[Any] | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 0.0,
        threshold: float = 10.0,
    ) -> None:
        if size < 1:
            raise InputError(f"size must be 1 or more, got {size}")
        if not threshold >= 0:
            raise InputError(f"threshold must be 0 or more, got {threshold}")
        if not 0 <= lm_weight < math.inf:
            raise InputError(f"lm_weight must be 0 or more, got {lm_weight}")
        if not math.isfinite(word_bonus):
            raise InputError(f"word_bonus must be a finite number, got {word_bonus}")
        has_words = ngram is not None or word_bonus != 0
        if has_words and spell is None:
            raise InputError("spell must be given for ngram or word_bonus, to know the words")
        self._size = size
        self._spell = spell if has_words else None
        self._ngram = ngram
        self._lm_weight = lm_weight
        self._word_bonus = word_bonus
        self._threshold = threshold
        self._texts: list[str] = []
        self._begins: list[bool] = []
        self._frames = 0
        start = ngram.start if ngram is not None else ()
        # The longest prefix that all on the beam begin with, and its length.
        self._common = _Prefix(None, BLANK, _Words(0.0, start, ""))
        self._settled = 0
        self._beam = {self._common: PrefixScores(0.0, NEVER, (0.0, None), (NEVER, None))}

    def advance(self, log_probs: Tensor) -> None:
        check_frames(log_probs)
        if not self._texts:
            self._texts = self._spelled(log_probs.shape[1])
            self._begins = [text.startswith(" ") for text in self._texts]
        if log_probs.shape[1] != len(self._texts):
            raise InputError(
                f"each frame must have {len(self._texts)} tokens like those before it; "
                f"got {log_probs.shape[1]}"
            )
        for piece in log_probs.detach().split(_PIECE):
            frames = piece.double().cpu().numpy()
            # An infinite threshold does not make the impossible possible.
            tried = (frames >= frames.max(1, keepdims=True) - self._threshold) & (frames > NEVER)
            tried[:, BLANK] = False
            for row, mask in zip(frames, tried, strict=True):
                self._step(row.tolist(), mask.nonzero()[0].tolist())

    def tokens(self) -> list[Token]:
        return self._best([prefix.words.worth + ways.total for prefix, ways in self._beam.items()])

    def settled(self) -> int:
        return self._settled

    def finish(self) -> list[Token]:
        worths = []
        for prefix, ways in self._beam.items():
            words = self._completed(prefix)
            end = self._lm_weight * self._ngram.finish(words.state) if self._ngram else 0.0
            worths.append(words.worth + end + ways.total)
        return self._best(worths)

    def _spelled(self, count: int) -> list[str]:
        spell = self._spell
        texts = ["", *(spell(index) if spell else "" for index in range(1, count))]
        for index, text in enumerate(texts):
            if " " in text.lstrip(" "):
                raise InputError(
                    f"a space can only come first in the text of a token; {index} is {text!r}"
                )
        return texts

    def _step(self, row: list[float], tried: list[int]) -> None:
        """Reads a frame: each prefix stays as it is, or goes on with one of the tokens tried."""
        end = self._frames = self._frames + 1
        tried.sort(key=row.__getitem__, reverse=True)
        stayed = {prefix: ways.stay(row, end) for prefix, ways in self._beam.items()}
        for prefix, ways in stayed.items():
            parent = prefix.parent
            if parent in self._beam and tried and row[prefix.token] >= row[tried[-1]]:
                ways.join(self._beam[parent].leave(row, parent.token, prefix.token, end))
        found = [
            (prefix.words.worth + ways.total, prefix, BLANK)
            for prefix, ways in stayed.items()
            if ways.total > NEVER
        ]
        # What is worth less than all of a full beam will not be on it.
        least = min(found, key=_WORTH)[0] if len(found) == self._size else NEVER
        for prefix, ways in self._beam.items():
            plain, completed = prefix.words.worth, self._completed(prefix).worth
            most = max(plain, completed) + ways.total
            for token in tried:
                if most + row[token] < least:
                    break
                # Without a blank between, it would be the same token still.
                before = ways.blank if token == prefix.token else ways.total
                if before > NEVER and prefix.longer.get(token) not in stayed:
                    worth = (completed if self._begins[token] else plain) + before + row[token]
                    found.append((worth, prefix, token))
        beam = {}
        for _, prefix, token in self._kept(found):
            if token == BLANK:
                beam[prefix] = stayed[prefix]
            else:
                ways = self._beam[prefix].leave(row, prefix.token, token, end)
                beam[self._longer(prefix, token)] = ways
        left, self._beam = self._beam, beam
        self._forget(left)

    def _kept(self, found: list["_Found"]) -> list["_Found"]:
        """Takes the best; only if that is not clear does it look at their tokens."""
        found.sort(key=_WORTH, reverse=True)
        if len(found) > self._size and found[self._size - 1][0] == found[self._size][0]:
            found.sort(key=lambda one: (-one[0], self._sequence(one[1], one[2])))
        return found[: self._size]

    def _best(self, worths: list[float]) -> list[Token]:
        best = max(worths)
        pairs = zip(self._beam, worths, strict=True)
        first = min([prefix for prefix, worth in pairs if worth == best], key=self._sequence)
        run = self._beam[first].best()[1]
        tokens = []
        while run is not None:
            tokens.append(run.token)
            run = run.before
        return tokens[::-1]

    def _sequence(self, prefix: "_Prefix", token: int = BLANK) -> list[int]:
        """Lists the tokens of a prefix that are not common to all, and one more unless blank."""
        tokens = [token] if token != BLANK else []
        while prefix is not self._common and prefix.parent is not None:
            tokens.append(prefix.token)
            prefix = prefix.parent
        return tokens[::-1]

    def _longer(self, prefix: "_Prefix", token: int) -> "_Prefix":
        """Finds a prefix with one token more. It may have left the beam before its offspring."""
        if token not in prefix.longer:
            words = self._completed(prefix) if self._begins[token] else prefix.words
            if text := self._texts[token].lstrip(" "):
                words = words._replace(begun=words.begun + text)
            prefix.longer[token] = _Prefix(prefix, token, words)
        return prefix.longer[token]

    def _completed(self, prefix: "_Prefix") -> "_Words":
        """Counts the last word of a prefix, too."""
        if prefix.completed is None:
            worth, state, word = prefix.words
            if word:
                worth += self._word_bonus
                if self._ngram is not None:
                    log_prob, state = self._ngram.score(state, word)
                    worth += self._lm_weight * log_prob
            prefix.completed = _Words(worth, state, "")
        return prefix.completed

    def _forget(self, left: Iterable["_Prefix"]) -> None:
        """Drops the prefixes that are not on the beam and do not lead there."""
        for prefix in left:
            while prefix not in self._beam and not prefix.longer and prefix.parent is not None:
                prefix.parent.longer.pop(prefix.token, None)
                prefix = prefix.parent
        while self._common not in self._beam and len(self._common.longer) == 1:
            (self._common,) = self._common.longer.values()
            self._common.parent = None
            self._settled += 1


class _Words(NamedTuple):
    """What a prefix says.

    Attributes:
        worth: What its complete words are worth.
        state: What the language model knows after these.
        begun: Text of the word after these.
    """

    worth: float
    state: Any
    begun: str


class _Prefix:
    """Some tokens: those of another prefix and one more.

    Attributes:
        parent: The other prefix; None if no more is known than that all begin with it.
        token: The last token.
        words: What the tokens say.
        completed: The same if the last word is complete; None as long as nobody asked.
        longer: Those with one token more that are on the beam, or lead there.
    """

    __slots__ = ("completed", "longer", "parent", "token", "words")

    def __init__(self, parent: "_Prefix | None", token: int, words: _Words) -> None:
        self.parent = parent
        self.token = token
        self.words = words
        self.completed: _Words | None = None
        self.longer: dict[int, _Prefix] = {}


_Found = tuple[float, _Prefix, int]
