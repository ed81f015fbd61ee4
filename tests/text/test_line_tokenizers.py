"""Lines become token ids and come back."""

import base64
import json
import random
import string
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from sentencepiece import SentencePieceProcessor

import srulight.text.line_tokenizers
from srulight.runtime.errors import InputError
from srulight.text.line_tokenizers import (
    BEGIN,
    END,
    PADDING,
    UNKNOWN_ID,
    Subwords,
    Tokenizer,
    Words,
)
from srulight.text.line_tokenizers import make_tokenizer as make

GERMAN = [
    "Ein Mann läuft, und eine Frau lacht.",
    "Zwei Männer über der Straße: was für ein Tag!",
    "Eine junge Frau schläft (tief) im grünen Gras.",
    "Ein Hund läuft über die Straße; der Mann ruft ihn.",
    "Eine Frau und zwei junge Männer laufen durch das grüne Gras.",
    "Der Hund schläft, und ein junger Mann ruft: was für eine Straße!",
]
SIZE = 55
SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"]
ODD = ["ñ", "Mañn", "ñ😀ñ Frauñ ñ", "Ein中文Mann, x\0y", "<s> Ein </s> <pad> <unk>", "", " ", "…½ﬁ"]
ODD += ["a▁b", "\ud800", "  Ein \t Mann  ", "läuft 😀😀 läuft"]


def subwords(model: Literal["unigram", "bpe"] = "unigram", lowercase: bool = False) -> Subwords:
    return Subwords.train(GERMAN, SIZE, model, lowercase)


def spaced(lines: list[str]) -> Words:
    return Words.train(lines, 1, None, "space", "de", lowercase=False, detokenize=False)


def moses(lines: list[str], language: str, lowercase: bool = False) -> Words:
    return Words.train(lines, 1, None, "moses", language, lowercase, detokenize=False)


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "unigram": subwords,
    "bpe": lambda: subwords("bpe"),
    "space": lambda: spaced(GERMAN),
    "moses": lambda: moses(GERMAN, "de"),
    "lowercase": lambda: subwords(lowercase=True),
    "lowercase words": lambda: moses(GERMAN, "de", lowercase=True),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_the_first_four_tokens(kind: str) -> None:
    assert (PADDING, UNKNOWN_ID, BEGIN, END) == (0, 1, 2, 3)
    assert KINDS[kind]().tokens[:4] == SPECIALS


@each_kind
def test_lines_come_back(kind: str) -> None:
    tokenizer = KINDS[kind]()
    for line in GERMAN:
        ids = tokenizer.encode(line)
        assert min(ids) > END
        assert tokenizer.decode(ids) == (line.lower() if tokenizer.lowercase else line)
        assert tokenizer.join(tokenizer.split(line)) == tokenizer.decode(ids)


@each_kind
def test_names_are_as_many_as_ids_and_differ_only_where_unknown(kind: str) -> None:
    tokenizer = KINDS[kind]()
    for line in GERMAN + ODD:
        ids, names = tokenizer.encode(line), tokenizer.split(line)
        assert len(ids) == len(names)
        for i, name in zip(ids, names, strict=True):
            assert i == UNKNOWN_ID or tokenizer.tokens[i] == name


@each_kind
def test_text_does_not_make_control_tokens(kind: str) -> None:
    ids = KINDS[kind]().encode("<s> Ein </s> <pad>")
    assert not {PADDING, BEGIN, END} & set(ids)


@each_kind
def test_padding_begin_and_end_are_not_written(kind: str) -> None:
    tokenizer = KINDS[kind]()
    ids = tokenizer.encode("Ein Mann")
    assert tokenizer.decode([BEGIN, *ids, END, PADDING]) == tokenizer.decode(ids)
    assert tokenizer.decode([]) == ""


@each_kind
def test_plain_data_make_the_same(kind: str) -> None:
    tokenizer = KINDS[kind]()
    again = make(json.loads(json.dumps(tokenizer.settings)))
    assert type(again) is type(tokenizer)
    assert again.settings == tokenizer.settings
    assert again.tokens == tokenizer.tokens
    assert again.lowercase == tokenizer.lowercase
    for line in GERMAN:
        assert again.encode(line) == tokenizer.encode(line)
        assert again.decode(again.encode(line)) == tokenizer.decode(tokenizer.encode(line))


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_training_twice_makes_the_same(model: Literal["unigram", "bpe"]) -> None:
    assert subwords(model).settings == subwords(model).settings


