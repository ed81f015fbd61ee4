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

_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")  # what no line of text has


@runtime_checkable
class HasWordVectors(Protocol):
    """A data module that may have pretrained word vectors."""

    @property
    def word_vectors(self) -> Tensor | None:
        """One row for each word of the vocabulary, (V, F) float32; None without any."""


def pretrained_vectors(data: object, embedding_size: int) -> Tensor | None:
    """Gives the word vectors of a data module.

    Args:
        data: A data module, of whatever kind.
        embedding_size: Features that the model has for a word, F.

    Returns:
        The vectors, (V, F) float32; None if there are none.

    Raises:
        InputError: If they have another number of features.
    """
    vectors = data.word_vectors if isinstance(data, HasWordVectors) else None
    if vectors is not None and vectors.size(1) != embedding_size:
        raise InputError(
            f"the word vectors have {vectors.size(1)} features and embedding_size is "
            f"{embedding_size}: set --model.embedding_size={vectors.size(1)}"
        )
    return vectors


def read_vectors(path: Path, wanted: Collection[str]) -> dict[str, Tensor]:
    """Reads the vectors of some words from a file that may hold millions.

    A row is a word and its numbers with single spaces between; a first line ``count dimension``
    is optional. Without it the first row gives the dimension. A word may hold spaces itself, as
    in ``glove.840B``. Of two rows for one word the first counts.

    Args:
        path: The file; plain, or compressed by gzip.
        wanted: Words to look for.

    Returns:
        The vectors found, (F,) float32 each.

    Raises:
        InputError: If the file is missing or binary, a row is short or long, or something is no
            number.
    """
    # Bytes all the way: most rows are skipped, and need not be decoded for that.
    left = {word.encode() for word in wanted}
    found: dict[str, Tensor] = {}
    dimension = None
    for number, line in raw_lines(path, "set --data.vectors to a file of word vectors"):
        line = line.rstrip()
        if number < 3 and _BINARY.search(line):
            raise InputError(
                f"{path}:{number}: expected vectors as text, got binary ones; save them as text, "
                "as gensim's save_word2vec_format does"
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
        raise InputError(f"{path} holds no word vectors")
    return found


def _dimension(header: bytes, place: str) -> int:
    dimension = header.split()[1]
    if len(dimension) > 6:
        raise InputError(f"{place}: expected a count and a dimension, got {header[:60].decode()!r}")
    return int(dimension)


def _split_odd(line: bytes, dimension: int, place: str) -> tuple[bytes, bytes]:
    """Splits a row with too few or too many spaces: an error, or a word with spaces in it."""
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
    """Puts vectors in the order of a vocabulary.

    Args:
        words: The vocabulary; the first is padding.
        found: A vector, (F,), for one word or more.
        seed: Number that decides the values of words without a vector.

    Returns:
        One row a word, (V, F) float32: zeros for padding, uniform in -0.25 to 0.25 for a word
        without a vector, which is about as spread out as published vectors are.
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
    """Reads the vectors of a vocabulary, which grows by the other words that have one.

    Those occur in validation or test alone. Their vectors come from the file as the others' do, and
    no label is looked at; a model of pretrained words reads any word of the file.

    Args:
        words: The vocabulary, made from the training data; the first word is padding.
        others: Words of validation and test.
        path: File of vectors.
        seed: Number that decides the values of words without a vector.

    Returns:
        The vocabulary, and its vectors, (V, F) float32.

    Raises:
        InputError: If the file cannot be read, or has a vector for no word.
    """
    found = read_vectors(path, others.union(words))
    if not found:
        raise InputError(f"{path} has a vector for no word of the corpus")
    known = sum(word in found for word in words)
    rank_zero_info(
        f"{path.name} has vectors for {known / len(words):.1%} of the vocabulary's {len(words)} "
        "words"
    )
    words = words + sorted((others & found.keys()).difference(words))
    return words, vector_matrix(words, found, seed)
