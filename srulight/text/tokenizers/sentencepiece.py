"""A tokenizer with subwords as tokens."""

import base64
import io
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from srulight.runtime.errors import InputError, check_range
from srulight.runtime.files import LARGEST_TEXT, opened, well_formed
from srulight.text.tokenizers.base import BEGIN, END, END_OF_LINE, PAD, UNKNOWN, Tokenizer, by_line

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece represents a space by this character
_MOST_LINES = 1_000_000  # to train on, which limits memory and time
# Special tokens for which SentencePiece has settings.
_SETTINGS = {PAD: "pad_id", UNKNOWN: "unk_id", BEGIN: "bos_id", END: "eos_id"}
# Errors of SentencePiece for a vocabulary that is too large or too small for the text.
_TOO_HIGH = re.compile(r"Vocabulary size too high .* <= (\d+)")
_TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


class SentencePiece(Tokenizer):
    """Splits text into subwords with SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226).

    The subwords are learned from the training text, or from a random sample of a million lines if
    it has more.

    Args:
        size: Size of the vocabulary, including the special tokens.
        model: Subword model: "unigram" for a unigram language model (Kudo 2018, arXiv 1804.10959),
            or "bpe" for byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909).
        normalization: Unicode normalization of the text: "nmt_nfkc" and "nfkc" replace, for
            example, a ligature by its letters; "identity" does not change the text.
        lowercase: Whether to convert text to lowercase.
        file: Trained SentencePiece model to use instead of training one. Its first tokens must be
            the special tokens of the task; the error message says how to train such a model.
    """

    options = {"lowercase": bool}  # noqa: RUF012
    shape = str
    unit = "subword"

    def __init__(
        self,
        size: int = 8000,
        model: Literal["unigram", "bpe"] = "unigram",
        normalization: Literal["nmt_nfkc", "nfkc", "identity"] = "nmt_nfkc",
        lowercase: bool = False,
        file: str | None = None,
    ) -> None:
        check_range(1, size=size)
        self.size = size
        self.model: Literal["unigram", "bpe"] = model
        self.normalization: Literal["nmt_nfkc", "nfkc", "identity"] = normalization
        self.lowercase = lowercase
        self.file = file
        self._processor: SentencePieceProcessor

    def fit(self, texts: Iterable[str], specials: Sequence[str], *, lines: bool = False) -> Self:
        if self.file is not None:
            return self._read(Path(self.file).expanduser(), specials, lines)
        return self._train(texts, specials, lines)

    def with_vocabulary(
        self, vocabulary: str, specials: Sequence[str], lines: bool = False
    ) -> Self:
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor(model_proto=base64.b64decode(vocabulary))
        except (RuntimeError, ValueError) as error:
            raise InputError("expected a SentencePiece model, got something else") from error
        if not len(processor):
            raise InputError("expected a SentencePiece model, got an empty one")
        _check_first(processor, specials, lines)
        names = [processor.id_to_piece(i) for i in range(len(processor))]
        names[: len(specials)] = specials
        fitted = self._copy(names, specials, lines, END_OF_LINE)
        fitted._processor = processor
        fitted.vocabulary = vocabulary
        return fitted

    def _read(self, path: Path, specials: Sequence[str], lines: bool) -> Self:
        with opened(path) as file:
            trained = base64.b64encode(file.read(LARGEST_TEXT)).decode()
        try:
            return self.with_vocabulary(trained, specials, lines)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def _train(self, texts: Iterable[str], specials: Sequence[str], lines: bool) -> Self:
        from sentencepiece import SentencePieceTrainer

        ids, others = _first(specials, lines)
        if self.size <= len(specials) + lines:
            least = len(specials) + lines + 1
            raise InputError(
                f"size must be at least {least}, one more than the special tokens, got {self.size}"
            )
        if lines:
            texts = (line for text in texts for line in text.split("\n"))
        # Read before training, because SentencePiece would hide errors in the files.
        sample = [self._prepared(text) for text in _sample(texts, _MOST_LINES)]
        trained = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(sample), model_writer=trained, vocab_size=self.size,
                model_type=self.model, normalization_rule_name=self.normalization,
                character_coverage=1.0, minloglevel=2, unk_surface=UNKNOWN,
                control_symbols=others,
                # With more threads, the result would depend on the machine.
                num_threads=1, **ids,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise InputError(_complaint(self.size, sample, str(error))) from error
        return self.with_vocabulary(base64.b64encode(trained.getvalue()).decode(), specials, lines)

    def _prepared(self, text: str) -> str:
        text = well_formed(text)  # SentencePiece rejects lone surrogates
        # Not by SentencePiece's rules for lowercase, which also replace "ß" by "ss".
        return text.lower() if self.lowercase else text

    def encode(self, text: str) -> list[int]:
        text = self._prepared(text)
        if self.line_end is None:
            ids: list[int] = self._processor.encode(text)
        else:
            lines = self._processor.encode(text.split("\n"))
            ids = [i for line in lines for i in (*line, self.line_end)][:-1]
        if self.unknown is None and 0 in ids:
            part = self.tokenize(text)[ids.index(0)].strip(_SPACE)
            raise InputError(f"{part!r} is not in the vocabulary")
        return ids

    def tokenize(self, text: str) -> list[str]:
        text = self._prepared(text)
        if self.line_end is None:
            return self._processor.encode(text, out_type=str)
        lines = self._processor.encode(text.split("\n"), out_type=str)
        return [name for line in lines for name in (*line, END_OF_LINE)][:-1]

    def join(self, tokens: Sequence[str]) -> str:
        decode, lines = self._processor.decode, by_line(tokens) if self.lines else [list(tokens)]
        # SentencePiece does not replace the character for a space in unknown subwords.
        return "\n".join(" ".join(decode(line).replace(_SPACE, " ").split()) for line in lines)

    def text_of(self, token: int) -> str:
        return self.tokens[token].replace(_SPACE, " ")

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        # Word by word, because a subword may be a single byte of a character.
        space = "" if before in (None, self.line_end) else " "
        word: list[int] = []
        for i in chain(ids, [None]):
            ends = i is None or i == self.line_end or self.tokens[i].startswith(_SPACE)
            if ends and (text := self.decode(word)):
                yield space + text if self.tokens[word[0]].startswith(_SPACE) else text
                space = " "
            if i is None:
                return
            word = [] if ends else word
            if i == self.line_end:
                yield "\n"
                space = ""
            else:
                word.append(i)


