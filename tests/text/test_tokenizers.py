"""All tokenizers fulfill the same contract."""

import base64
import json
import pickle
import random
import string
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from sacremoses import MosesDetokenizer, MosesTokenizer  # type: ignore[import-untyped]
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from torchtext.data.utils import get_tokenizer

import srulight.text.tokenizers.sentencepiece
from srulight.runtime.errors import InputError
from srulight.text.tokenizers import (
    BEGIN,
    BLANK,
    END,
    END_OF_LINE,
    PAD,
    UNKNOWN,
    Bytes,
    Characters,
    SentencePiece,
    Tokenizer,
    Words,
    from_settings,
)

TEXTS = [
    "Ein Mann läuft, und eine Frau lacht.",
    "Zwei Männer über der Straße: was für ein Tag!",
    "Eine junge Frau schläft (tief) im grünen Gras.",
    "Ein Hund läuft über die Straße; der Mann ruft ihn.",
    "Eine Frau und zwei junge Männer laufen durch das grüne Gras.",
    "Der Hund schläft, und ein junger Mann ruft: was für eine Straße!",
]
ODD = ["ñ", "Mañn", "ñ😀ñ Frauñ ñ", "Ein中文Mann, x\0y", "<s> Ein </s> <pad> <unk>", "", " ", "…½"]
ODD += ["a▁b", "\ud800", "  Ein \t Mann  ", "läuft 😀😀 läuft", "<eos> Ein", "<0x41>", "ΑΣ", "İ"]
FOUR = (PAD, UNKNOWN, BEGIN, END)

KINDS: dict[str, Callable[[], Tokenizer]] = {
    "english": Words,
    "english, lower case": lambda: Words(lowercase=True),
    "words of characters": lambda: Words("characters"),
    "space": lambda: Words("space"),
    "moses": lambda: Words("moses", "de"),
    "moses, lower case": lambda: Words("moses", "de", lowercase=True),
    "split already": lambda: Words("space", "de", detokenize=True),
    "basic_english": lambda: Words("basic_english"),
    "characters": Characters,
    "characters, lower case": lambda: Characters(lowercase=True),
    "bytes": Bytes,
    "unigram": lambda: SentencePiece(55),
    "bpe": lambda: SentencePiece(55, "bpe"),
    "bpe, lower case": lambda: SentencePiece(55, "bpe", "identity", lowercase=True),
}
LOSSLESS = ["space", "moses", "moses, lower case", "characters", "characters, lower case", "bytes"]
LOSSLESS += ["unigram", "bpe", "bpe, lower case"]
PLACING = ["english", "english, lower case", "words of characters", "space", "characters"]
PLACING += ["characters, lower case"]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_with_lines = pytest.mark.parametrize("lines", [False, True])


def fitted(kind: str, lines: bool = False) -> Tokenizer:
    texts = ["\n".join(TEXTS), "\n"] if lines else TEXTS
    return KINDS[kind]().fit(texts, FOUR, lines=lines)


@each_kind
def test_special_tokens_are_the_first_and_no_text_makes_them(kind: str) -> None:
    tokenizer = fitted(kind)
    assert tuple(tokenizer.tokens[:4]) == tuple(tokenizer.specials) == FOUR
    assert tokenizer.unknown == 1
    for text in ["<s> Ein </s> <pad>", "<pad>", *ODD]:
        assert not {0, 2, 3} & set(tokenizer.encode(text))


@pytest.mark.parametrize("kind", LOSSLESS)
def test_known_text_comes_back(kind: str) -> None:
    tokenizer = fitted(kind)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == (
            text.lower() if tokenizer.lowercase else text
        )


@each_kind
@each_with_lines
def test_names_are_as_many_as_ids_and_differ_only_where_unknown(kind: str, lines: bool) -> None:
    tokenizer = fitted(kind, lines)
    for text in [*TEXTS, *ODD, "Ein\nMann\n\nñ"]:
        ids, names = tokenizer.encode(text), tokenizer.tokenize(text)
        assert len(ids) == len(names)
        for i, name in zip(ids, names, strict=True):
            assert i == 1 or tokenizer.tokens[i] == name
        if 1 not in ids:
            assert tokenizer.join(names) == tokenizer.decode(ids)


