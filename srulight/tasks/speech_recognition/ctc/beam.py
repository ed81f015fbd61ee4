"""Prefix beam search with an optional language model of words."""

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from torch import Tensor

from srulight.runtime.errors import InputError, check_range
from srulight.tasks.speech_recognition.ctc.base import BLANK, Decoder, Token, check_frames
from srulight.tasks.speech_recognition.ctc.ngram import WordModel
from srulight.tasks.speech_recognition.ctc.prefix import NEVER, Prefix, PrefixScores, PrefixWords

_SCORE = itemgetter(0)
_PIECE = 1024  # number of frames that are converted to Python numbers at a time

_Candidate = tuple[float, Prefix, int]  # score, prefix, and the token to add; blank for none


class BeamSearch(Decoder):
    """Prefix beam search, which sums the probabilities of all alignments of each hypothesis.

    Graves (2012), Studies in Computational Intelligence 385, section 7.5.2 (doi
    10.1007/978-3-642-24797-2), scored with words as in Hannun et al. (2014), First-Pass Large
    Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs, algorithm 1 (arXiv
    1408.2873). The score of a hypothesis is

        ln p(tokens) + sum over its words of (lm_weight ln p(word) + word_bonus)

    A word is scored when the next word begins. ``finish`` also scores the last word and, times
    ``lm_weight``, the end of the sentence. Ties are broken by the lexicographic order of the
    tokens. With unlimited ``size`` and ``threshold`` nothing is pruned, and ``finish`` is exact.

    The start and end of a token are those of the most probable alignment of the hypothesis that the
    search has seen. They equal those of greedy decoding wherever it finds the same tokens.

    Args:
        size: Number of hypotheses kept after each frame, 1 or more.
        text_of: Maps a token id, 1 or more, to its text. A space may only be the first character,
            where it marks the start of a word. It is needed with ``ngram`` or ``word_bonus``.
        ngram: Language model of words; None for no language model.
        lm_weight: Weight of the language model, 0 or more.
        word_bonus: Score added for each word, in nats. It offsets the preference of a language
            model for short hypotheses.
        threshold: Largest difference between the log-probability of a token and the maximum of the
            frame for which the token may extend a hypothesis, in nats, 0 or more. The blank and the
            last token of a hypothesis are never pruned. 10 means a probability ratio of 22,000.

    Raises:
        InputError: If an argument is out of range, or ``text_of`` is needed and missing; from
            ``advance`` also if a text has a space elsewhere, or the number of tokens changes.
    """

    def __init__(
        self,
        size: int = 16,
        *,
        text_of: Callable[[int], str] | None = None,
        ngram: WordModel[Any] | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 0.0,
        threshold: float = 10.0,
    ) -> None:
        check_range(1, size=size)
        check_range(0, lm_weight=lm_weight)
        if not threshold >= 0:  # infinite for no pruning
            raise InputError(f"threshold must be at least 0, got {threshold}")
        if not math.isfinite(word_bonus):
            raise InputError(f"word_bonus must be a finite number, got {word_bonus}")
        has_words = ngram is not None or word_bonus != 0
        if has_words and text_of is None:
            raise InputError(
                "text_of must be a function with ngram or word_bonus, got None; pass one"
            )
        self._size = size
        self._text_of = text_of if has_words else None
        self._ngram = ngram
        self._lm_weight = lm_weight
        self._word_bonus = word_bonus
        self._threshold = threshold
        self._texts: list[str] = []
        self._begins_word: list[bool] = []
        self._frames = 0
        start = ngram.start if ngram is not None else ()
        # The longest prefix that all hypotheses on the beam share, and its length.
        self._common = Prefix(None, BLANK, PrefixWords(0.0, start, ""))
        self._num_stable = 0
        self._beam = {self._common: PrefixScores(0.0, NEVER, (0.0, None), (NEVER, None))}

    def advance(self, log_probs: Tensor) -> None:
        check_frames(log_probs)
        if not self._texts:
            self._texts = self._texts_of(log_probs.shape[1])
            self._begins_word = [text.startswith(" ") for text in self._texts]
        if log_probs.shape[1] != len(self._texts):
            raise InputError(
                f"log_probs must have {len(self._texts)} tokens per frame as before, got "
                f"{log_probs.shape[1]}"
            )
        for piece in log_probs.detach().split(_PIECE):
            frames = piece.double().cpu().numpy()
            # Even with an infinite threshold, a token of probability 0 extends no hypothesis.
            tried = (frames >= frames.max(1, keepdims=True) - self._threshold) & (frames > NEVER)
            tried[:, BLANK] = False
            for row, mask in zip(frames, tried, strict=True):
                self._step(row.tolist(), mask.nonzero()[0].tolist())

    def tokens(self) -> list[Token]:
        return self._best([prefix.words.score + s.total for prefix, s in self._beam.items()])

    def num_stable(self) -> int:
        return self._num_stable

    def finish(self) -> list[Token]:
        totals = []
        for prefix, scores in self._beam.items():
            words = self._completed(prefix)
            end = self._lm_weight * self._ngram.finish(words.state) if self._ngram else 0.0
            totals.append(words.score + end + scores.total)
        return self._best(totals)

    def _texts_of(self, count: int) -> list[str]:
        text_of = self._text_of
        texts = ["", *(text_of(index) if text_of else "" for index in range(1, count))]
        for index, text in enumerate(texts):
            if " " in text.lstrip(" "):
                raise InputError(
                    "text_of must return texts with a space at the start only, got "
                    f"{text!r} for token {index}"
                )
        return texts

    def _step(self, row: list[float], tried: list[int]) -> None:
        """Reads a frame, in which each prefix stays or is extended by one of the tokens tried."""
        end = self._frames = self._frames + 1
        tried.sort(key=row.__getitem__, reverse=True)
        stayed = {prefix: scores.stay(row, end) for prefix, scores in self._beam.items()}
        for prefix, scores in stayed.items():
            parent = prefix.parent
            if parent in self._beam and tried and row[prefix.token] >= row[tried[-1]]:
                scores.merge(self._beam[parent].extend(row, parent.token, prefix.token, end))
        candidates = [
            (prefix.words.score + scores.total, prefix, BLANK)
            for prefix, scores in stayed.items()
            if scores.total > NEVER
        ]
        # Candidates below the lowest score of a full beam cannot enter it.
        least = min(candidates, key=_SCORE)[0] if len(candidates) == self._size else NEVER
        for prefix, scores in self._beam.items():
            plain, completed = prefix.words.score, self._completed(prefix).score
            most = max(plain, completed) + scores.total
            for token in tried:
                if most + row[token] < least:
                    break
                # A repeated token needs a blank in between; otherwise CTC merges the two.
                before = scores.blank if token == prefix.token else scores.total
                if before > NEVER and prefix.children.get(token) not in stayed:
                    score = (completed if self._begins_word[token] else plain) + before + row[token]
                    candidates.append((score, prefix, token))
        beam = {}
        for _, prefix, token in self._top(candidates):
            if token == BLANK:
                beam[prefix] = stayed[prefix]
            else:
                scores = self._beam[prefix].extend(row, prefix.token, token, end)
                beam[self._child(prefix, token)] = scores
        previous, self._beam = self._beam, beam
        self._prune(previous)

    def _top(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Returns the best candidates; compares tokens only if there is a tie at the cutoff."""
        candidates.sort(key=_SCORE, reverse=True)
        size = self._size
        if len(candidates) > size and candidates[size - 1][0] == candidates[size][0]:
            candidates.sort(key=lambda one: (-one[0], self._sequence(one[1], one[2])))
        return candidates[:size]

    def _best(self, totals: list[float]) -> list[Token]:
        best = max(totals)
        pairs = zip(self._beam, totals, strict=True)
        first = min([prefix for prefix, total in pairs if total == best], key=self._sequence)
        run = self._beam[first].best()[1]
        tokens = []
        while run is not None:
            tokens.append(run.token)
            run = run.before
        return tokens[::-1]

    def _sequence(self, prefix: Prefix, token: int = BLANK) -> list[int]:
        """Lists the tokens of a prefix after the common one, and ``token`` unless it is blank."""
        tokens = [token] if token != BLANK else []
        while prefix is not self._common and prefix.parent is not None:
            tokens.append(prefix.token)
            prefix = prefix.parent
        return tokens[::-1]

    def _child(self, prefix: Prefix, token: int) -> Prefix:
        """Returns a prefix extended by a token.

        The extended prefix may exist already, because it can leave the beam before its children.
        """
        if token not in prefix.children:
            words = self._completed(prefix) if self._begins_word[token] else prefix.words
            if text := self._texts[token].lstrip(" "):
                words = words._replace(begun=words.begun + text)
            prefix.children[token] = Prefix(prefix, token, words)
        return prefix.children[token]

    def _completed(self, prefix: Prefix) -> PrefixWords:
        """Returns the words of a prefix, scored up to the last one."""
        if prefix.completed is None:
            score, state, word = prefix.words
            if word:
                score += self._word_bonus
                if self._ngram is not None:
                    log_prob, state = self._ngram.score(state, word)
                    score += self._lm_weight * log_prob
            prefix.completed = PrefixWords(score, state, "")
        return prefix.completed

    def _prune(self, previous: Iterable[Prefix]) -> None:
        """Removes prefixes that are not on the beam and have no descendant on it."""
        for prefix in previous:
            while prefix not in self._beam and not prefix.children and prefix.parent is not None:
                prefix.parent.children.pop(prefix.token, None)
                prefix = prefix.parent
        while self._common not in self._beam and len(self._common.children) == 1:
            (self._common,) = self._common.children.values()
            self._common.parent = None
            self._num_stable += 1