def _first(specials: Sequence[str], lines: bool) -> tuple[dict[str, Any], list[str]]:
    """Returns SentencePiece's settings for special tokens, and the tokens without a setting."""
    names = [*specials, END_OF_LINE] if lines else list(specials)
    ids = {flag: names.index(name) if name in names else -1 for name, flag in _SETTINGS.items()}
    if UNKNOWN not in names:
        # SentencePiece requires an unknown token. It is the first, which `encode` rejects.
        ids["unk_id"] = 0
    return ids, [name for i, name in enumerate(names) if i not in ids.values()]


def _check_first(processor: "SentencePieceProcessor", specials: Sequence[str], lines: bool) -> None:
    ids, others = _first(specials, lines)
    names = [*specials, END_OF_LINE] if lines else list(specials)
    found = {flag: getattr(processor, flag)() for flag in ids}
    places = [processor.piece_to_id(name) for name in others]
    # A text could produce a symbol that is not a control symbol.
    is_control = all(map(processor.is_control, places))
    if found != ids or places != [names.index(name) for name in others] or not is_control:
        flags = [f"--{flag}={i}" for flag, i in ids.items()]
        flags += [f"--control_symbols={','.join(others)}"] if others else []
        raise InputError(
            f"the first tokens of the model must be {', '.join(names)}; train it with spm_train "
            + " ".join(flags)
        )


def _sample(lines: Iterable[str], size: int) -> list[str]:
    """Draws a uniform sample of lines in one pass (Vitter 1985, algorithm R)."""
    generator = random.Random(0)
    drawn: list[str] = []
    for count, line in enumerate(lines):
        if count < size:
            drawn.append(line)
        elif (place := generator.randrange(count + 1)) < size:
            drawn[place] = line
    return drawn


def _complaint(size: int, texts: list[str], reason: str) -> str:
    if not any(text.strip() for text in texts):
        return "expected subwords in the training text, got none"
    if found := _TOO_HIGH.search(reason):
        return f"size must be at most {found[1]} for this text, got {size}; lower size, or add text"
    if found := _TOO_LOW.search(reason):
        return (
            f"size must be at least {found[1]}, because of the number of distinct characters in "
            f"this text, got {size}; raise size"
        )
    return f"cannot learn {size} subwords from this text: {reason}"
