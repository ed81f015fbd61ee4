"""The inputs that predict reads: lines and tables."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from srulight.checkpoint import load
from srulight.cli import main
from srulight.runtime.errors import InputError

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
ROWS = 'label,review\ngood,"a fine , ""new""\nplot"\nbad,dull cafe\u0301\n'


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the column "review"."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "train.csv").write_text(ROWS, encoding="utf-8")
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=Tables", f"--data.root={folder}",
        "--data.corpus.train=train.csv", "--data.corpus.val=train.csv",
        "--data.corpus.text=review", "--model.embedding_size=8", "--model.encoder.hidden_size=8",
        f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


def predicted(checkpoint: Path, source: Path, output: str, *options: str) -> str:
    """Returns the text that predict writes."""
    path = source.with_name(output)
    main([
        "predict", f"--ckpt_path={checkpoint}", f"--input={source}", f"--output={path}", *options,
    ])  # fmt: skip
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def table(text: str) -> list[dict[str, str]]:
    """Reads a CSV file."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.csv", ROWS),
        ("in.csv", "\ufeff" + ROWS.replace("\n", "\r\n")),
        ("in.tsv", 'id\treview\n1\ta fine , "new" plot\n2\tdull cafe\u0301\n'),
        ("in.jsonl", '{"review": "a fine , \\"new\\"\\nplot"}\n{"review": "dull cafe\u0301"}'),
    ],
)  # fmt: skip
def test_of_a_table_the_column_is_read_that_training_read(
    name: str, text: str, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode())
    first, second = table(predicted(checkpoint, tmp_path / name, "out.csv"))
    assert first["review"].replace("\n", " ") == 'a fine , "new" plot'
    assert second["review"] == "dull cafe\u0301"
    for row, answer in zip(
        (first, second), load(checkpoint).predict([first["review"], second["review"]]), strict=True
    ):
        assert row["prediction"] == answer.label
        assert row["probability"] == f"{answer.probability:.4f}"


