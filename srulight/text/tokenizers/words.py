"""A tokenizer with words as tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Self

from srulight.runtime.errors import InputError
from srulight.runtime.files import lines as lines_of
from srulight.text.tokenizers.base import END_OF_LINE, by_line
from srulight.text.tokenizers.lookup import LookupTokenizer
from srulight.text.tokenizers.splitting import Splitting, moses, splitter, word_spans


class Words(LookupTokenizer):
    """Splits text into words and punctuation marks.

    Args:
        split: How to split text: ``english`` (separates punctuation and clitics as in the Penn
            Treebank), ``characters`` (every character is a word, for scripts without spaces),
            ``space`` (at white space, for text that is already split), ``moses`` (the rules of
            Moses, which also join words), or a tokenizer of torchtext: ``basic_english``,
            ``spacy``, ``toktok``, ``revtok`` or ``subword``.
        language: Language of the rules of Moses (ISO 639-1), such as ``de``. If None, the language
            of the data, or English if the data do not define it.
        lowercase: Whether to convert words to lowercase.
        detokenize: Whether to join words by the rules of Moses, which also replace escapes such as
            ``&apos;``, instead of by spaces. Only for ``split=space``.
        min_count: Minimum number of occurrences in the training text for a word to be in the
            vocabulary.
        max_size: Maximum number of words in the vocabulary, without the special tokens; no limit if
            None.
        file: Vocabulary file in UTF-8 with one word per line, the most frequent first. If None, the
            vocabulary is built from the training text.

    Raises:
        InputError: If a number is out of range, a package is not installed, or ``detokenize`` is
            set without ``split=space``.
    """

    options = {  # noqa: RUF012
        "split": str, "language": (str, type(None)), "lowercase": bool, "detokenize": bool,
    }  # fmt: skip
    unit = "word"
    _end = END_OF_LINE

    def __init__(
        self,
        split: Splitting = "english",
        language: str | None = None,
        lowercase: bool = False,
        detokenize: bool = False,
        min_count: int = 1,
        max_size: int | None = None,
        file: str | None = None,
    ) -> None:
        super().__init__(lowercase, min_count, max_size)
        if detokenize and split != "space":
            raise InputError(
                f"split must be 'space' if detokenize is true, got {split!r}; set split=space, or "
                "remove detokenize"
            )
        self.split: str = split
        self.language = language
        self.detokenize = detokenize
        self.file = file
        self._use_rules()

    def _use_rules(self) -> None:
        language = self.language or "en"
        self._words: Callable[[str], list[str]] = splitter(self.split, language)
        self._unite: Callable[[Sequence[str]], str] = " ".join
        self._has_rules = self.split == "moses" or self.detokenize
        if self._has_rules:
            self._unite = moses().MosesDetokenizer(language).detokenize

    def in_language(self, language: str) -> Self:
        if self.language is not None or not self._has_rules:
            return self
        made = copy(self)
        made.language = language
        made._use_rules()
        return made

    def _given(self) -> Iterable[str] | None:
        return None if self.file is None else _read(Path(self.file).expanduser())

    def _parts(self, text: str) -> list[str]:
        if not self.lines:
            return self._line(text)
        first, *others = text.split("\n")
        words = self._line(first)
        for line in others:
            words.append(END_OF_LINE)
            words += self._line(line)
        return words

    def _line(self, text: str) -> list[str]:
        if not self.lowercase:
            return self._words(text)
        if self.split == "moses":  # its rules depend on the letter case
            return [word.lower() for word in self._words(text)]
        return self._words(text.lower())

    def join(self, tokens: Sequence[str]) -> str:
        return "\n".join(map(self._unite, by_line(tokens))) if self.lines else self._unite(tokens)

    def text_of(self, token: int) -> str:
        return " " + self.tokens[token]

    def decode_stream(self, ids: Iterable[int], before: int | None = None) -> Iterator[str]:
        if self._has_rules:  # they need a whole line
            yield from super().decode_stream(ids, before)
            return
        is_first = before in (None, self.line_end)
        for i in ids:
            if i == self.line_end:
                yield "\n"
                is_first = True
            elif i >= len(self.specials) or i == self.unknown:
                yield self.tokens[i] if is_first else self.text_of(i)
                is_first = False

    def spans(self, text: str) -> list[tuple[int, int]]:
        return list(word_spans(text, self.split))

    def plain(self, text: str) -> str:
        return self._unite(text.split()) if self.detokenize else text


def _read(path: Path) -> Iterator[str]:
    """Reads the words of a file with one word per line."""
    for number, line in lines_of(path, "set the tokenizer's file to one with a word per line"):
        words = line.split()
        if len(words) > 1:
            raise InputError(f"{path}:{number}: expected one word per line, got {line.strip()!r}")
        yield from words