@each_kind
@each_with_lines
def test_a_stream_is_the_decoded_text(kind: str, lines: bool) -> None:
    tokenizer = fitted(kind, lines)
    generator = random.Random(0)
    for text in [*TEXTS, *ODD, "Ein\nMann\n\nund"]:
        ids = tokenizer.encode(text)
        assert "".join(tokenizer.decode_stream(ids)) == tokenizer.decode(ids)
    for _ in range(100):
        ids = generator.choices(range(len(tokenizer.tokens)), k=20)
        assert "".join(tokenizer.decode_stream(ids)) == tokenizer.decode(ids)


@each_kind
def test_special_tokens_are_not_written(kind: str) -> None:
    tokenizer = fitted(kind)
    ids = tokenizer.encode("Ein Mann")
    assert tokenizer.decode([2, *ids, 3, 0, 0]) == tokenizer.decode(ids)
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == tokenizer.decode([0]) == ""
    assert list(tokenizer.decode_stream([])) == []


@each_kind
@each_with_lines
def test_plain_data_make_the_same(kind: str, lines: bool) -> None:
    tokenizer = fitted(kind, lines)
    again = from_settings(json.loads(json.dumps(tokenizer.settings)), FOUR)
    assert type(again) is type(tokenizer)
    assert again.settings == tokenizer.settings
    for name in ("tokens", "lowercase", "unknown", "line_end"):
        assert getattr(again, name) == getattr(tokenizer, name)
    for text in [*TEXTS, *ODD, "Ein\nMann"]:
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))
    assert pickle.loads(pickle.dumps(tokenizer)).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@each_kind
def test_fitting_leaves_the_options_and_says_the_same_twice(kind: str) -> None:
    tokenizer = KINDS[kind]()
    before = json.dumps(tokenizer.recipe)
    one = tokenizer.fit(TEXTS, FOUR)
    assert json.dumps(tokenizer.recipe) == before
    assert tokenizer.tokens == ()
    assert one.settings == tokenizer.fit(TEXTS, FOUR).settings


@pytest.mark.parametrize("kind", PLACING)
def test_places_are_those_of_the_tokens(kind: str) -> None:
    tokenizer = fitted(kind)
    for text in [*TEXTS, "Die\tÜBER-Straße \xa0 (it's)", "", "İx"]:
        found = [text[begin:end] for begin, end in tokenizer.spans(text)]
        names = tokenizer.tokenize(text)
        assert len(found) == len(names)
        for part, name in zip(found, names, strict=True):
            assert name in (part.lower() if tokenizer.lowercase else part)


def test_places_by_hand() -> None:
    assert Words().spans("it isn't.") == [(0, 2), (3, 5), (5, 8), (8, 9)]
    assert Words("space").spans(" it  isn't.") == [(1, 3), (5, 11)]
    assert Words("characters").spans("中 e\u0301") == [(0, 1), (2, 4)]
    assert Characters().spans("a b") == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in (*PLACING, "split already")]
)
def test_places_that_cannot_be_told(kind: str) -> None:
    with pytest.raises(InputError, match=r"(in the text, .*; use .*|be )english, characters"):
        KINDS[kind]().spans("a")


@each_kind
def test_text_is_compared_as_people_write_it(kind: str) -> None:
    text = "Ein  NEUER Tag , ½ &amp; ß !"
    expected = text
    if kind == "split already":
        expected = MosesDetokenizer("de").detokenize(text.split())
    assert KINDS[kind]().plain(text) == expected


@each_kind
def test_line_ends_are_tokens_where_texts_have_lines(kind: str) -> None:
    tokenizer = fitted(kind, lines=True)
    end = tokenizer.line_end
    assert end is not None
    assert end >= 4 or tokenizer.tokens[end] == END_OF_LINE
    ids = tokenizer.encode("Ein\n\nMann\n")
    assert [i for i, token in enumerate(ids) if token == end][-1] == len(ids) - 1
    assert ids.count(end) == 3
    assert ids == [*tokenizer.encode("Ein"), end, end, *tokenizer.encode("Mann"), end]
    assert fitted(kind).line_end is None


