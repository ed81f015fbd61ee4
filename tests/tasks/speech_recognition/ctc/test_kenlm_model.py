"""KenLM and the Python reader agree on the probabilities of an ARPA file."""

import gzip
import itertools
import random
import sys
from pathlib import Path

import pytest
import torch

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc import BeamSearch, KenLM, NGram, WordModel, read_ngram
from srulight.tasks.speech_recognition.ctc.ngram import BINARY

pytest.importorskip("kenlm")

WORDS = ["a", "b", "né", "\u4e2d\u00a0"]


def write(path: Path, order: int, seed: int, marks: tuple[str, ...]) -> Path:
    """Writes a model with random n-grams whose prefixes and suffixes are listed as well."""
    rng = random.Random(seed)
    levels: list[list[tuple[str, ...]]] = [[(word,) for word in (*marks, *WORDS)]]
    for _ in range(order - 1):
        longer = [(*w, *last) for w in levels[-1] if w[-1] != "</s>" for last in levels[0]]
        # <s> occurs only at the start of a sentence.
        longer = [w for w in longer if "<s>" not in w[1:] and w[1:] in levels[-1]]
        levels.append(rng.sample(longer, min(40, len(longer) * 2 // 3)))
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1))]
    for n, level in enumerate(levels, 1):
        lines += ["", f"\\{n}-grams:"]
        for words in level:
            weight = f"\t{rng.uniform(-1, 0.2):.4f}" if n < order and rng.random() < 0.8 else ""
            lines.append(f"{rng.uniform(-3, 0):.4f}\t{' '.join(words)}{weight}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return path


def total(model: WordModel, words: tuple[str, ...]) -> list[float]:  # type: ignore[type-arg]
    """Returns the score of each word of a sentence and of its end."""
    state, scores = model.start, []
    for word in words:
        score, state = model.score(state, word)
        scores.append(score)
    return [*scores, model.finish(state)]


@pytest.mark.parametrize("order", [2, 3, 4, 6])
@pytest.mark.parametrize(
    "marks", [("<s>", "</s>", "<unk>"), ("</s>", "<UNK>", "<s>"), ("<s>", "</s>")]
)
def test_every_sentence_has_the_same_probabilities(
    order: int, marks: tuple[str, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "words.arpa", order, seed=order, marks=marks)
    ours, theirs = NGram.read(path), KenLM(path)
    vocabulary = [*WORDS, "unheard", "<unk>"]
    for words in itertools.chain(*(itertools.product(vocabulary, repeat=n) for n in range(5))):
        assert total(theirs, words) == pytest.approx(total(ours, words), rel=1e-5, abs=1e-5)


def test_files_are_read_by_kenlm_if_it_can(tmp_path: Path) -> None:
    path = write(tmp_path / "words.arpa", 3, seed=0, marks=("<s>", "</s>", "<unk>"))
    assert isinstance(read_ngram(path), KenLM)
    packed = tmp_path / "words.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    # The exception depends on how KenLM was built.
    assert total(read_ngram(packed), ("a", "b")) == pytest.approx(
        total(NGram.read(path), ("a", "b")), rel=1e-5
    )


@pytest.mark.parametrize("order", [1, 7])
def test_what_kenlm_cannot_read_is_read_all_the_same(order: int, tmp_path: Path) -> None:
    path = write(tmp_path / "words.arpa", order, seed=0, marks=("<s>", "</s>", "<unk>"))
    assert isinstance(read_ngram(path), NGram)


def test_without_kenlm_files_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "words.arpa", 3, seed=0, marks=("<s>", "</s>", "<unk>"))
    monkeypatch.setitem(sys.modules, "kenlm", None)
    assert isinstance(read_ngram(path), NGram)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ngram 2=", "ngram 2=1", r"words.arpa:\d+: expected \d+ 2-grams \("),
        ("ngram 1=7", "ngram 1=999999999999", r"words.arpa:\d+: expected [\d,]+ 1-grams \("),
        ("\\end\\", "", "words.arpa: expected an ARPA file that ends with"),
        ("</s>", "</S>", r"words.arpa(:\d+: expected| must have </s>)"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    old: str, new: str, why: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "words.arpa", 2, seed=0, marks=("<s>", "</s>", "<unk>"))
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=why):
        read_ngram(path)


def test_a_binary_file_is_refused_as_it_could_crash(tmp_path: Path) -> None:
    path = tmp_path / "words.bin"
    path.write_bytes(BINARY + b" format version 5\n\0" + bytes(200))
    with pytest.raises(ValueError, match="got a binary file"):
        KenLM(path)
    with pytest.raises(InputError, match=r"words.bin: .* a binary file of KenLM; pass the ARPA"):
        read_ngram(path)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent is not in .*; pass an ARPA file"):
        read_ngram(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_ngram(tmp_path)


def test_what_a_file_calls_impossible_and_half_a_character_have_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "words.arpa", 2, seed=0, marks=("<s>", "</s>", "<unk>"))
    lines = path.read_text(encoding="utf-8").split("\n")
    place = next(i for i, line in enumerate(lines) if line.split()[1:] == ["<s>", "a"])
    lines[place] = "-inf\t<s> a"
    path.write_text("\n".join(lines), encoding="utf-8")
    model = KenLM(path)
    assert -1e300 < model.score(model.start, "a")[0] < -1e8
    assert model.score(model.start, "\ud800")[0] == model.score(model.start, "unheard")[0]


def test_reading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    KenLM(write(tmp_path / "words.arpa", 3, seed=0, marks=("<s>", "</s>", "<unk>")))
    assert capfd.readouterr() == ("", "")


def test_a_beam_heeds_it(tmp_path: Path) -> None:
    path = write(tmp_path / "words.arpa", 3, seed=3, marks=("<s>", "</s>", "<unk>"))
    frames = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    spell = {1: " a", 2: " b", 3: "c"}.__getitem__
    found = []
    for model in (NGram.read(path), KenLM(path)):
        beam = BeamSearch(8, text_of=spell, ngram=model, lm_weight=1.0)
        beam.advance(frames)
        found.append(beam.finish())
    assert found[0] == found[1]
