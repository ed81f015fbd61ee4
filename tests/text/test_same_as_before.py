"""The new tokenizers give what the old ones gave, as long as both are there."""

import base64
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import srulight.text.line_tokenizers as lines
from srulight.text import spelling, tokens, vocabulary
from srulight.text.tokenizers import (
    BEGIN,
    BLANK,
    END,
    PAD,
    UNKNOWN,
    Bytes,
    Characters,
    SentencePiece,
    Words,
)
from srulight.text.tokenizers.splitting import Splitting, word_spans

TWO = (PAD, UNKNOWN)
FOUR = (PAD, UNKNOWN, BEGIN, END)
SIGNS = [
    *"aabcdeEfghiIKLMNOPQRSTUVWXYZ        ..,'\"&;-/!?()1290", "\t", "\u0130", "\u2019", "\u00e9",
    "e\u0301", "\u00df", "\u1e9e", "\u0391\u03a3", "\u03a3", "\u4e2d", "\u0e17\u0e35\u0e48",
    "\u200b", "\u00ad", "\xa0", "\x1c", "\ufb01", "\u00bd", "\U0001f600", "n't",
    " don't ", "Mr. ", "<unk>", " <pad> ", " <s> ", "<eos>", " <eos> ", "&apos;", "@-@", "\u2581",
    "Stra\u00dfe ", "the ", "The ",
]  # fmt: skip


def texts(count: int = 400, newlines: bool = False) -> list[str]:
    generator = random.Random(count)
    signs = [*SIGNS, "\n", "\n\n"] if newlines else SIGNS
    found = ["".join(generator.choices(signs, k=generator.randint(0, 40))) for _ in range(count)]
    return ["", " ", "plain text , split", *found]


TRAIN, NEW = texts(300), texts(500)
SPLITS = ["english", "characters", "space", "basic_english"]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("limits", [(1, None), (2, None), (3, 20)])
def test_classification(split: Splitting, lowercase: bool, limits: tuple[int, int | None]) -> None:
    old_split = vocabulary.get_tokenizer(split)
    old_words = [old_split(text.lower() if lowercase else text) for text in TRAIN]
    old = vocabulary.Vocabulary.from_counts(Counter(w for s in old_words for w in s), *limits)
    new = Words(split, lowercase=lowercase, min_count=limits[0], max_size=limits[1])
    new_words = [new.tokenize(text) for text in TRAIN]
    assert new_words == old_words
    fitted = new.fit(new_words, TWO)
    assert fitted.tokens == new.fit(TRAIN, TWO).tokens == old.words
    for text in NEW:
        expected = old.encode(old_split(text.lower() if lowercase else text))
        assert (fitted.encode(text) or [1]) == expected


@pytest.mark.parametrize("split", ["english", "characters"])
def test_questions(split: Splitting) -> None:
    for text in NEW:
        assert Words(split).spans(text) == list(vocabulary.word_spans(text, split))  # type: ignore[arg-type]
        assert list(word_spans(text, split)) == list(vocabulary.word_spans(text, split))  # type: ignore[arg-type]
    words = [word for text in TRAIN for word in vocabulary.get_tokenizer(split)(text)]
    counts = Counter(words + ["<pad>"] * 50)
    old = vocabulary.Vocabulary.from_counts(counts, 2, 30).words
    new = Words(split, min_count=2, max_size=30)
    assert [*TWO, *new.rank(counts, TWO)] == old
    known = new.with_vocabulary([*reversed(old[2:]), "extra"], TWO)
    assert known.encode(["extra", "nothing", "<pad>", old[2]]) == [len(old), 1, 1, len(old) - 1]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_language_modelling_words(split: Splitting, lowercase: bool) -> None:
    train, others = "\n".join(texts(200, True)), "\n".join(texts(210, True))
    counts = Counter(tokens.split_words(train, split, lowercase))
    words = vocabulary.Vocabulary.from_counts(counts, 2).words
    old = tokens.Words(vocabulary.Vocabulary(words), split, lowercase)
    new = Words(split, lowercase=lowercase, min_count=2).fit([train], TWO, lines=True)
    assert (new.tokens, new.line_end) == (words, old.line_end)
    assert new.encode(others) == old.encode(others)
    assert new.encode("") == old.encode("") == []
    generator = random.Random(0)
    for before in (0, 1, old.line_end, 3):
        ids = generator.choices(range(1, len(words)), k=200)
        ids += [old.line_end, old.line_end, 5]
        assert list(new.decode_stream(ids, before)) == list(old.decode(ids, before))