# Vocabularies without <unk>, as for speech recognition.

STRICT: dict[str, tuple[Tokenizer, str]] = {
    "characters": (Characters(), "character 'x' is not in the vocabulary"),
    "words": (Words("space"), "word 'x' is not in the vocabulary"),
    "pieces": (SentencePiece(14, "unigram", "identity"), "'x' is not in the vocabulary"),
}
SPOKEN = ["one two", "two three one", "three twenty two", "twenty one", "ten two one"] * 4


@pytest.mark.parametrize("kind", STRICT)
def test_what_is_unknown_is_refused_without_a_token_for_it(kind: str) -> None:
    tokenizer, why = STRICT[kind]
    tokenizer = tokenizer.fit(SPOKEN, (BLANK,))
    assert (tokenizer.tokens[0], tokenizer.unknown) == (BLANK, None)
    for text in SPOKEN:
        ids = tokenizer.encode(text)
        assert 0 not in ids
        assert tokenizer.decode(ids) == text
        assert "".join(map(tokenizer.text_of, ids)).strip() == text
    with pytest.raises(InputError, match=f"^{why}$"):
        tokenizer.encode("two x one")
    assert tokenizer.decode([0, *tokenizer.encode("two"), 0]) == "two"


def test_names_of_what_is_spoken_are_in_alphabetical_order() -> None:
    assert Characters("ba c").fit([], (BLANK,)).tokens == [BLANK, " ", "a", "b", "c"]
    assert Words("space").fit(["two one", "two"], (BLANK,)).tokens == [BLANK, "one", "two"]


def test_a_space_begins_a_word() -> None:
    pieces = SentencePiece(14, "bpe").fit(SPOKEN, (BLANK,))
    assert pieces.text_of(pieces.encode("two")[0]).startswith(" ")
    words = Words("space").fit(SPOKEN, (BLANK,))
    assert words.text_of(words.encode("two")[0]) == " two"


# Words and characters.


def test_words_are_ordered_by_frequency_and_then_by_alphabet() -> None:
    texts = ["b c a c", "d c <s> a", "b <unk> e"]
    # c occurs three times, a and b twice, d and e once; names of special tokens are not words.
    words = Words("space").fit(texts, FOUR)
    assert words.tokens == [*FOUR, "c", "a", "b", "d", "e"]
    assert words.encode("a  e <s> x c") == [5, 8, 1, 1, 4]
    assert Words("space", min_count=2).fit(texts, FOUR).tokens == [*FOUR, "c", "a", "b"]
    assert Words("space", max_size=2).fit(texts, FOUR).tokens == [*FOUR, "c", "a"]
    assert Characters(max_size=2).fit(["abba", "aca"], FOUR).tokens == [*FOUR, "a", "b"]
    with pytest.raises(
        InputError, match=r"no word occurs min_count=4 times in the training text; lower"
    ):
        Words("space", min_count=4).fit(texts, FOUR)
    for empty in ([], ["", " "], ["\n"]):
        with pytest.raises(InputError, match="expected words in the training text, got none"):
            Words().fit(empty, FOUR, lines=True)


def test_lists_of_tokens_are_taken_as_they_are() -> None:
    words = Words(lowercase=True).fit([["It", "isn't"], ["It"]], FOUR)
    assert words.tokens == [*FOUR, "It", "isn't"]
    assert words.encode(["isn't", "it", "It"]) == [5, 1, 4]
    more = words.with_vocabulary([*words.tokens, "extra", "It"], FOUR)
    assert more.tokens == [*FOUR, "It", "isn't", "extra"]


def test_a_closed_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("the\n\n Cat \n<unk>\nthe\n")
    words = Words("space", file=str(path)).fit(["not read"], (PAD, UNKNOWN), lines=True)
    assert words.tokens == [PAD, UNKNOWN, "the", "Cat", END_OF_LINE]
    assert words.encode("the  Cat\n\ndog the") == [2, 3, 4, 4, 1, 2]
    assert words.decode([2, 3, 4, 4, 1, 2]) == "the Cat\n\n<unk> the"
    assert "".join(words.decode_stream([2, 3], before=3)) == " the Cat"
    assert "".join(words.decode_stream([2, 3], before=4)) == "the Cat"
    path.write_text("the\ntwo words\n")
    with pytest.raises(InputError, match=r"words:2: expected one word per line, got 'two words'"):
        Words(file=str(path)).fit([], FOUR)


