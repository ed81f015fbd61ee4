"""The base class of all tokenizers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from inspect import signature
from typing import Any, ClassVar, Self

from srulight.runtime.errors import InputError

PAD = "<pad>"
"""Special token: padding, which is token 0 of every vocabulary that has it."""

UNKNOWN = "<unk>"
"""Special token: stands for every out-of-vocabulary token."""

BEGIN = "<s>"
"""Special token: the beginning of a sentence."""

END = "</s>"
"""Special token: the end of a sentence."""

PAD_UNKNOWN = (PAD, UNKNOWN)
"""Special tokens of models that read text: the first two tokens of their vocabulary."""

UNKNOWN_ID = 1
"""Id of ``<unk>`` in vocabularies that start with ``PAD_UNKNOWN``."""

BLANK = "<blank>"
"""Special token: the blank of CTC."""

END_OF_LINE = "<eos>"
"""Token for the end of a line, in tokenizers that split lines into words or subwords."""


class Tokenizer(ABC):
    """Converts text to token ids, and token ids to text.

    The constructor takes options; ``fit`` returns a copy with a vocabulary. The special tokens are
    the first tokens of the vocabulary. Text never produces them: ``encode`` treats a text that
    contains their names like any other text.

    Attributes:
        tokens: Names of the tokens, by id; empty before ``fit``.
        specials: Names of the special tokens; their ids are 0, 1 and so on.
        unknown: Id of ``<unk>``; None if ``encode`` raises an error for out-of-vocabulary tokens.
        lines: Whether texts may have several lines; if so, the end of a line is a token.
        line_end: Id of the token for the end of a line, or None.
        lowercase: Whether text is converted to lowercase.
        file: File that contains the vocabulary, or None if ``fit`` learns it from texts.
        vocabulary: The vocabulary as plain data, which ``with_vocabulary`` accepts.
        options: Structure of the options in ``settings``, as ``structure.require`` takes it.
        shape: Structure of ``vocabulary``, as ``structure.require`` takes it.
        unit: Name of a token in the singular, such as "word".
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
    unit: ClassVar[str]

    @property
    def is_closed(self) -> bool:
        """Whether an option determines the vocabulary, so that ``fit`` reads no texts."""
        return self.file is not None

    @abstractmethod
    def fit(self, texts: Iterable[str], specials: Sequence[str], *, lines: bool = False) -> Self:
        """Learns the vocabulary.

        Args:
            texts: Training texts; not read if an option determines the vocabulary.
            specials: Names of the special tokens. Without ``<unk>``, ``encode`` raises an error for
                out-of-vocabulary tokens.
            lines: Whether texts may have several lines; if so, the end of a line is a token.

        Returns:
            A copy with the vocabulary.

        Raises:
            InputError: If the texts are empty or too short to learn a vocabulary from.
        """

    @abstractmethod
    def with_vocabulary(
        self,
        vocabulary: Any,  # noqa: ANN401
        specials: Sequence[str],
        lines: bool = False,
    ) -> Self:
        """Returns a copy with a given vocabulary.

        Args:
            vocabulary: Names of the tokens, by id. If they are missing, special tokens are added at
                the beginning, and the end of a line at the end. For SentencePiece, the file of the
                model in base64; for bytes, None.
            specials: Names of the special tokens.
            lines: Whether texts may have several lines; if so, the end of a line is a token.

        Raises:
            InputError: If the vocabulary is not valid, or has other special tokens.
        """

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a text.

        Args:
            text: Any text.

        Raises:
            InputError: If a token is not in the vocabulary, and there is no ``<unk>``.
        """

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Splits a text into the names of its tokens; unknown tokens appear as in the text."""

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """Joins tokens into text.

        Args:
            tokens: Names of tokens. Unknown tokens, as ``tokenize`` returns them, are kept.
        """

    def text_of(self, token: int) -> str:
        """Returns the text of a single token; a leading space means that it starts a word."""
        return self.decode([token])

    def decode(self, ids: Iterable[int]) -> str:
        """Converts token ids to text; omits special tokens other than ``<unk>``."""
        tokens, first, unknown = self.tokens, len(self.specials), self.unknown
        return self.join([tokens[i] for i in ids if i >= first or i == unknown])

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        """Converts token ids to text as they arrive; by default line by line.

        Args:
            ids: Token ids.
            before: Id of the token before the first one; None at the beginning of a text.

        Yields:
            Pieces of text.
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
        """Locates the tokens in a text.

        Args:
            text: Any text.

        Returns:
            Start and end of each token, in characters.

        Raises:
            InputError: If this tokenizer cannot locate its tokens.
        """
        raise InputError(
            f"the tokenizer must locate its tokens in the text, which {type(self).__name__} cannot "
            "do; use Characters, or Words with split=english, characters or space"
        )

    def plain(self, text: str) -> str:
        """Writes a line as ``join`` would, without changing its letter case, for references."""
        return text

    def in_language(self, language: str) -> Self:
        """Returns a copy with the rules of a language, unless an option selects a language.

        Args:
            language: Language code (ISO 639-1), such as ``de``.
        """
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Plain data from which ``from_settings`` restores this tokenizer."""
        names = (*self.options, "specials", "lines", "vocabulary")
        return {"kind": type(self).__name__, **{name: getattr(self, name) for name in names}}

    @property
    def recipe(self) -> dict[str, Any]:
        """Plain data that determine the result of ``fit`` on a text: all options and settings."""
        names = signature(type(self)).parameters
        return {**{name: getattr(self, name) for name in names}, **self.settings}

    def _copy(
        self, tokens: Sequence[str], specials: Sequence[str], lines: bool, line_end: str
    ) -> Self:
        """Returns a copy with tokens, special ones first, and a name for the end of a line."""
        made = copy(self)
        made.tokens, made.specials, made.lines = tokens, list(specials), lines
        made.unknown = specials.index(UNKNOWN) if UNKNOWN in specials else None
        made.line_end = tokens.index(line_end, len(specials)) if lines else None
        return made


def by_line(tokens: Iterable[str]) -> list[list[str]]:
    """Groups the names of tokens into lines."""
    lines: list[list[str]] = [[]]
    for name in tokens:
        if name == END_OF_LINE:
            lines.append([])
        else:
            lines[-1].append(name)
    return lines