@pytest.mark.parametrize("limits", [(1, None), (3, 30)])
def test_language_modelling_characters(limits: tuple[int, int | None]) -> None:
    train, others = "\n".join(texts(200, True)), "\n".join(texts(210, True))
    known = vocabulary.Vocabulary.from_counts(Counter(train), *limits)
    old = tokens.Characters(known)
    new = Characters(None, False, *limits).fit([train], TWO, lines=True)
    assert (new.tokens, new.line_end) == (known.words, old.line_end)
    assert new.encode(others) == old.encode(others)
    ids = old.encode(others)
    assert list(new.decode_stream(ids)) == list(old.decode(ids, 5))


def test_language_modelling_bytes() -> None:
    old, new = tokens.Bytes(), Bytes().fit([], (), lines=True)
    assert (len(new.tokens), new.line_end) == (old.size, old.line_end)
    for text in NEW:
        ids = old.encode(text)
        assert new.encode(text) == ids
        assert list(new.decode_stream(ids[:-1])) == list(old.decode(ids[:-1], 10))


def test_closed_vocabularies(tmp_path: Path) -> None:
    for given in (["b", "a"], ["<unk>", "<eos>", "b", "b"], ["x", "<pad>"]):
        (tmp_path / "words").write_text("\n".join(given))
        expected = tokens.closed_vocabulary(given, "word").words
        assert Words(file=str(tmp_path / "words")).fit([], TWO, lines=True).tokens == expected
    for alphabet in ("ba", "b\na c", "πb"):
        expected = tokens.closed_vocabulary(alphabet, "char").words
        assert Characters(alphabet).fit([], TWO, lines=True).tokens == expected


def test_speech() -> None:
    train = [spelling.normalize(text, lowercase=False) for text in TRAIN]
    new_texts = [spelling.normalize(text, lowercase=False) for text in TRAIN[::-1]]
    pairs: list[tuple[spelling.Speller, Any]] = [
        (spelling.Characters("".join(train)), Characters().fit(train, (BLANK,))),
        (spelling.Characters("zab c"), Characters("zab c").fit(train, (BLANK,))),
        (spelling.Words(w for t in train for w in t.split()), Words("space").fit(train, (BLANK,))),
    ]
    kinds: tuple[Any, ...] = ("unigram", "bpe")
    for kind in kinds:
        old_pieces = spelling.Pieces.train(train, 150, kind)
        new_pieces = SentencePiece(150, kind, "identity").fit(train, (BLANK,))
        pairs.append((old_pieces, new_pieces))
    for old, new in pairs:
        assert new.tokens == old.tokens
        assert [new.text_of(i) for i in range(1, len(old.tokens))] == [
            old.spell(i) for i in range(1, len(old.tokens))
        ]
        for text in new_texts:
            try:
                ids = old.encode(text)
            except ValueError:
                with pytest.raises(ValueError, match="is not in the vocabulary"):
                    new.encode(text)
                continue
            assert new.encode(text) == ids
        generator = random.Random(0)
        for _ in range(100):
            ids = generator.choices(range(1, len(old.tokens)), k=20)
            assert " ".join(new.decode(ids).split()) == old.decode(ids)


def pairs(name: str) -> tuple[lines.Tokenizer, Any]:
    lower = "lower" in name
    if "unigram" in name or "bpe" in name:
        kind: Any = name.split()[0]
        old: lines.Tokenizer = lines.Subwords.train(TRAIN, 150, kind, lower)
        return old, SentencePiece(150, kind, lowercase=lower).fit(TRAIN, FOUR)
    split: Any = name.split()[0]
    detokenize = "detokenize" in name
    old = lines.Words.train(TRAIN, 2, 100, split, "de", lower, detokenize)
    new = Words(split, None, lower, detokenize, 2, 100).in_language("de")
    return old, new.fit(TRAIN, FOUR)


@pytest.mark.parametrize(
    "name",
    ["unigram", "bpe", "bpe lower", "moses", "moses lower", "space", "space lower detokenize"],
)
def test_translation(name: str) -> None:
    old, new = pairs(name)
    assert new.tokens == old.tokens
    if "model" in old.settings:
        assert new.vocabulary == old.settings["model"]
    generator = random.Random(0)
    for text in NEW:
        assert new.encode(text) == old.encode(text)
        assert new.tokenize(text) == old.split(text)
        assert new.join(new.tokenize(text)) == old.join(old.split(text))
        assert new.plain(text) == old.plain(text)
        ids = generator.choices(range(len(old.tokens)), k=20)
        assert new.decode(ids) == old.decode(ids)


def test_a_model_in_a_file(tmp_path: Path) -> None:
    old = lines.Subwords.train(TRAIN, 150, "bpe", lowercase=True)
    path = tmp_path / "own.model"
    path.write_bytes(base64.b64decode(old.settings["model"]))
    new = SentencePiece(lowercase=True, file=str(path)).fit([], FOUR)
    assert new.tokens == lines.Subwords.read(path, lowercase=True).tokens
    assert [new.encode(text) for text in NEW] == [old.encode(text) for text in NEW]