def test_characters_that_are_unknown_are_marked() -> None:
    characters = Characters("ab\N{GREEK SMALL LETTER PI}").fit([], (PAD, UNKNOWN), lines=True)
    assert characters.encode("aπ\nz") == [2, 4, 5, 1]
    assert list(characters.decode_stream([2, 4, 5, 1])) == [*"aπ\n", "\N{REPLACEMENT CHARACTER}"]


def test_bytes_wait_for_a_whole_character() -> None:
    tokenizer = Bytes().fit([], ())
    assert len(tokenizer.tokens) == 256
    assert tokenizer.encode("aπ\n") == list("aπ\n".encode())
    assert list(tokenizer.decode_stream("aπ\n".encode())) == ["a", "π", "\n"]
    assert list(tokenizer.decode_stream("bπ".encode()[:-1])) == ["b", "\N{REPLACEMENT CHARACTER}"]
    assert Bytes().fit([], (BLANK,)).encode("a") == [98]


def test_words_are_those_of_the_libraries() -> None:
    text = 'Wie geht\'s, Dr. Müller? "Gut", sagt er (z.B. heute) & geht.'
    expected = MosesTokenizer("de").tokenize(text, escape=False)
    assert Words("moses", "de").tokenize(text) == expected
    assert Words("moses").in_language("de").tokenize(text) == expected
    # The option takes precedence over the language of the data.
    assert Words("moses", "en").in_language("de").language == "en"
    english = get_tokenizer("basic_english")
    assert Words("basic_english").tokenize("Isn't it?") == english("Isn't it?")


def test_moses_sees_the_case_before_it_is_lost() -> None:
    text = "Mr. Smith knows no. He goes."  # "no. he" could be an abbreviation
    words = Words("moses", lowercase=True).tokenize(text)
    assert words == ["mr.", "smith", "knows", "no", ".", "he", "goes", "."]


def test_split_text_is_put_together_by_moses() -> None:
    text = "the boy &apos;s t-shirt @-@ like top , isn &apos;t it ?"
    words = Words("space", detokenize=True).fit([text], FOUR)
    assert words.decode(words.encode(text)) == "the boy's t-shirt-like top, isn't it?"
    assert words.plain("A new Word !") == "A new Word!"


def test_options_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"split must be one of english, .*, got 'enlgish'"):
        Words("enlgish")  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="split must be 'space' if detokenize is true, got 'moses'"
    ):
        Words("moses", detokenize=True)
    with pytest.raises(InputError, match="min_count must be at least 1, got 0"):
        Words(min_count=0)
    with pytest.raises(InputError, match="size must be at least 1, got 0"):
        SentencePiece(0)


def test_packages_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sacremoses", "nltk"):
        monkeypatch.setitem(sys.modules, name, None)
    assert Words("space").fit(["ein Hund"], FOUR).encode("Hund")
    missing = r'sacremoses, .* run pip install "srulight\[translation\]"'
    with pytest.raises(InputError, match=missing):
        Words("moses")
    with pytest.raises(InputError, match=missing):
        Words("space", detokenize=True)
    with pytest.raises(InputError, match="split=toktok needs a package that is not installed"):
        Words("toktok")


# Subwords.


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_pieces_are_those_of_sentencepiece(model: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with (tmp_path / "own.model").open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=file, vocab_size=55, model_type=model,
            character_coverage=1.0, pad_id=0, unk_id=1, bos_id=2, eos_id=3, minloglevel=2,
            num_threads=1,
        )  # fmt: skip
    processor = SentencePieceProcessor(model_file=str(tmp_path / "own.model"))
    trained = SentencePiece(55, model).fit(TEXTS, FOUR)
    read = SentencePiece(file=str(tmp_path / "own.model")).fit([], FOUR)
    generator = random.Random(1)
    characters = sorted({*"".join(TEXTS), " ", "ñ"})
    for _ in range(100):
        text = "".join(generator.choices(characters, k=generator.randint(1, 30)))
        assert trained.encode(text) == read.encode(text) == processor.encode(text)
        assert trained.tokenize(text) == processor.encode(text, out_type=str)
        ids = generator.choices(range(4, 55), k=8)
        assert trained.decode(ids) == " ".join(processor.decode(ids).split())


