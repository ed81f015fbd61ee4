"""Transcripts as tokens, and back: characters, words or pieces of words. Token 0 is the blank."""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from srulight.runtime.errors import InputError

Unit = Literal["char", "word", "subword"]

BLANK = "<blank>"
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for one


class Speller(ABC):
    """Knows the tokens that transcripts are made of.

    Attributes:
        tokens: Their names; the first is the blank.
    """

    tokens: list[str]

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Gives the tokens of a transcript.

        Raises:
            InputError: If it has something that no token stands for.
        """

    @abstractmethod
    def spell(self, token: int) -> str:
        """Gives the text of a token; what begins a word begins with a space."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain data that ``get_speller`` makes the same from."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Gives the text of tokens, single spaces between its words."""
        return " ".join("".join(map(self.spell, tokens)).split())


class Characters(Speller):
    """Characters, the space between words among them.

    Args:
        alphabet: Those that are known.
    """

    def __init__(self, alphabet: Iterable[str]) -> None:
        self.tokens = [BLANK, *sorted(set(alphabet))]
        self._indices = {token: i for i, token in enumerate(self.tokens) if i > 0}

    def encode(self, text: str) -> list[int]:
        return _look_up(text, self._indices, "character", "the alphabet")

    def spell(self, token: int) -> str:
        return self.tokens[token]

    @property
    def settings(self) -> dict[str, Any]:
        return {"unit": "char", "tokens": self.tokens[1:]}


class Words(Speller):
    """Whole words.

    Args:
        words: Those that are known.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.tokens = [BLANK, *sorted(set(words))]
        self._indices = {token: i for i, token in enumerate(self.tokens) if i > 0}

    def encode(self, text: str) -> list[int]:
        return _look_up(text.split(), self._indices, "word", "the training transcripts")

    def spell(self, token: int) -> str:
        return " " + self.tokens[token]

    @property
    def settings(self) -> dict[str, Any]:
        return {"unit": "word", "tokens": self.tokens[1:]}


class Pieces(Speller):
    """Pieces of words, as SentencePiece makes them.

    Args:
        model: Its model file, in base64. Its token for what is unknown, 0, is the blank here.
    """

    def __init__(self, model: str) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model = model
        self._processor = SentencePieceProcessor(model_proto=base64.b64decode(model))
        names = [self._processor.id_to_piece(i) for i in range(len(self._processor))]
        self.tokens = [BLANK, *names[1:]]

    @classmethod
    def train(cls, texts: Sequence[str], size: int, kind: Literal["unigram", "bpe"]) -> "Pieces":
        """Learns the pieces.

        Args:
            texts: Transcripts.
            size: Pieces, the blank among them.
            kind: How they are found.

        Raises:
            InputError: If the texts have not as many, or more characters than that.
        """
        from sentencepiece import SentencePieceTrainer

        model = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=model, vocab_size=size,
                model_type=kind, character_coverage=1.0, normalization_rule_name="identity",
                unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, minloglevel=2,
                # One thread: otherwise the pieces depend on the machine.
                num_threads=1,
            )  # fmt: skip
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].rpartition("] ")[2]
            raise InputError(f"{size} subwords cannot be made of them: {reason}") from error
        return cls(base64.b64encode(model.getvalue()).decode())

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = self._processor.encode(text)
        if 0 in tokens:
            pieces: list[str] = self._processor.encode(text, out_type=str)
            unknown = pieces[tokens.index(0)].strip(_SPACE)
            raise InputError(f"{unknown!r} is not in the training transcripts")
        return tokens

    def spell(self, token: int) -> str:
        return self.tokens[token].replace(_SPACE, " ")

    @property
    def settings(self) -> dict[str, Any]:
        return {"unit": "subword", "model": self._model}


def get_speller(settings: dict[str, Any]) -> Speller:
    """Makes the speller that has these ``settings``."""
    if settings["unit"] == "subword":
        return Pieces(settings["model"])
    return (Characters if settings["unit"] == "char" else Words)(settings["tokens"])


def normalize(text: str, lowercase: bool) -> str:
    """Puts single spaces between words, and none around them.

    Args:
        text: A transcript.
        lowercase: Whether to turn it into lower case.
    """
    return " ".join((text.lower() if lowercase else text).split())


def _look_up(parts: Iterable[str], indices: dict[str, int], kind: str, where: str) -> list[int]:
    tokens = []
    for part in parts:
        if part not in indices:
            raise InputError(f"{kind} {part!r} is not in {where}")
        tokens.append(indices[part])
    return tokens
