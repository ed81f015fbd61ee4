"""Pretrained word vectors in the text formats of GloVe, word2vec and fastText."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.runtime.files import raw_lines

_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")  # control characters that text does not contain


@runtime_checkable
class HasWordVectors(Protocol):
    """A data module that can provide pretrained word vectors."""

    @property
    def word_vectors(self) -> Tensor | None:
        """One row per word of the vocabulary, (V, F) float32, or None."""


def pretrained_vectors(data: object, embedding_size: int) -> Tensor | None:
    """Returns the word vectors of a data module.

    Args:
        data: Any data module.
        embedding_size: Number of features per word in the model, F.

    Returns:
        The vectors, (V, F) float32; None if the data module has none.

    Raises:
        InputError: If the vectors have another number of features.
    """
    vectors = data.word_vectors if isinstance(data, HasWordVectors) else None
    if vectors is not None and vectors.size(1) != embedding_size:
        raise InputError(
            f"embedding_size must be {vectors.size(1)}, the number of features of the word "
            f"vectors, got {embedding_size}; set --model.embedding_size={vectors.size(1)}"
        )
    return vectors


def read_vectors(path: Path, wanted: Collection[str]) -> dict[str, Tensor]:
    """Reads the vectors of some words from a file that may contain millions.

    A row consists of a word and its numbers, separated by single spaces. The first line may be
    ``count dimension``; without it, the first row determines the dimension. A word may contain
    spaces, as in ``glove.840B``. If a word occurs twice, its first row is used.

    Args:
        path: File of word vectors as text, which may be compressed by gzip.
        wanted: Words to look for.

    Returns:
        The vectors that were found, (F,) float32, by word.

    Raises:
        InputError: If the file is missing or binary, or a row has the wrong number of fields or
            something other than numbers.
    """
    # Rows stay bytes, because most of them are skipped and need not be decoded.
    left = {word.encode() for word in wanted}
    found: dict[str, Tensor] = {}
    dimension = None
    for number, line in raw_lines(path, "set --data.vectors to a file of word vectors"):
        line = line.rstrip()
        if number < 3 and _BINARY.search(line):
            raise InputError(
                f"{path}:{number}: expected word vectors as text, got binary data; convert the "
                "file to text, for example with gensim's save_word2vec_format"
            )
        if dimension is None:
            dimension = line.count(b" ")
            if dimension == 1 and line.replace(b" ", b"").isdigit():
                dimension = _dimension(line, f"{path}:{number}")
                continue
        word, _, values = line.partition(b" ")
        if line.count(b" ") != dimension:
            word, values = _split_odd(line, dimension, f"{path}:{number}")
        if word in left:
            left.remove(word)
            found[word.decode()] = _numbers(values, f"{path}:{number}")
    if not dimension:
        raise InputError(f"{path}: expected word vectors, got none")
    return found


def _dimension(header: bytes, place: str) -> int:
    dimension = header.split()[1]
    if len(dimension) > 6:
        raise InputError(f"{place}: expected a count and a dimension, got {header[:60].decode()!r}")
    return int(dimension)


def _split_odd(line: bytes, dimension: int, place: str) -> tuple[bytes, bytes]:
    """Splits a row with another number of spaces: an error, or a word that contains spaces."""
    fields = line.split(b" ")
    surplus = fields[1 : len(fields) - dimension]
    if len(fields) <= dimension or all(_is_number(field) for field in surplus):
        raise InputError(
            f"{place}: expected a word and {dimension} numbers, got {len(fields) - 1} numbers"
        )
    return b" ".join(fields[:-dimension]), b" ".join(fields[-dimension:])


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(values: bytes, place: str) -> Tensor:
    try:
        row = torch.tensor([float(value) for value in values.split(b" ")])
    except ValueError as error:
        raise InputError(f"{place}: expected a number: {error}") from error
    if not row.isfinite().all():
        raise InputError(f"{place}: expected finite numbers, got {row[~row.isfinite()].tolist()}")
    return row


def vector_matrix(words: Sequence[str], found: Mapping[str, Tensor], seed: int) -> Tensor:
    """Arranges vectors in the order of a vocabulary.

    Args:
        words: The vocabulary; the first entry is padding.
        found: Vectors, (F,), by word; at least one.
        seed: Seed for the values of words without a vector.

    Returns:
        One row per word, (V, F) float32. The row of padding is zero. A word without a vector has
        uniform values from -0.25 to 0.25, which have about the variance of published vectors.
    """
    dimension = len(next(iter(found.values())))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.empty(len(words), dimension).uniform_(-0.25, 0.25, generator=generator)
    for i, word in enumerate(words):
        if word in found:
            matrix[i] = found[word]
    matrix[0] = 0
    return matrix


def vocabulary_with_vectors(
    words: list[str], others: set[str], path: Path, seed: int
) -> tuple[list[str], Tensor]:
    """Reads the vectors of a vocabulary, and adds validation and test words that have a vector.

    Adding these words does not leak labels: their vectors come from the file, as for the training
    words, and a model with pretrained vectors could use any word of the file.

    Args:
        words: Vocabulary of the training data; the first entry is padding.
        others: Words of the validation and test data.
        path: File of word vectors.
        seed: Seed for the values of words without a vector.

    Returns:
        The extended vocabulary, and its vectors, (V, F) float32.

    Raises:
        InputError: If the file cannot be read, or contains none of the words.
    """
    found = read_vectors(path, others.union(words))
    if not found:
        raise InputError(
            f"{path}: expected vectors for words of the corpus, got none; check the language and "
            "the letter case of the words"
        )
    known = sum(word in found for word in words)
    rank_zero_info(
        f"{path.name} has vectors for {known / len(words):.1%} of the {len(words):,} words in the "
        "vocabulary"
    )
    words = words + sorted((others & found.keys()).difference(words))
    return words, vector_matrix(words, found, seed)