def test_characters_are_made_uniform_if_asked() -> None:
    text = "Ein Mann lau\N{COMBINING DIAERESIS}ft, \N{LATIN SMALL LIGATURE FI}"
    tokenizer = SentencePiece(55, "bpe").fit([*TEXTS, "fi"], FOUR)
    assert tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFKC", text)
    tokenizer = SentencePiece(55, "bpe", "identity").fit([*TEXTS, text], FOUR)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_pieces_that_are_not_known_are_written_as_they_are() -> None:
    tokenizer = fitted("unigram")
    names = ["▁Obama", "▁", "😀", "▁sah", "zz", ",", "▁Prag", "."]
    assert tokenizer.join(names) == "Obama 😀 sahzz, Prag."
    # Consecutive unknown characters are one token.
    assert tokenizer.encode("ñ😀 Mann").count(1) == 1
    assert "ñ😀" in tokenizer.tokenize("ñ😀 Mann")
    assert tokenizer.decode(tokenizer.encode("ñ😀 Mann 😀")) == "<unk> Mann <unk>"
    assert tokenizer.decode(tokenizer.encode("Maññn")) == "Ma<unk>n"


def test_lower_case_keeps_the_sharp_s() -> None:
    tokenizer = fitted("bpe, lower case")
    assert tokenizer.decode(tokenizer.encode("ÜBER DIE Straße")) == "über die straße"


def test_sizes_that_the_text_does_not_allow() -> None:
    with pytest.raises(
        InputError, match=r"size must be at most \d+ for this text, got 5000"
    ) as found:
        SentencePiece(5000, "bpe").fit(TEXTS, FOUR)
    most = int(str(found.value).split("at most ")[1].split()[0])
    assert len(SentencePiece(most, "bpe").fit(TEXTS, FOUR).tokens) == most
    # The four special tokens, the character for a space, a and b.
    with pytest.raises(InputError, match=r"^size must be at least 7, .*, got 6; raise size"):
        SentencePiece(6).fit(["ab ba"], FOUR)
    with pytest.raises(InputError, match=r"size must be at least 5, .*, got 4"):
        SentencePiece(4).fit(TEXTS, FOUR)
    with pytest.raises(InputError, match="expected subwords in the training text, got none"):
        SentencePiece(100).fit(["", " "], FOUR)


def test_what_looks_like_a_line_end_is_text_where_there_are_no_lines() -> None:
    assert fitted("bpe").join(["▁Ein", "<eos>", "▁Mann"]) == "Ein<eos> Mann"
    assert fitted("bpe", lines=True).join(["▁Ein", "<eos>", "▁Mann"]) == "Ein\nMann"


def test_an_error_in_the_text_is_told() -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS
        raise InputError("train.de:5: not UTF-8")

    with pytest.raises(InputError, match=r"^train\.de:5: not UTF-8$"):
        SentencePiece(55).fit(texts(), FOUR)