def test_both_kinds_of_model_are_made() -> None:
    assert subwords("unigram").tokens != subwords("bpe").tokens


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_subwords_of_any_known_characters_come_back(model: Literal["unigram", "bpe"]) -> None:
    tokenizer = subwords(model)
    characters = sorted({*"".join(GERMAN), " "})
    generator = random.Random(1)
    for _ in range(200):
        line = "".join(generator.choices(characters, k=generator.randint(1, 30)))
        assert tokenizer.decode(tokenizer.encode(line)) == " ".join(line.split())


def test_characters_are_made_uniform() -> None:
    line = "Ein Mann lau\N{COMBINING DIAERESIS}ft, \N{LATIN SMALL LIGATURE FI}"
    tokenizer = Subwords.train([*GERMAN, "fi"], SIZE, "bpe", lowercase=False)
    assert tokenizer.decode(tokenizer.encode(line)) == unicodedata.normalize("NFKC", line)


def test_subwords_are_joined_as_sentencepiece_joins_them() -> None:
    tokenizer = subwords()
    processor = SentencePieceProcessor(model_proto=base64.b64decode(tokenizer.settings["model"]))
    generator = random.Random(1)
    for _ in range(200):
        ids = generator.choices(range(4, len(tokenizer.tokens)), k=8)
        expected = " ".join(processor.decode(ids).split())
        assert tokenizer.join([tokenizer.tokens[i] for i in ids]) == expected


def test_subwords_that_are_not_known_are_written_as_they_are() -> None:
    tokenizer = subwords()
    assert tokenizer.join(["▁Obama", "▁", "😀", "▁sah", "zz", ",", "▁Prag", "."]) == (
        "Obama 😀 sahzz, Prag."
    )
    # Runs of unknown characters are one token.
    assert tokenizer.encode("ñ😀 Mann").count(UNKNOWN_ID) == 1
    assert "ñ😀" in tokenizer.split("ñ😀 Mann")
    assert tokenizer.decode(tokenizer.encode("ñ😀 Mann 😀")) == "<unk> Mann <unk>"
    assert tokenizer.decode(tokenizer.encode("Maññn")) == "Ma<unk>n"


@pytest.mark.parametrize("kind", ["lowercase", "lowercase words"])
def test_lower_case_keeps_the_sharp_s(kind: str) -> None:
    tokenizer = KINDS[kind]()
    assert tokenizer.encode("DIE Straße") == tokenizer.encode("die straße")
    assert tokenizer.decode(tokenizer.encode("ÜBER DIE Straße")) == "über die straße"


def test_sizes_that_the_text_does_not_allow() -> None:
    with pytest.raises(InputError, match=r"5000 subwords .* has enough for \d+; choose") as found:
        Subwords.train(GERMAN, 5000, "bpe", lowercase=False)
    most = int(str(found.value).split("enough for ")[1].split(";")[0])
    assert len(Subwords.train(GERMAN, most, "bpe", lowercase=False).tokens) == most
    # The four special tokens, the sign for a space, a and b.
    with pytest.raises(InputError, match=r"^6 subwords .* its characters alone need 7; choose"):
        Subwords.train(["ab ba"], 6, "unigram", lowercase=False)
    with pytest.raises(InputError, match="at least 5 subwords, got a size of 0"):
        Subwords.train(GERMAN, 0, "unigram", lowercase=False)
    with pytest.raises(InputError, match="there is no text"):
        Subwords.train(["", " "], 100, "unigram", lowercase=False)


def test_an_error_in_the_text_is_told() -> None:
    def lines() -> Iterator[str]:
        yield from GERMAN
        raise InputError("train.de:5: not UTF-8")

    with pytest.raises(InputError, match=r"^train\.de:5: not UTF-8$"):
        Subwords.train(lines(), SIZE, "bpe", lowercase=False)


def test_pieces_come_from_all_of_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srulight.text.line_tokenizers, "_MOST_LINES", 10)
    letters = set(string.ascii_lowercase)
    tokenizer = Subwords.train(sorted(letters), 16, "bpe", lowercase=False)
    known = letters & set(tokenizer.tokens)
    assert len(known) == 10  # of 26 lines, ten were drawn
    assert known & set("abcdefghijklm")
    assert known & set("nopqrstuvwxyz")


