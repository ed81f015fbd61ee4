"""The command predict reads tables and NumPy files, whole or line by line."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning import Trainer

from srulight import load
from srulight.cli import main
from srulight.tasks.sequence_prediction.corpora.base import Part, SequenceCorpus, Sequences
from srulight.tasks.sequence_prediction.data import SequencePredictionData
from srulight.tasks.sequence_prediction.task import SequencePrediction
from tests.tasks.sequence_prediction.models import given

LENGTHS = [7, 1, 12]


class Machines(SequenceCorpus):
    """Tables of machines, or arrays of the same features."""

    def __init__(self, per: Any, kind: Any = "class", table: bool = True) -> None:  # noqa: ANN401
        self.per = per
        self.kind = kind
        self.table = table

    def recipe(self, root: Path) -> Any:  # noqa: ANN401
        return None

    def read(self, root: Path) -> Sequences:
        part = self._part()
        more: dict[str, Any] = {"numbers": ["features_0", "features_1"], "categories": []}
        if self.table:
            more = {
                "numbers": ["temperature", "pressure"], "categories": ["color"],
                "sequence_column": "machine", "time_column": "time", "target_columns": ["state"],
            }  # fmt: skip
        return Sequences(part, part, None, targets=["idle", "busy, hot", "off"], **more)

    def _part(self) -> Part:
        columns = [given(length) for length in LENGTHS]
        joined = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
        count = len(joined["time"]) if self.per == "step" else len(LENGTHS)
        classes = np.arange(count) % 3
        targets = classes if self.kind == "class" else np.eye(3, dtype=np.float32)[classes]
        words = joined["color"].astype(object)[:, None] if self.table else np.empty((20, 0), object)
        return Part(
            names=[*"abc"],
            lengths=np.array(LENGTHS),
            numbers=np.stack([joined["temperature"], joined["pressure"]], axis=1),
            categories=words,
            times=joined["time"] if self.table else None,
            targets=targets,
            place=str,
        )


def train(folder: Path, corpus: Machines, **options: Any) -> Path:  # noqa: ANN401
    data = SequencePredictionData(corpus, intervals=corpus.table, **options)
    trainer = Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, max_epochs=1,
    )  # fmt: skip
    trainer.fit(SequencePrediction(), data)
    name = f"{corpus.per}-{corpus.kind}-{corpus.table}.ckpt"
    trainer.save_checkpoint(folder / name)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def per_step(folder: Path) -> Path:
    return train(folder, Machines("step"))


@pytest.fixture(scope="module")
def per_sequence(folder: Path) -> Path:
    return train(folder, Machines("sequence", "labels"))


@pytest.fixture(scope="module")
def arrays(folder: Path) -> Path:
    return train(folder, Machines("step", "numbers", table=False))


def records() -> list[dict[str, Any]]:
    """The rows of a table of three machines, with a column of notes."""
    rows = []
    for name, length in zip(("m 1", "m, 2", 'm "3"'), LENGTHS, strict=True):
        columns = given(length)
        for i in range(length):
            row = {key: columns[key][i] for key in columns}
            clean = {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
            clean = {k: v.item() if isinstance(v, np.generic) else v for k, v in clean.items()}
            note = {1: 'a "quoted"\nnote', 2: ""}.get(i, f"row {i}, ok")
            rows.append({"machine": name, **clean, "note": note})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(rows[0])
            writer.writerows(row.values() for row in rows)
    return path


def run(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    capsys.readouterr()
    main(["predict", *map(str, args)])
    return capsys.readouterr().out


def table(text: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(text, newline=""), strict=True)]


def expected(checkpoint: Path) -> list[Any]:
    """The answers that the library gives for the machines."""
    task = load(checkpoint)
    assert isinstance(task, SequencePrediction)
    return task.predict([given(length) for length in LENGTHS])


def test_each_row_of_a_table_gets_an_answer(
    per_step: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records()
    path = write(tmp_path / "a.csv", rows)
    found = table(run(capsys, f"--ckpt_path={per_step}", "--input", path, "--probabilities=true"))
    names = ["probability:idle", "probability:busy, hot", "probability:off"]
    assert [*found[0]] == [*rows[0], "prediction", "probability", *names]
    # All columns of the input are kept as they are.
    assert [{k: row[k] for k in rows[0]} for row in found] == table(path.read_text())
    answers = [answer for sequence in expected(per_step) for answer in sequence]
    for row, answer in zip(found, answers, strict=True):
        assert row["prediction"] == answer.label
        assert float(row["probability"]) == pytest.approx(answer.probability, abs=1.1e-4)
        assert [float(row[name]) for name in names] == pytest.approx(
            answer.probabilities, abs=1.1e-4
        )


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
def test_formats(
    per_step: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, format: str
) -> None:
    rows = records()
    path, out = write(tmp_path / f"a.{ending}", rows), tmp_path / f"out.{format}"
    args = [f"--ckpt_path={per_step}", "--input", path, f"--output={out}"]
    assert run(capsys, *args) == ""
    labels = [answer.label for sequence in expected(per_step) for answer in sequence]
    text = out.read_text(encoding="utf-8")
    if format == "jsonl":
        found = [json.loads(line) for line in text.splitlines()]
        if ending == "jsonl":
            assert [{k: row[k] for k in rows[0]} for row in found] == rows
        assert all(isinstance(row["probability"], float) for row in found)
    elif format == "csv":
        found = table(text)
    else:
        header, *lines = (line.split("\t") for line in text.splitlines())
        found = [dict(zip(header, line, strict=True)) for line in lines]
        assert found[1]["note"] == 'a "quoted" note'
    assert [row["prediction"] for row in found] == labels
    assert found[0]["temperature"] in (rows[0]["temperature"], str(rows[0]["temperature"] or ""))


def test_each_sequence_of_a_table_gets_an_answer(
    per_sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = records()[:8], records()[8:]
    paths = [write(tmp_path / "a.csv", first), write(tmp_path / "b.jsonl", second)]
    args = [f"--ckpt_path={per_sequence}", "--input", *paths, "--probabilities=true"]
    found = table(run(capsys, *args))
    assert [row["machine"] for row in found] == ["m 1", "m, 2", 'm "3"']
    for row, answer in zip(found, expected(per_sequence), strict=True):
        assert [*row] == [
            "machine", "prediction", "probability:idle", "probability:busy, hot", "probability:off",
        ]  # fmt: skip
        assert row["prediction"] == ";".join(answer.labels)
        assert float(row["probability:off"]) == pytest.approx(answer.probabilities[2], abs=1.1e-4)


def test_rows_of_other_sequences_may_stand_between(
    per_step: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = records()
    mixed = sorted(rows, key=lambda row: row["time"])
    parquet.write_table(pyarrow.Table.from_pylist(mixed), tmp_path / "a.parquet")
    out = tmp_path / "out.parquet"
    args = [f"--ckpt_path={per_step}", f"--output={out}", "--input", tmp_path / "a.parquet"]
    assert run(capsys, *args) == ""
    found = parquet.read_table(out).to_pylist()
    by_place = {(row["machine"], row["time"]): row["prediction"] for row in found}
    assert isinstance(found[0]["probability"], float)
    answers = [answer.label for sequence in expected(per_step) for answer in sequence]
    assert [by_place[row["machine"], row["time"]] for row in rows] == answers
    assert found[0]["note"] == "row 0, ok"


def test_numpy_files(arrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = load(arrays)
    assert isinstance(task, SequencePrediction)
    values = [np.stack([given(n)["temperature"], given(n)["pressure"]], axis=1) for n in LENGTHS]
    for i, one in enumerate(values):
        np.save(tmp_path / f"{i}.npy", one)
    joined, lengths = np.concatenate(values), np.array(LENGTHS)
    padded = np.zeros((3, 12, 2))
    for i, one in enumerate(values):
        padded[i, : len(one)] = one
    np.savez(tmp_path / "one.npz", features=values[0])
    np.savez(tmp_path / "all.npz", features=joined, lengths=lengths, target=lengths)
    np.savez(tmp_path / "padded.npz", features=padded, lengths=lengths)
    answers = [answer for sequence in task.predict(values) for answer in sequence]
    names = {
        "all.npz": [f"{tmp_path}/all.npz:{i}" for i in range(3)],
        "padded.npz": [f"{tmp_path}/padded.npz:{i}" for i in range(3)],
        "*.npy": [f"{tmp_path}/{i}.npy" for i in range(3)],
        "one.npz": [f"{tmp_path}/one.npz"],
    }
    for pattern, wanted in names.items():
        paths = sorted(tmp_path.glob(pattern))
        found = table(run(capsys, f"--ckpt_path={arrays}", "--format=csv", "--input", *paths))
        steps = [(name, str(i)) for name, n in zip(wanted, LENGTHS, strict=False) for i in range(n)]
        assert [(row["sequence"], row["step"]) for row in found] == steps
        for row, answer in zip(found, answers, strict=False):
            numbers = [float(row[f"prediction:{name}"]) for name in ("idle", "busy, hot", "off")]
            assert numbers == pytest.approx(answer.values, abs=1.1e-4)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_stream_gives_the_answers_of_the_file(
    per_step: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    format: str,
) -> None:
    path = write(tmp_path / f"a.{format}", records())
    args = [f"--ckpt_path={per_step}", f"--input={path}", f"--format={format}"]
    whole = run(capsys, *args, "--probabilities=true")
    streamed = run(capsys, *args, "--probabilities=true", "--stream=true")
    if format == "csv":
        a, b = table(whole), table(streamed)
    else:
        a, b = ([json.loads(line) for line in text.splitlines()] for text in (whole, streamed))
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for name, cell in one.items():
            if name.startswith("probability"):
                assert float(cell) == pytest.approx(float(other[name]), abs=1.1e-4)
            else:
                assert cell == other[name]


def test_a_stream_per_sequence_answers_so_far(
    per_sequence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.csv", records())
    args = [f"--ckpt_path={per_sequence}", f"--input={path}", "--probabilities=true"]
    found = table(run(capsys, *args, "--stream=true"))
    last = [found[end - 1] for end in np.cumsum(LENGTHS)]
    for row, answer in zip(last, expected(per_sequence), strict=True):
        assert float(row["probability:off"]) == pytest.approx(answer.probabilities[2], abs=1.1e-4)


@pytest.fixture
def answers(per_step: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Streams the lines of a standard input; gives the lines written, and the error."""

    def stream(text: bytes, *args: str) -> tuple[list[str], str]:
        written = io.StringIO()
        monkeypatch.setattr(sys, "stdout", written)
        path = Path(str(per_step)).parent / "stdin"
        path.write_bytes(text)
        with path.open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            try:
                main(["predict", f"--ckpt_path={per_step}", "--stream=true", *args])
                error = ""
            except SystemExit as stopped:
                error = str(stopped.code)
        return written.getvalue().splitlines(), error

    return stream


