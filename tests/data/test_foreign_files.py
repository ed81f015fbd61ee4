"""Files with arbitrary contents are read, or rejected with one sentence."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.question_answering.corpora.squad_format import read_squad
from srulight.tasks.speech_recognition.corpora.an4 import AN4
from srulight.tasks.speech_recognition.corpora.manifest import Manifest
from srulight.tasks.speech_recognition.ctc.ngram import NGram
from srulight.tasks.text_classification.corpora.flat_files import FlatFiles
from srulight.tasks.text_classification.corpora.stanford_trees import StanfordTrees
from srulight.tasks.text_classification.corpora.tables import Tables
from srulight.tasks.translation.corpora.parallel_text import ParallelText
from srulight.text.word_vectors import read_vectors

CSV = 'text,label,x\n"a ""fine"" film",good,1\ndull,bad,2\n'
JSONL = '{"text": "a \\u00e9", "label": "good", "n": 1}\n{"text": "dull", "label": 0}\n'
MANIFEST = '{"audio": "a.wav", "text": "one", "duration": 1.5, "speaker": "ann"}\n' * 12
SQUAD = (
    '{"version": "1.1", "data": [{"title": "Ada", "paragraphs": [{"context": "Ada sold lamps.", '
    '"qas": [{"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}]}]}]}'
)
TREES = "(3 (2 not) (1 bad))\n(4 (3 so) (2 good))\n"
ARPA = (
    "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1 <s> -0.5\n-1 </s>\n-1 <unk>\n-1 a -0.1\n\n"
    "\\2-grams:\n-0.2 <s> a\n\n\\end\\\n"
)
TRANSCRIPTS = "<s> ONE </s> (a-1)\n<s> TWO </s> (a-2)\n"


def trees(path: Path) -> object:
    for name in ("train.txt", "dev.txt", "test.txt"):
        (path.parent / name).write_bytes(path.read_bytes())
    return StanfordTrees().read(path.parent)


def an4(path: Path) -> object:
    (path.parent / "etc").mkdir(exist_ok=True)
    for name in ("an4_train", "an4_test"):
        (path.parent / "etc" / f"{name}.fileids").write_text("x/a-1\nx/a-2\n")
        (path.parent / "etc" / f"{name}.transcription").write_bytes(path.read_bytes())
    return AN4().read(path.parent)


def parallel(path: Path) -> object:
    (path.parent / "train.en").write_text("a\nb\n")
    return list(ParallelText("en", "de", val="train").read(path.parent).train)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a.csv": (CSV, lambda path: Tables(path.name, path.name).read(path.parent)),
    "a.tsv": (CSV.replace(",", "\t"), lambda path: Tables(path.name, path.name).read(path.parent)),
    "a.jsonl": (JSONL, lambda path: Tables(path.name, path.name).read(path.parent)),
    "b.jsonl": (MANIFEST, lambda path: Manifest(path.name).read(path.parent)),
    "a.json": (SQUAD, lambda path: read_squad(path, "skip")),
    "a.txt": (TREES, trees),
    "b.txt": (
        "0 so\n1 good\n1\n",
        lambda path: FlatFiles(path.name, ["no", "yes"], test=path.name).read(path.parent),
    ),
    "a.vec": ("2 2\nthe 1 2\nof -3 0.5\n", lambda path: read_vectors(path, ["the", "of"])),
    "a.arpa": (ARPA, NGram.read),
    "train.de": ("eins\nzwei\n", parallel),
    "a.trans": (TRANSCRIPTS, an4),
}
PIECES = [
    b"", b"\n", b"\r", b"\t", b",", b'"', b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"-1",
    b"9" * 5000, b"1e999", b"nan", b"null", b"true", b"{}", b"[[", b"\\", b"\\ud83d", b"</s>", b"(",
    b"\x1f\x8b", "\u2028\u0663".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_whatever_is_in_a_file_it_is_read_or_refused(name: str, tmp_path: Path) -> None:
    text, read = READERS[name]
    path = tmp_path / name
    path.write_text(text)
    read(path)
    generator = random.Random(name)
    refused = []
    for _ in range(300):
        data = text.encode()
        for _ in range(generator.randint(1, 3)):
            start = generator.randrange(len(data) + 1)
            stop = start + generator.choice([0, 0, 1, 4, len(data)])
            data = data[:start] + generator.choice(PIECES) + data[stop:]
        path.unlink()  # some file systems wait for the disk when a file is overwritten
        path.write_bytes(data)
        try:
            read(path)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 30
    # Wrong rows are reported together, one per line.
    assert all("\n" not in said or "rows have errors:\n  " in said for said in refused)
