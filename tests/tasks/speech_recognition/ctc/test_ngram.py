"""ARPA files yield probabilities computed by hand, or an error that names the fault."""

import gzip
import math
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.ngram import NGram

LN10 = math.log(10)
TEXT = r"""made by hand

\data\
ngram 1=5
ngram 2=3
ngram 3=1

\1-grams:
-99	<s>	-0.5
-1.0	</s>
-2.0	<unk>	-0.05
-0.6	a	-0.3
-0.8	né

\2-grams:
-0.4	<s> a	-0.2
-0.3	a né
-0.7	né </s>

\3-grams:
-0.1	<s> a né

\end\
"""


def read(root: Path, text: str) -> NGram:
    path = root / "words.arpa"
    path.write_text(text, encoding="utf-8")
    return NGram.read(path)


@pytest.mark.parametrize(
    ("state", "word", "log10", "after"),
    [
        (("<s>",), "a", -0.4, ("<s>", "a")),
        (("<s>", "a"), "né", -0.1, ("a", "né")),
        # Two backoff weights apply, those of "<s> a" and of "a".
        (("<s>", "a"), "a", -0.2 - 0.3 - 0.6, ("a",)),
        # Neither "a né" nor "né" has a backoff weight, and "né a" is not listed.
        (("a", "né"), "a", -0.6, ("a",)),
        (("<s>",), "né", -0.5 - 0.8, ("né",)),
        (("<s>",), "x", -0.5 - 2.0, ("<unk>",)),
        (("<unk>",), "a", -0.05 - 0.6, ("a",)),
        ((), "né", -0.8, ("né",)),
    ],
)
def test_words_have_the_probabilities_worked_out_by_hand(
    state: tuple[str, ...], word: str, log10: float, after: tuple[str, ...], tmp_path: Path
) -> None:
    log_prob, got = read(tmp_path, TEXT).score(state, word)
    assert log_prob == pytest.approx(log10 * LN10)
    assert got == after


@pytest.mark.parametrize(
    ("state", "log10"),
    [(("a", "né"), -0.7), (("<s>", "a"), -0.2 - 0.3 - 1.0), (("<s>",), -0.5 - 1.0)],
)
def test_a_sentence_ends_with_the_probability_worked_out_by_hand(
    state: tuple[str, ...], log10: float, tmp_path: Path
) -> None:
    assert read(tmp_path, TEXT).finish(state) == pytest.approx(log10 * LN10)


def test_a_sentence_starts_after_its_mark(tmp_path: Path) -> None:
    ngram = read(tmp_path, TEXT)
    assert ngram.order == 3
    assert ngram.start == ("<s>",)


def test_single_words_need_no_state(tmp_path: Path) -> None:
    ngram = read(tmp_path, "\\data\\\nngram 1=2\n\\1-grams:\n-9 <s>\n-1 </s>\n\\end\\\n")
    assert ngram.start == ()
    assert ngram.finish(()) == pytest.approx(-LN10)
    assert ngram.score((), "x")[1] == ()


def test_a_word_that_nothing_is_known_of_has_a_small_probability(tmp_path: Path) -> None:
    text = TEXT.replace("1=5", "1=4").replace("-2.0	<unk>	-0.05\n", "")
    assert read(tmp_path, text).score((), "x")[0] == pytest.approx(math.log(1e-7))


def test_the_unknown_word_may_be_in_capitals(tmp_path: Path) -> None:
    ngram = read(tmp_path, TEXT.replace("<unk>", "<UNK>"))
    assert ngram.score((), "x")[0] == pytest.approx(-2 * LN10)


def test_files_may_be_compressed_and_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "words.arpa.gz"
    plain = "\ufeff" + TEXT[TEXT.index("\\data\\") :]
    path.write_bytes(gzip.compress(plain.replace("\n", "\r\n").encode()))
    assert NGram.read(path).score(("<s>", "a"), "né")[0] == pytest.approx(-0.1 * LN10)


def test_only_ascii_white_space_parts_words(tmp_path: Path) -> None:
    ngram = read(tmp_path, TEXT.replace("né", "n\u00a0\u2028"))
    assert ngram.score(("a",), "n\u00a0\u2028")[0] == pytest.approx(-0.3 * LN10)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            "-0.6	a",
            "-0.6	a b c",
            "arpa:12: expected a logarithm, 1 word and optionally a",
        ),
        ("-0.1	<s> a né", "-0.1	<s> a né -1", r"arpa:21: expected a logarithm, 3 words, got"),
        ("-0.6	a", "minus	a", r"arpa:12: expected a finite logarithm .*, got 'minus.*a"),
        ("a	-0.3", "a	nan", "arpa:12: expected a finite logarithm"),
        ("-0.6	a", "0.6	a", "arpa:12: expected the logarithm of a probability, 0 or less"),
        ("-0.6	a", "-0.6	né", "arpa:13: expected each 1-gram once"),
        ("-0.3	a né", "-0.3	a nè", "arpa:17: expected words from the 1-grams"),
        (
            "-0.4	<s> a",
            "-0.4	a a",
            "arpa:21: expected a 3-gram whose first 2 words are listed",
        ),
        ("1=5", "1=6", r"arpa:15: expected 6 1-grams \(1 are missing\), got .*2-grams"),
        ("2=3", "2=2", r"arpa:18: expected .*3-grams: according to the counts, got '-0.7\\tné"),
        ("3=1", "3=0", r"arpa:21: expected .*end.* according to the counts, got '-0.1"),
        (
            "\\3-grams",
            "\\4-grams",
            r"arpa:20: expected .*3-grams.* according to the counts, got .*4-",
        ),
        ("ngram 2=3\n", "", "arpa:5: expected the number of 2-grams.*got 'ngram 3=1'"),
        ("1=5", "1=0", "arpa:4: expected the number of 1-grams \\(at least 1 for 1-grams\\), got"),
        ("ngram 1=5\nngram 2=3\nngram 3=1\n", "", "arpa:5: expected a line such as 'ngram"),
        ("\\end\\", "", r"arpa: expected an ARPA file that ends with .end."),
        ("\\data\\", "", r"arpa: expected an ARPA file"),
        ("</s>", "</S>", "arpa:18: expected words from the 1-grams"),
        ("-99	<s>", "-99	<S>", "arpa:16: expected words from the 1-grams"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    old: str, new: str, why: str, tmp_path: Path
) -> None:
    assert old in TEXT
    with pytest.raises(InputError, match=why):
        read(tmp_path, TEXT.replace(old, new, 1))


@pytest.mark.parametrize(("mark", "other"), [("<s>", "</s>"), ("</s>", "<s>")])
def test_the_marks_of_sentences_must_be_known(mark: str, other: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"arpa: expected {mark} among the 1-grams"):
        read(tmp_path, f"\\data\\\nngram 1=1\n\\1-grams:\n-1 {other}\n\\end\\\n")


def test_bytes_that_are_not_utf_8_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "words.arpa"
    path.write_bytes(TEXT.encode("latin-1"))
    with pytest.raises(InputError, match="arpa:13: expected a word in UTF-8"):
        NGram.read(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent is not in .*; pass an ARPA file"):
        NGram.read(tmp_path / "absent")


@pytest.mark.parametrize("kept", [5, 60])
def test_a_compressed_file_that_is_cut_off_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "words.gz"
    path.write_bytes(gzip.compress(TEXT.encode())[:kept])
    with pytest.raises(InputError, match=r"words.gz is damaged or not gzip"):
        NGram.read(path)
