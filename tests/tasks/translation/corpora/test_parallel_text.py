"""Tests of reading parallel text files in all supported formats."""

import gzip
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.translation.corpora.base import Pair, Pairs
from srulight.tasks.translation.corpora.parallel_text import ParallelText


def write(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Gives a folder with a validation pair, which every corpus needs."""
    write(tmp_path / "val.en", "yes\n")
    write(tmp_path / "val.de", "ja\n")
    return tmp_path


def both(root: Path, english: str | bytes, german: str | bytes, form: str = "train.{}") -> Pairs:
    write(root / form.format("en"), english)
    write(root / form.format("de"), german)
    return ParallelText().read(root).train


def texts(pairs: Pairs) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in pairs]


def test_a_line_of_one_file_is_paired_with_that_of_the_other(root: Path) -> None:
    pairs = both(root, "a dog\ntwo dogs\n", "ein Hund\nzwei Hunde")
    expected = [
        Pair("a dog", "ein Hund", "train.en:1"),
        Pair("two dogs", "zwei Hunde", "train.en:2"),
    ]
    assert list(pairs) == expected
    assert list(pairs) == expected  # a second time


def test_source_and_target_are_the_languages_asked_for(root: Path) -> None:
    write(root / "val.fr", "oui\n")
    write(root / "train.de", "nein\n")
    write(root / "train.fr", "non\n")
    splits = ParallelText("fr", "de").read(root)
    assert list(splits.train) == [Pair("non", "nein", "train.fr:1")]
    assert list(splits.val) == [Pair("oui", "ja", "val.fr:1")]


def test_there_is_a_test_split_only_if_it_is_named(root: Path) -> None:
    for language in ("en", "de"):
        write(root / f"test.{language}", f"{language}\n")
    assert ParallelText(train=["val"]).read(root).test is None
    test = ParallelText(train=["val"], test="test").read(root).test
    assert test is not None
    assert texts(test) == [("en", "de")]


def test_several_stems_are_read_one_after_the_other_and_may_have_folders(root: Path) -> None:
    for stem in ("b/news", "a"):
        for language in ("en", "de"):
            write(root / f"{stem}.{language}", f"{stem} {language}\n")
    pairs = list(ParallelText(train=["b/news", "a"]).read(root).train)
    assert [pair.source for pair in pairs] == ["b/news en", "a en"]
    assert [pair.where for pair in pairs] == ["b/news.en:1", "a.en:1"]


def test_a_compressed_file_reads_as_a_plain_one(root: Path) -> None:
    plain = both(root, "a\nb\n", "c\nd\n")
    expected, key = texts(plain), plain.key
    for language in ("en", "de"):
        (root / f"train.{language}").unlink()
    zipped = both(root, "a\nb\n", "c\nd\n", "train.{}.gz")
    assert texts(zipped) == expected
    assert zipped.key == key


def test_only_line_feeds_end_lines(root: Path) -> None:
    pairs = both(root, "a\u2028b\x85c\x0cd\re\r\nf\r\n", "1\r\n2")
    assert texts(pairs) == [("a b c d e", "1"), ("f", "2")]


def test_white_space_is_single_spaces_and_lines_may_be_empty(root: Path) -> None:
    pairs = both(root, "  a \t b\u00a0c \n\n  \n", "\n d\n\n")
    assert texts(pairs) == [("a b c", ""), ("", "d"), ("", "")]


def test_a_byte_order_mark_is_dropped_at_the_start_alone(root: Path) -> None:
    pairs = both(root, b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", "c\nd\n")
    assert texts(pairs) == [("a", "c"), ("\ufeffb", "d")]


def test_development_sets_of_iwslt_are_the_text_of_their_segments(root: Path) -> None:
    head = '<?xml version="1.0"?>\n<mteval>\n<doc docid="69">\n<title>Not this</title>\n'
    pairs = both(
        root,
        f'{head}<seg id="1"> Q &amp; A: 1 &lt; 2 </seg>\n<seg id="2"></seg>\n</doc>\n</mteval>\n',
        '<mteval>\n<seg id="1">F &amp; A</seg>\n<seg id="2">Zwei</seg>\n</mteval>\n',
        "train.{}.xml",
    )
    assert list(pairs) == [
        Pair("Q & A: 1 < 2", "F & A", "train.en.xml:5"),
        Pair("", "Zwei", "train.en.xml:6"),
    ]


@pytest.mark.parametrize("ending", [".sgm", ".sgm.gz"])
def test_test_sets_of_wmt_are_the_text_of_their_segments(root: Path, ending: str) -> None:
    sgml = '<{} setid="newstest2014" srclang=any>\n<p>\n<seg id="1">{} &amp; Co.</seg>\n</p>\n'
    write(root / f"wmt/news14-deen-src.de{ending}", sgml.format("srcset", "Meier"))
    write(root / f"wmt/news14-deen-ref.en{ending}", sgml.format("refset", "Smith"))
    test = ParallelText("de", "en", ["val"], test="wmt/news14-deen").read(root).test
    assert test is not None
    assert texts(test) == [("Meier & Co.", "Smith & Co.")]


def test_a_sentence_cut_by_a_line_end_is_refused_where_it_is(root: Path) -> None:
    pairs = both(root, "<doc>\n<seg id='1'>a\nb</seg>\n", "<seg id='1'>c</seg>\n", "train.{}.xml")
    with pytest.raises(InputError, match=r"train\.en\.xml:2: expected <seg> and </seg> on"):
        list(pairs)


def talks(root: Path, english: str, german: str) -> Pairs:
    write(root / "ted" / "train.tags.de-en.en", english)
    write(root / "ted" / "train.tags.de-en.de", german)
    return ParallelText(train=["ted/train.tags.de-en"]).read(root).train


def test_markup_of_talks_is_left_out_though_one_file_has_more_of_it(root: Path) -> None:
    pairs = talks(
        root,
        "<url>http://x</url>\n<title>Sea</title>\na <i>b</i>\nc\n<doc>\n<talkid>2</talkid>\nd\n",
        "<url>http://x</url>\na\nb\n <translator>T</translator> \n<doc>\n<talkid>2</talkid>\nc\n",
    )
    assert list(pairs) == [
        Pair("a <i>b</i>", "a", "ted/train.tags.de-en.en:3"),
        Pair("c", "b", "ted/train.tags.de-en.en:4"),
        Pair("d", "c", "ted/train.tags.de-en.en:7"),
    ]


def test_markup_is_text_where_the_file_is_not_one_of_talks(root: Path) -> None:
    assert texts(both(root, "<b>\n", "&amp;\n")) == [("<b>", "&amp;")]


def test_markup_in_one_of_two_files_is_refused_where_it_is(root: Path) -> None:
    more, less = "<doc>\na\n<url>x</url>\nb\n", "<doc>\na\nx\nb\n"
    for english, german, place in ((more, less, r"en:4.*de:3"), (less, more, r"de:4.*en:3")):
        pairs = talks(root, english, german)
        with pytest.raises(InputError, match=rf"tags\.de-en\.{place}"):
            list(pairs)


def test_what_is_not_utf8_is_named_by_file_line_and_byte(root: Path) -> None:
    pairs = both(root, "a\nb\nc\n", b"eins\n\xc3\xbcber\nf\xfcnf\n")
    with pytest.raises(InputError, match=r"train\.de:3: byte 0xfc is not UTF-8"):
        list(pairs)


@pytest.mark.parametrize(
    ("english", "german", "counts"),
    [("a\nb\n\n", "c\n", (3, 1)), ("a\n", "b\nc\nd\ne\n", (1, 4))],
)
def test_files_of_different_lengths_are_refused_with_both(
    root: Path, english: str, german: str, counts: tuple[int, int]
) -> None:
    pairs = both(root, english, german)
    message = r"train\.en: expected {1} lines, as in \S*train\.de, got {0}; fix".format(*counts)
    with pytest.raises(InputError, match=message):
        list(pairs)


def test_files_without_a_sentence_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"train\.en: expected one sentence per line, got no"):
        list(both(root, "", ""))
    (root / "train.en").unlink()
    write(root / "train.en.xml", "<doc>\nno segment\n</doc>\n")
    with pytest.raises(InputError, match=r"train\.en\.xml: expected <seg>.*, got no sentences"):
        list(ParallelText().read(root).train)


@pytest.mark.parametrize("damage", ["cut", "changed", "not gzip"])
def test_a_damaged_file_is_named(root: Path, damage: str) -> None:
    pairs = both(root, "a\n" * 9, "".join(f"{n * n}\n" for n in range(9)), "train.{}.gz")
    path = root / "train.de.gz"
    data = path.read_bytes()
    flipped = data[:20] + bytes(255 - byte for byte in data[20:30]) + data[30:]
    path.write_bytes({"cut": data[:-12], "changed": flipped, "not gzip": b"eins\n"}[damage])
    with pytest.raises(InputError, match=r"train\.de\.gz is damaged or not gzip"):
        list(pairs)
    with pytest.raises(InputError, match=r"train\.de\.gz is damaged or not gzip"):
        _ = pairs.key


def test_a_file_that_went_away_is_named(root: Path) -> None:
    pairs = both(root, "a\n", "b\n")
    (root / "train.de").unlink()
    with pytest.raises(InputError, match=r"train\.de is not in"):
        list(pairs)


def test_the_key_changes_with_what_is_read_and_with_nothing_else(root: Path) -> None:
    key = both(root, "a\nb\n", "c\n").key
    assert len(bytes.fromhex(key)) == 32
    assert both(root, "a\nb\n", "c\n").key == key
    others = [
        both(root, "a\nB\n", "c\n").key,
        both(root, "a\nb\n", "c\nd\n").key,
        both(root, "a\n", "b\nc\n").key,
    ]
    both(root, "a\nb\n", "c\n")
    others += [
        ParallelText("de", "en").read(root).train.key,
        ParallelText(train=["train", "val"]).read(root).train.key,
        ParallelText(train=["val", "train"]).read(root).train.key,
        talks(root, "a\nb\n", "c\n").key,  # the same bytes in another format
    ]
    assert len({key, *others}) == 8
    (root / "train.en").rename(root / "renamed.en")
    (root / "train.de").rename(root / "renamed.de")
    assert ParallelText(train=["renamed"]).read(root).train.key == key


def test_few_lines_are_read_before_the_first_pair(root: Path) -> None:
    lines = b"a\n" * 10**6
    pair = next(iter(both(root, lines + b"\xff\n", lines)))
    assert pair == Pair("a", "a", "train.en:1")


def test_missing_files_are_named_with_where_they_were_looked_for(root: Path) -> None:
    write(root / "train.en", "a\n")
    names = (
        r"train\.de, train\.de\.gz, train\.de\.xml, train-ref\.de\.sgm, train-ref\.de\.sgm\.gz, "
    )
    with pytest.raises(
        InputError, match=rf"{root}: expected one of {names}got none; .*--data\.root"
    ):
        ParallelText().read(root)
    with pytest.raises(InputError, match=rf"cannot download its files; .* one of {names}"):
        ParallelText().fetch(root)
    write(root / "train.de", "a\n")
    ParallelText().fetch(root)
    with pytest.raises(InputError, match=r"expected one of test\.en, .*test-src\.en\.sgm"):
        ParallelText(test="test").read(root)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="different languages, got 'de' twice"):
        ParallelText("de", "de")
    with pytest.raises(InputError, match=r"at least one stem, got \[\]"):
        ParallelText(train=[])
