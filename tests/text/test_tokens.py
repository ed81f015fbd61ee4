"""Text becomes tokens and text again."""

import pytest

from srulight.text.tokens import Bytes, Characters, closed_vocabulary, get_codec


def words(lowercase: bool = False) -> dict[str, object]:
    known = closed_vocabulary(["the", "cat", "Cat"], "word").words
    return {"level": "word", "words": known, "tokenizer": "space", "lowercase": lowercase}


def test_words() -> None:
    codec = get_codec(words())
    assert (codec.size, codec.line_end) == (6, 5)
    ids = codec.encode("the  Cat\n\ndog the")
    assert ids == [2, 4, 5, 5, 1, 2]
    assert "".join(codec.decode(ids, codec.line_end)) == "the Cat\n\n<unk> the"
    assert "".join(codec.decode(ids, 3)).startswith(" the")
    assert get_codec(words(lowercase=True)).encode("The Cat") == [2, 3]
    assert codec.encode("") == []


def test_characters() -> None:
    codec = Characters(closed_vocabulary("ab\N{GREEK SMALL LETTER PI}", "char"))
    ids = codec.encode("a\N{GREEK SMALL LETTER PI}\nz")
    assert ids == [2, 4, 5, 1]
    text = "a\N{GREEK SMALL LETTER PI}\n\N{REPLACEMENT CHARACTER}"
    assert list(codec.decode(ids, 5)) == list(text)
    assert codec.encode("") == []


def test_bytes_wait_for_a_whole_character() -> None:
    codec = Bytes()
    text = "a\N{GREEK SMALL LETTER PI}\n"
    assert codec.encode(text) == list(text.encode())
    assert list(codec.decode(codec.encode(text), 10)) == list(text)
    half = codec.encode("b\N{GREEK SMALL LETTER PI}")[:-1]
    assert list(codec.decode(half, 10)) == ["b", "\N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize(("level", "end"), [("word", "<eos>"), ("char", "\n")])
def test_a_closed_vocabulary_knows_the_end_of_a_line(level: str, end: str) -> None:
    assert closed_vocabulary(["b", "a"], level).words == ["<pad>", "<unk>", "b", "a", end]  # type: ignore[arg-type]
    known = closed_vocabulary(["<unk>", end, "b", "b"], level)  # type: ignore[arg-type]
    assert known.words == ["<pad>", "<unk>", end, "b"]