HEADER = b"time,color,pressure,temperature,machine\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"1,red,1000,20,m", "input:3: expected a time after 1, that of the step before, got 1;"),
        (b"0,red,1000,20,m", "input:3: expected a time after 1, that of the step before, got 0;"),
        (b",red,1000,20,m", "input:3: expected a time, got nan"),
        (
            b"2,red,1000,hot,m",
            "input:3: expected a number in column 'temperature', got 'hot'",
        ),
        (b"2,red,-inf,20,m", "input:3: expected a finite number in column 'pressure', got '-inf'"),
        (b"2,red,1000", "input:3: expected 5 columns, got 3"),
        (b"2,red,1000,20,\xff", "input:3: byte 0xff is not UTF-8"),
    ],
)
def test_a_stream_ends_at_the_first_line_that_cannot_be_used(
    answers: Any,  # noqa: ANN401
    line: bytes,
    says: str,
) -> None:
    text = HEADER + b"1,red,1000,20,m\n" + line + b"\n3,red,1000,20,m\n"
    found, error = answers(text)
    assert len(found) == 2
    assert found[1].startswith("1,red,1000,20,m,")
    assert says in error
    assert "\n" not in error.strip()


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        (b"", [], "standard input is empty"),
        (b"time,color,pressure\n1,red,1000\n", [], "expected a column 'temperature', got the colu"),
        (b"time;color\n1;red\n", [], "standard input:1: expected columns separated by"),
        (b"[1]\n", ["--format=jsonl"], "standard input:1: expected a JSON object, got '[1]'"),
        (b"{\n", ["--format=jsonl"], "standard input:1: not JSON"),
        (b"x", ["--output=x.csv"], "--stream=true writes to standard output; remove --output"),
        (b"x", ["--format=parquet"], "must be csv, tsv or jsonl with --stream=true, got 'parquet'"),
        (b"x", ["--input", "a.csv", "b.csv"], "--input: expected one table, got 2"),
        (b"x", ["--input", "a.csv"], "a.csv is not in"),
        (b"x", ["--format=xml"], ""),
    ],
)
def test_a_stream_that_cannot_be_read(
    answers: Any,  # noqa: ANN401
    text: bytes,
    args: list[str],
    says: str,
) -> None:
    found, error = answers(text, *args)
    assert found == []
    assert says in error
    assert error