def test_a_model_in_a_file(tmp_path: Path) -> None:
    trained = subwords("bpe")
    path = tmp_path / "own.model"
    path.write_bytes(base64.b64decode(trained.settings["model"]))
    assert Subwords.read(path, lowercase=False).settings == trained.settings
    assert Subwords.read(path, lowercase=True).encode("Über der") == trained.encode("über der")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    from sentencepiece import SentencePieceTrainer

    path = tmp_path / "own.model"
    with pytest.raises(InputError, match=r"own\.model is not in"):
        Subwords.read(path, lowercase=False)
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"own\.model is not a SentencePiece model"):
        Subwords.read(path, lowercase=False)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"own\.model is not a SentencePiece model: it is empty"):
        Subwords.read(path, lowercase=False)
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(GERMAN), model_writer=file, vocab_size=SIZE, minloglevel=2
        )
    with pytest.raises(InputError, match=r"must be tokens 0 to 3, not \(-1, 0, 1, 2\); train it"):
        Subwords.read(path, lowercase=False)


def test_words_are_ordered_by_frequency_and_then_by_alphabet() -> None:
    lines = ["b c a c", "d c <s> a", "b <unk> e"]
    # c three times, a and b twice, d and e once; the names of special tokens are no words.
    assert spaced(lines).tokens == [*SPECIALS, "c", "a", "b", "d", "e"]
    assert spaced(lines).encode("a  e <s> x c") == [5, 8, 1, 1, 4]
    frequent = Words.train(lines, 2, None, "space", "en", lowercase=False, detokenize=False)
    assert frequent.tokens == [*SPECIALS, "c", "a", "b"]
    few = Words.train(lines, 1, 2, "space", "en", lowercase=False, detokenize=False)
    assert few.tokens == [*SPECIALS, "c", "a"]
    with pytest.raises(InputError, match="no word of the text occurs 4 times"):
        Words.train(lines, 4, None, "space", "en", lowercase=False, detokenize=False)


def test_unknown_words_stand_as_they_are() -> None:
    tokenizer = spaced(["ein Hund"])
    assert tokenizer.split("ein  Pferd") == ["ein", "Pferd"]
    assert tokenizer.decode(tokenizer.encode("ein Pferd")) == "ein <unk>"


def test_moses_splits_german() -> None:
    line = 'Wie geht\'s, Dr. Müller? "Gut", sagt er (z.B. heute).'
    tokenizer = moses([line], "de")
    expected = 'Wie geht \' s , Dr. Müller ? " Gut " , sagt er ( z.B. heute ) .'
    assert tokenizer.split(line) == expected.split()
    assert tokenizer.join(["Dr.", "Müller", ",", '"', "gut", '"', "(", "ja", ")", "!"]) == (
        'Dr. Müller, "gut" (ja)!'
    )


def test_moses_splits_english() -> None:
    line = "Mr. Smith's dog isn't here, is it? \"No!\" (It left at 5 p.m. & ate 1,500.)"
    tokenizer = moses([line], "en")
    expected = (
        "Mr. Smith 's dog isn 't here , is it ? \" No ! \" ( It left at 5 p.m. & ate 1,500 . )"
    )
    assert tokenizer.split(line) == expected.split()
    assert tokenizer.decode(tokenizer.encode(line)) == line


def test_the_rules_see_the_case_before_it_is_lost() -> None:
    line = "Mr. Smith knows no. He goes."  # before a small letter it could be any short form
    tokenizer = moses([line], "en", lowercase=True)
    assert tokenizer.split(line) == ["mr.", "smith", "knows", "no", ".", "he", "goes", "."]


def test_split_text_is_put_together_by_moses() -> None:
    line = "the boy &apos;s t-shirt @-@ like top , isn &apos;t it ?"
    tokenizer = Words.train([line], 1, None, "space", "en", lowercase=False, detokenize=True)
    assert tokenizer.decode(tokenizer.encode(line)) == "the boy's t-shirt-like top, isn't it?"
    assert tokenizer.plain(line) == "the boy's t-shirt-like top, isn't it?"
    assert tokenizer.plain("A new Word !") == "A new Word!"
    assert make(tokenizer.settings).plain(line) == tokenizer.plain(line)


@each_kind
def test_text_that_is_as_people_write_it_is_compared_as_it_is(kind: str) -> None:
    assert KINDS[kind]().plain("Ein  NEUER Tag , ½ &amp; ß !") == "Ein  NEUER Tag , ½ &amp; ß !"


def test_a_missing_sacremoses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    assert spaced(["ein Hund"]).encode("Hund")
    missing = pytest.raises(InputError, match=r'sacremoses: pip install "srulight\[translation\]"')
    with missing:
        Words(["Hund"], "moses", "de", lowercase=False, detokenize=False)
    with missing:
        Words(["Hund"], "space", "de", lowercase=False, detokenize=True)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = "{'torch', 'sacremoses', 'sentencepiece'}"
    code = f"import srulight.text.line_tokenizers, sys; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
