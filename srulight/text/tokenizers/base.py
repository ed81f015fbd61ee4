"""What every tokenizer does: from text to token ids, and back."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from inspect import signature
from typing import Any, ClassVar, Self

from srulight.runtime.errors import InputError

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
"""Special tokens: padding, whatever is not in the vocabulary, begin and end of a sentence."""

BLANK = "<blank>"
"""Special token: nothing new at this step (CTC)."""

END_OF_LINE = "<eos>"
"""Token that ends a line, of tokenizers whose other tokens are parts of a line."""


class Tokenizer(ABC):
    """Turns text into token ids, and back.

    A constructor takes options; ``fit`` gives a copy that also has a vocabulary. Special tokens
    are the first of it, and no text makes them: a text that spells one out is text.

    Attributes:
        tokens: Names of the tokens, by id; empty before ``fit``.
        specials: Names of the special tokens; their ids are 0, 1 and so on.
        unknown: Id of ``<unk>``; None if ``encode`` refuses what is not in the vocabulary.
        lines: Whether texts have several lines, whose ends are tokens.
        line_end: Id of the token that ends a line; None without.
        lowercase: Whether text is turned into lower case.
        file: File that the vocabulary comes from, in place of texts; None without.
        vocabulary: Plain data that tell the tokens; ``with_vocabulary`` takes them.
        options: Shapes of the options that ``settings`` has, as for ``structure.require``.
        shape: Shape of ``vocabulary``.
    """

    tokens: Sequence[str] = ()
    specials: Sequence[str] = ()
    unknown: int | None = None
    lines: bool = False
    line_end: int | None = None
    lowercase: bool = False
    file: str | None = None
    vocabulary: Any = None
    options: ClassVar[dict[str, Any]] = {}
    shape: ClassVar[Any] = type(None)

    @abstractmethod
    def fit(self, texts: Iterable[str], specials: Sequence[str], *, lines: bool = False) -> Self:
        """Learns the vocabulary.

        Args:
            texts: Training texts; not read where an option gives the vocabulary.
            specials: Names of the special tokens. Without ``<unk>``, ``encode`` refuses what is
                not in the vocabulary.
            lines: Whether texts have several lines, whose ends are tokens.

        Returns:
            A copy with the vocabulary.

        Raises:
            InputError: If the texts have nothing to learn from, or too little.
        """

    @abstractmethod
    def with_vocabulary(
        self,
        vocabulary: Any,  # noqa: ANN401
        specials: Sequence[str],
        lines: bool = False,
    ) -> Self:
        """Gives a copy with a vocabulary that is known already.

        Args:
            vocabulary: Names of the tokens, by id; special tokens come first, and a line's end
                last, if they are missing. The file of a SentencePiece model, in base64. None for
                bytes.
            specials: Names of the special tokens.
            lines: Whether texts have several lines, whose ends are tokens.

        Raises:
            InputError: If it is no such model, or has other special tokens.
        """

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Gives the ids of a text's tokens.

        Raises:
            InputError: If one is not in the vocabulary, and there is no ``<unk>``.
        """

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Gives the names of a text's tokens; what is unknown stands as it does in the text."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """Makes text, as people write it.

        Args:
            tokens: Names of tokens; others, as ``tokenize`` gives them, are written as they are.
        """

    def text_of(self, token: int) -> str:
        """Gives the text of a token by itself; a space in front means that it begins a word."""
        return self.decode([token])

    def decode(self, ids: Iterable[int]) -> str:
        """Makes text of token ids; special tokens other than ``<unk>`` are left out."""
        tokens, first, unknown = self.tokens, len(self.specials), self.unknown
        return self.join([tokens[i] for i in ids if i >= first or i == unknown])

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        """Gives text piece by piece, as ids come; by default line by line.

        Args:
            ids: Token ids.
            before: Id of the token before the first; None at the beginning of a text.
        """
        space = "" if before in (None, self.line_end) else " "
        line: list[int] = []
        for i in ids:
            line.append(i)
            if i == self.line_end:
                yield space + self.decode(line)
                space, line = "", []
        if text := self.decode(line):
            yield space + text

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Finds where in the text its tokens stand: begin and end of each, in characters.

        Raises:
            InputError: If this tokenizer cannot tell.
        """
        raise InputError(
            f"{type(self).__name__} do not tell where in the text tokens stand: use Characters, or "
            "Words with split=english, characters or space"
        )

    def plain(self, text: str) -> str:
        """Writes a line as ``join`` would, in its own case and characters: to compare with."""
        return text

    def in_language(self, language: str) -> Self:
        """Gives a copy with the rules of a language (ISO 639-1), if no option has chosen one.

        Args:
            language: Such as ``de``.
        """
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Plain data that ``from_settings`` makes the same from."""
        names = (*self.options, "specials", "lines", "vocabulary")
        return {"kind": type(self).__name__, **{name: getattr(self, name) for name in names}}

    @property
    def recipe(self) -> dict[str, Any]:
        """Plain data that tell what ``fit`` makes of given texts: all options, and ``settings``."""
        names = signature(type(self)).parameters
        return {**{name: getattr(self, name) for name in names}, **self.settings}

    def _copy(
        self, tokens: Sequence[str], specials: Sequence[str], lines: bool, line_end: str
    ) -> Self:
        """Gives a copy with tokens, special ones first, and the name of a line's end."""
        made = copy(self)
        made.tokens, made.specials, made.lines = tokens, list(specials), lines
        made.unknown = specials.index(UNKNOWN) if UNKNOWN in specials else None
        made.line_end = tokens.index(line_end, len(specials)) if lines else None
        return made


def by_line(tokens: Iterable[str]) -> list[list[str]]:
    """Splits names of tokens where a line ends."""
    lines: list[list[str]] = [[]]
    for name in tokens:
        if name == END_OF_LINE:
            lines.append([])
        else:
            lines[-1].append(name)
    return lines