def test_rows_without_a_name_belong_to_one_sequence(answers: Any) -> None:  # noqa: ANN401
    lines = [b"1,red,1000,20", b"2,green,,21", b"4,,990,NaN"]
    named, _ = answers(HEADER + b"".join(line + b",m\n" for line in lines))
    bare, error = answers(HEADER.replace(b",machine", b"") + b"\n".join(lines))
    assert not error
    assert [line.split(",m,")[1] for line in named[1:]] == [
        line.split(",", 4)[4] for line in bare[1:]
    ]
    # A name begins a new sequence, whose times begin anew.
    other, error = answers(HEADER + b"1,red,1000,20,m\n1,red,1000,20,n\n")
    assert not error
    assert other[1].split(",m,")[1] == other[2].split(",n,")[1]


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        (
            "prediction,time\n",
            [],
            "expected a column 'color', got the columns prediction, time; add",
        ),
        (
            "prediction,time,color,pressure,temperature,machine\n1,1,red,1000,20,m\n",
            [],
            "a.csv: expected no column 'prediction', which predict adds, got one; rename it",
        ),
        (
            "time,color,pressure,temperature,machine\n1,red,1,x,m\n",
            [],
            "a.csv:2: expected a number in",
        ),
        (None, [], "a.csv is not in"),
    ],
)
def test_a_table_that_cannot_be_used(
    per_step: Path, tmp_path: Path, text: str | None, args: list[str], says: str
) -> None:
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_text(text if "\n1" in text else text + "1,1\n")
    out = tmp_path / "out.csv"
    with pytest.raises(SystemExit, match=re.escape(says)):
        main(["predict", f"--ckpt_path={per_step}", f"--input={path}", f"--output={out}", *args])
    assert not out.exists()