def test_a_table_keeps_its_columns_and_its_format(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,review,note\n007,dull,"a, b"\n8,"fine\nplot",\n')
    rows = table(predicted(checkpoint, tmp_path / "in.csv", "out.txt", "--probabilities=true"))
    own = [{name: row[name] for name in ("id", "review", "note")} for row in rows]
    assert own == [
        {"id": "007", "review": "dull", "note": "a, b"},
        {"id": "8", "review": "fine\nplot", "note": ""},
    ]
    assert list(rows[0])[3:] == [
        "prediction", "probability", "probability:bad", "probability:good",
    ]  # fmt: skip
    for row in rows:
        shares = {name: float(row[f"probability:{name}"]) for name in ("bad", "good")}
        assert sum(shares.values()) == pytest.approx(1, abs=1.1e-4)
        assert row["prediction"] == max(shares, key=lambda name: shares[name])
        assert float(row["probability"]) == max(shares.values())

    first, _ = rows
    (tmp_path / "in.jsonl").write_text('{"review": "dull", "id": 7, "tags": ["a"]}\n')
    row = json.loads(predicted(checkpoint, tmp_path / "in.jsonl", "-.txt"))
    assert row == {
        "review": "dull", "id": 7, "tags": ["a"], "prediction": first["prediction"],
        "probability": float(first["probability"]),
    }  # fmt: skip
    (row,) = table(predicted(checkpoint, tmp_path / "in.jsonl", "out.csv"))
    assert row["tags"] == '["a"]'
    text = predicted(checkpoint, tmp_path / "in.csv", "out.csv", "--format=tsv")
    assert [line.split("\t")[:3] for line in text.splitlines()] == [
        ["id", "review", "note"], ["007", "dull", "a, b"], ["8", "fine plot", ""],
    ]  # fmt: skip


def test_parquet_comes_back_as_parquet(checkpoint: Path, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    reviews = ["dull", "fine"]
    given = {"review": reviews, "price": [1.5, None], "tags": [["a"], []]}
    parquet.write_table(arrow.table(given), tmp_path / "in.parquet")
    options = ["predict", f"--ckpt_path={checkpoint}", f"--input={tmp_path}/in.parquet"]
    main([*options, f"--output={tmp_path}/out.parquet"])
    found = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert {name: found[name] for name in given} == given
    answers = load(checkpoint).predict(reviews)
    assert found["prediction"] == [answer.label for answer in answers]
    assert found["probability"] == [round(answer.probability, 4) for answer in answers]
    with pytest.raises(SystemExit, match="--format=parquet needs a file to write"):
        main([*options, "--format=parquet"])


def test_a_column_that_predict_would_overwrite_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("review,prediction\ndull,x\n")
    why = "in.csv: expected no column 'prediction', which predict adds, got one; rename it"
    with pytest.raises(SystemExit, match=why):
        predicted(checkpoint, tmp_path / "in.csv", "out.csv")


def test_half_a_character_is_the_sign_for_it(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"review": "half \\ud83d one"}\n')
    (row,) = table(predicted(checkpoint, tmp_path / "in.jsonl", "out.csv"))
    assert row["review"] == "half \ufffd one"


def test_a_table_without_the_column_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\nso,x\n")
    with pytest.raises(SystemExit, match=r"in.csv:2: expected a column 'review', got .* label"):
        predicted(checkpoint, tmp_path / "in.csv", "out.csv")


def test_a_line_in_is_a_line_out_as_it_was(checkpoint: Path, tmp_path: Path) -> None:
    lines = ["  dull\rplot \t", "", "a\u2028b\x85c", "end"]
    (tmp_path / "in.txt").write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    source = tmp_path / "in.txt"
    # A file without columns gives lines, even if the name of the output could be that of a table.
    found = predicted(checkpoint, source, "out.tsv").split("\n")
    assert found.pop() == ""
    assert [line.split("\t", 2)[2] for line in found] == lines
    *_, last = predicted(checkpoint, source, "out.tsv", "--probabilities=true").split("\n")[:-1]
    label, probability, bad, good, text = last.split("\t")
    assert {"bad": bad, "good": good}[label] == probability == max(bad, good)
    assert text == "end"
    rows = map(json.loads, predicted(checkpoint, source, "out", "--format=jsonl").split("\n")[:-1])
    assert [row["review"] for row in rows] == lines


def test_what_has_no_end_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for source in ("/dev/zero", str(tmp_path)):
        with pytest.raises(SystemExit, match=source):
            main(["predict", f"--ckpt_path={checkpoint}", f"--input={source}"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--batch_size=-1", "batch_size must be at least 1, got -1"),
        ("--batch_size=0", "batch_size must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_range_is_refused(option: str, message: str, checkpoint: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["predict", f"--ckpt_path={checkpoint}", f"--input={CONFIG}", option])


@pytest.mark.parametrize("option", ["--beam_size=2", "--n_best=2", "--channels=mix", "--chunk=1"])
def test_an_option_of_another_task_is_refused(
    option: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", f"--ckpt_path={checkpoint}", f"--input={CONFIG}", option])
    name = option.partition("=")[0]
    assert f"predict with a TextClassification has no option {name}" in capsys.readouterr().err


def test_help_is_that_of_the_task_of_the_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["predict", f"--ckpt_path={checkpoint}", "--help"])
    text = capsys.readouterr().out
    assert "Writes the prediction for each line of a text file" in text
    assert "--probabilities" in text
    assert "--batch_size" in text
    assert "--beam_size" not in text


@pytest.mark.parametrize("command", ["predict", "generate"])
def test_without_a_checkpoint_it_is_asked_for(command: str) -> None:
    with pytest.raises(SystemExit, match=f"{command} needs a checkpoint; pass --ckpt_path=FILE"):
        main([command])


def test_generate_is_for_tasks_that_generate(checkpoint: Path) -> None:
    with pytest.raises(SystemExit, match="TextClassification cannot generate text"):
        main(["generate", f"--ckpt_path={checkpoint}"])


def test_a_bar_on_a_terminal_takes_no_answer_away(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "in.txt").write_text("dull\n")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # standard error is a terminal, and output is not
    main(["predict", f"--ckpt_path={checkpoint}", f"--input={tmp_path}/in.txt"])
    said = capsys.readouterr()
    assert said.out.endswith("\tdull\n")
    assert "predicting" in said.err


def test_text_stays_text(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.txt").write_text("dull\n")
    monkeypatch.chdir(tmp_path)
    main(["predict", f"--ckpt_path={checkpoint}", "--input=in.txt", "--output=None"])
    assert set(os.listdir()) == {"None", "in.txt"}


def test_a_text_alone_is_one_input(checkpoint: Path) -> None:
    task = load(checkpoint)
    assert task.predict("the plot was dull") == task.predict(["the plot was dull"])
    assert len(task.predict(["half \ud83d a character", "end"])) == 2
    with pytest.raises(InputError, match="batch_size must be at least 1, got -1"):
        task.predict(["a"], batch_size=-1)