def test_pieces_come_from_all_of_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srulight.text.tokenizers.sentencepiece, "_MOST_LINES", 10)
    letters = set(string.ascii_lowercase)
    known = letters & set(SentencePiece(16, "bpe").fit(sorted(letters), FOUR).tokens)
    assert len(known) == 10  # ten of 26 lines were sampled
    assert known & set("abcdefghijklm")
    assert known & set("nopqrstuvwxyz")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "own.model"
    tokenizer = SentencePiece(file=str(path))
    with pytest.raises(InputError, match=r"own\.model is not in"):
        tokenizer.fit([], FOUR)
    path.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"own\.model: expected a SentencePiece model, got some"):
        tokenizer.fit([], FOUR)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"own\.model: expected a SentencePiece model, got an emp"):
        tokenizer.fit([], FOUR)
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=file, vocab_size=55, minloglevel=2
        )
    flags = "--pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3"
    with pytest.raises(InputError, match=f"must be <pad>, <unk>, <s>, </s>; .*{flags}$"):
        tokenizer.fit([], FOUR)
    flags = "--pad_id=0 --unk_id=1 --bos_id=-1 --eos_id=-1 --control_symbols=<eos>"
    missing = pytest.raises(InputError, match=f"must be <pad>, <unk>, <eos>; .*{flags}$")
    with missing:
        tokenizer.fit([], (PAD, UNKNOWN), lines=True)
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=file, vocab_size=55, minloglevel=2,
            pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, user_defined_symbols=["<eos>"],
        )  # fmt: skip
    with missing:  # text could produce this token
        tokenizer.fit([], (PAD, UNKNOWN), lines=True)


# Untrusted input.


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "Letters"}, "kind must be the name of a tokenizer, .*, got .Letters."),
        ({"kind": 3}, "tokenizer.kind must be of type str"),
        ({"vocabulary": ["a", 3]}, r"tokenizer.vocabulary\[1\] must be of type str"),
        ({"vocabulary": None}, "tokenizer.vocabulary must be of type list"),
        ({"lowercase": 1}, "tokenizer.lowercase must be of type bool"),
        ({"specials": [PAD]}, r"tokenizer.specials must be \['<pad>', '<unk>'.*got \['<pad>'\]"),
        ({"split": "os.system"}, "split must be one of"),
        ({"kind": "SentencePiece", "vocabulary": "AAAA"}, "expected a SentencePiece model"),
        ({"kind": "SentencePiece", "vocabulary": "?"}, "expected a SentencePiece model"),
    ],
)
def test_settings_are_not_trusted(changes: dict[str, Any], why: str) -> None:
    settings = {**Words("space").fit(TEXTS, FOUR).settings, **changes}
    with pytest.raises(InputError, match=why):
        from_settings(settings, FOUR)


@pytest.mark.parametrize("name", ["kind", "vocabulary", "lines", "split"])
def test_settings_are_complete(name: str) -> None:
    settings = Words("space").fit(TEXTS, FOUR).settings
    del settings[name]
    with pytest.raises(InputError, match=f"tokenizer lacks {name}"):
        from_settings(settings, FOUR)


def test_models_with_other_special_tokens_are_refused() -> None:
    settings = SentencePiece(55, "bpe").fit(TEXTS, (PAD, UNKNOWN)).settings
    with pytest.raises(InputError, match="must be <pad>, <unk>, <s>, </s>; train"):
        from_settings({**settings, "specials": list(FOUR)}, FOUR)
    base64.b64decode(settings["vocabulary"], validate=True)


def test_a_command_line_names_a_class_and_its_options() -> None:
    parser = ArgumentParser()
    parser.add_argument("--tokenizer", type=Tokenizer)
    args = ["--tokenizer=Words", "--tokenizer.split=space", "--tokenizer.lowercase=true"]
    made = parser.instantiate_classes(parser.parse_args(args)).tokenizer
    assert made.tokenize("It's A") == ["it's", "a"]
    made = parser.instantiate_classes(parser.parse_args(["--tokenizer=Bytes"])).tokenizer
    assert isinstance(made, Bytes)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = "{'torch', 'torchtext', 'sacremoses', 'sentencepiece'}"
    code = f"import srulight.text.tokenizers, sys; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


def test_a_tokenizer_of_another_package_is_made_again_once_it_is_imported() -> None:
    class Loud(Words):
        """Splits text into uppercase words."""

        def tokenize(self, text: str) -> list[str]:
            return super().tokenize(text.upper())

    fitted = Loud("space").with_vocabulary(["A"], (PAD, UNKNOWN))
    globals()["Loud"] = Loud  # a local class cannot be found by name in its module
    try:
        made = from_settings(fitted.settings, (PAD, UNKNOWN))
    finally:
        del globals()["Loud"]
    assert type(made) is Loud
    assert made.tokenize("a b") == ["A", "B"]