def test_rows_with_other_columns_need_json_lines(
    per_step: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = records()[:3]
    rows[1]["more"] = [1, {"a": None}]
    path = write(tmp_path / "a.jsonl", rows)
    args = [f"--ckpt_path={per_step}", f"--input={path}"]
    with pytest.raises(SystemExit, match="expected the columns of the first row, machine, temper"):
        run(capsys, *args, "--format=csv")
    found = [json.loads(line) for line in run(capsys, *args, "--format=jsonl").splitlines()]
    assert [row.get("more") for row in found] == [None, [1, {"a": None}], None]


@pytest.mark.parametrize(
    ("name", "contents", "says"),
    [
        ("a.npy", np.zeros((3, 5)), "a.npy: expected the shape (T, 2), with a column for each"),
        ("a.npy", np.zeros((0, 2)), "a.npy: expected at least one step, got none"),
        (
            "a.npy",
            np.full((2, 2), np.inf),
            "a.npy, step 0: expected a finite number in 'features_0'",
        ),
        ("a.npy", b"no array", "a.npy: expected a complete NumPy file, got"),
        (
            "a.npy",
            np.array([{}], dtype=object),
            "a.npy: expected numbers or strings, got Python objects",
        ),
        ("a.npz", {"x": np.zeros(3)}, "a.npz: expected an array 'features', got x; rename"),
        ("a.npy", None, "a.npy is not in"),
    ],
)
def test_a_numpy_file_that_cannot_be_used(
    arrays: Path,
    tmp_path: Path,
    name: str,
    contents: Any,  # noqa: ANN401
    says: str,
) -> None:
    path = tmp_path / name
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    elif isinstance(contents, dict):
        np.savez(path, **contents)
    elif contents is not None:
        np.save(path, contents, allow_pickle=True)
    with pytest.raises(SystemExit, match=re.escape(says)):
        main(["predict", f"--ckpt_path={arrays}", f"--input={path}"])


def test_standard_input_needs_a_stream(per_step: Path) -> None:
    with pytest.raises(SystemExit, match="expected tables or NumPy files; pass --input with files"):
        main(["predict", f"--ckpt_path={per_step}"])


def test_the_help_shows_the_options(per_step: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", f"--ckpt_path={per_step}", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("--stream", "--format", "--probabilities", "--batch_size", "h rows further on"):
        assert part in shown


@pytest.mark.slow
def test_answers_come_at_once_through_a_pipe(per_step: Path) -> None:
    with subprocess.Popen(
        [
            sys.executable, "-m", "srulight", "predict", f"--ckpt_path={per_step}", "--stream=true",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HEADER.decode())
        for i in range(1, 4):
            process.stdin.write(f"{i},red,1000,20,m\n")
            process.stdin.flush()
            if i == 1:
                assert process.stdout.readline().startswith("time,color,")
            # This would wait for ever if the answer came with the next line.
            assert process.stdout.readline().startswith(f"{i},red,1000,20,m,")
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(60) == 0
