"""Manifests of a user's own recordings."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora.base import Utterance
from srulight.tasks.speech_recognition.corpora.manifest import Manifest


def lines(*rows: Mapping[str, object]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path.parent


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "lists/a.jsonl",
            '{"audio": "b.wav", "text": "grüß \\"dich\\"", "duration": 2, "speaker": "mia", "x": 1}'
            '\n\n{"text": "", "audio_filepath": "/far/c.flac", "duration": null}\n',
        ),
        (
            "lists/a.tsv",
            "x\tspeaker\ttext\taudio\tduration\n"
            '1\tmia\tgrüß "dich"\tb.wav\t2.0\n\n\t\t\t/far/c.flac\t\n',
        ),
    ],
)
def test_lines_become_utterances_with_their_places(name: str, text: str, tmp_path: Path) -> None:
    write(tmp_path / name, text)
    splits = Manifest(name, name).read(tmp_path)
    first = 1 if name.endswith("jsonl") else 2
    assert splits.train == splits.val
    assert splits.train == [
        Utterance(
            (tmp_path / "lists" / "b.wav",), 'grüß "dich"', f"{name}:{first}", "mia", seconds=2.0
        ),
        Utterance((Path("/far/c.flac"),), "", f"{name}:{first + 2}"),
    ]
    assert splits.test == []


def test_each_split_has_its_own_manifest(tmp_path: Path) -> None:
    for name in ("a.json", "b.jsonl", "c.jsonl"):
        write(tmp_path / name, lines({"audio": "x.wav", "text": name, "speaker": 7}))
    splits = Manifest("a.json", "b.jsonl", "c.jsonl").read(tmp_path)
    assert [u.text for split in splits for u in split] == ["a.json", "b.jsonl", "c.jsonl"]
    assert splits.train[0].speaker == "7"


@pytest.mark.parametrize("speakers", [9, 0])
def test_a_tenth_of_the_utterances_is_held_out_where_speakers_are_few(
    speakers: int, tmp_path: Path
) -> None:
    rows = [
        {"audio": f"{i}.wav", "text": "", "speaker": f"s{i % speakers}" if speakers else None}
        for i in range(40)
    ]
    splits = Manifest().read(write(tmp_path / "train.jsonl", lines(*rows)))
    assert (len(splits.train), len(splits.val)) == (36, 4)
    assert len(set(splits.train) | set(splits.val)) == 40


def test_of_ten_speakers_one_is_heard_in_validation_only(tmp_path: Path) -> None:
    rows = [{"audio": f"{i}.wav", "text": "", "speaker": f"s{i % 10}"} for i in range(40)]
    splits = Manifest().read(write(tmp_path / "train.jsonl", lines(*rows)))
    held = {u.speaker for u in splits.val}
    assert len(held) == 1
    assert {u.speaker for u in splits.train} == {f"s{i}" for i in range(10)} - held
    assert (len(splits.train), len(splits.val)) == (36, 4)


def test_one_utterance_without_a_speaker_and_no_speaker_is_held_out(tmp_path: Path) -> None:
    rows = [{"audio": f"{i}.wav", "text": "", "speaker": f"s{i}"} for i in range(39)]
    root = write(tmp_path / "train.jsonl", lines(*rows, {"audio": "x.wav", "text": ""}))
    assert len(Manifest().read(root).val) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: "),
        ("[1]", r"expected a JSON object, got '\[1\]'"),
        ("9" * 6000, "a number has too many digits"),
        ('{"text": "a"}', "expected 'audio', got 'text'"),
        ("{}", "expected 'audio', got nothing"),
        ('{"audio": "a"}', "expected 'text', got 'audio'"),
        ('{"audio": "a", "text": 3}', "expected text in 'text', got 3"),
        ('{"audio_filepath": ["a"], "text": ""}', r"expected text in 'audio_filepath', got \['a'"),
        ('{"audio": "", "text": "a"}', "expected the path of a recording in 'audio', got ''"),
        ('{"audio": "a\\u0000", "text": ""}', "expected the path of a recording in 'audio', got "),
        ('{"audio": "a", "text": "", "speaker": []}', r"expected a name in 'speaker', got \[\]"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: str, message: str, tmp_path: Path) -> None:
    root = write(tmp_path / "train.jsonl", f'{{"audio": "a", "text": "b"}}\n{line}\n')
    with pytest.raises(InputError, match=f"train.jsonl:2: {message}"):
        Manifest().read(root)


@pytest.mark.parametrize(
    "duration", ["0", "-1", "true", '"2"', "NaN", "Infinity", f"1{'0' * 400}", "[]"]
)
def test_a_duration_that_is_no_time_is_refused(duration: str, tmp_path: Path) -> None:
    text = f'{{"audio": "a", "text": "b", "duration": {duration}}}\n'
    with pytest.raises(InputError, match=r"train.jsonl:1: expected seconds above 0 in 'duration'"):
        Manifest().read(write(tmp_path / "train.jsonl", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio\ttext\na\tb\tc\n", "a.tsv:2: expected 2 columns, got 3"),
        ("audio\ttext\na\n", "a.tsv:2: expected 2 columns, got 1"),
        ("audio\ttext\tduration\na\tb\tlong\n", "a.tsv:2: expected seconds above 0 .* 'long'"),
        ("audio\ttext\tduration\na\tb\t0\n", "a.tsv:2: expected seconds above 0 .* got 0"),
        ("audio,text\na,b\n", r"a.tsv:1: expected columns separated by tabs .*, got ','"),
        ("a.wav\thello\n", "a.tsv: expected utterances below the header"),
        ("audio\ttext\ttext\na\tb\tc\n", "a.tsv:1: the column 'text' appears twice"),
        ("audio\ttext\n", "a.tsv: expected utterances below the header"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Manifest("a.tsv").read(write(tmp_path / "a.tsv", text))


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a.txt: expected a name ending in .tsv, .csv, .jsonl, .parquet or .json"
    ):
        Manifest("a.txt").read(tmp_path)


def test_a_manifest_that_is_missing_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"train.jsonl is not in .*; pass its folder with --data.root"
    ):
        Manifest().read(tmp_path)


def test_nothing_is_fetched(tmp_path: Path) -> None:
    Manifest().fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
