"""A reader is trained and used from the command line."""

import json
import re
from pathlib import Path

import pytest
import torch

from srulight import load
from srulight.cli import main
from srulight.tasks.question_answering.corpora.synthetic_stories import SyntheticStories
from srulight.tasks.question_answering.features import Windows
from srulight.tasks.question_answering.model import ReaderLayers
from srulight.tasks.question_answering.task import QuestionAnswering


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a briefly trained reader, with stories beside it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRULIGHT_CACHE", str(folder / "cache"))
        config = Path(__file__).parents[3] / "configs" / "questions.yaml"
        main([
            "fit", f"--config={config}", "--data.corpus=SyntheticStories",
            "--data.corpus.train_size=150",
            "--data.corpus.val_size=20", "--data.corpus.test_size=20",
            "--data.corpus.unanswerable=0.3", "--data.batch_size=16",
            "--data.windows.size=60", "--data.windows.overlap=20", "--model.layers.document=1",
            "--model.optimizer.lr=0.004", f"--trainer.default_root_dir={folder}",
            "--trainer.max_epochs=4", "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
        ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


def squad(folder: Path) -> Path:
    """Writes stories in the format of SQuAD."""
    stories = SyntheticStories(1, 1, 10, unanswerable=0.3, seed=5).read(folder).test
    assert stories is not None
    data = [
        {
            "title": story.article,
            "paragraphs": [
                {
                    "context": story.context,
                    "qas": [{"id": q.id, "question": q.text} for q in story.questions],
                }
            ],
        }
        for story in stories
    ]
    path = folder / "questions.json"
    path.write_text(json.dumps({"version": "v2.0", "data": data}))
    return path


def test_it_learns(trained: Path) -> None:
    assert torch.load(trained, weights_only=True)["callbacks"]
    task = load(trained)
    assert isinstance(task, QuestionAnswering)
    test = SyntheticStories(1, 1, 40, unanswerable=0.3, seed=77).read(Path()).test
    assert test is not None
    asked = [(story.context, q) for story in test for q in story.questions]
    found = task.predict([(context, q.text) for context, q in asked])
    right = sum(
        best.text in ([a.text for a in q.answers] or [""])
        for (best,), (_, q) in zip(found, asked, strict=True)
    )
    assert right / len(asked) > 0.6


def test_a_checkpoint_keeps_its_settings(trained: Path) -> None:
    task = load(trained)
    assert isinstance(task, QuestionAnswering)
    assert task.layers == ReaderLayers(document=1, question=2)
    assert task.settings.windows == Windows(size=60, overlap=20)
    assert task.settings.tokenizer.lowercase


def test_a_file_of_questions_is_answered_in_the_official_format(
    trained: Path, tmp_path: Path
) -> None:
    path, out = squad(tmp_path), tmp_path / "predictions.json"
    main(["predict", f"--ckpt_path={trained}", f"--input={path}", f"--output={out}"])
    found = json.loads(out.read_text())
    asked = {
        q["id"]: paragraph["context"]
        for article in json.loads(path.read_text())["data"]
        for paragraph in article["paragraphs"]
        for q in paragraph["qas"]
    }
    assert found.keys() == asked.keys()
    assert all(answer in asked[id] for id, answer in found.items())
    assert "" in found.values()
    main([
        "predict", f"--ckpt_path={trained}", f"--input={path}", f"--output={out}", "--n_best=3",
    ])  # fmt: skip
    several = json.loads(out.read_text())
    assert {id: best[0]["text"] for id, best in several.items()} == found
    assert {tuple(one) for best in several.values() for one in best} == {
        ("text", "start", "probability")
    }


def test_a_question_about_a_text_is_answered(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "story.txt"
    text = " Ada Baker sold red hats. \r\n   This person was born in Lima.\r\n"
    path.write_bytes(f"\ufeff{text}".encode())
    args = ["predict", f"--ckpt_path={trained}", f"--input={path}"]
    capsys.readouterr()
    main([*args, "--question=What did Ada Baker sell?", "--n_best=2"])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert all(0 <= float(probability) <= 1 for probability, _, _ in lines)
    assert not all(answer == "(no answer)" for *_, answer in lines)
    for _, start, answer in lines:
        # Positions are those in the file, whatever its line endings.
        there = text[int(start) :]
        assert answer == "(no answer)" or " ".join(there.split()).startswith(answer)
        assert answer == "(no answer)" or not there[0].isspace()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--input must be a .json file of questions, got"),
        (["--question= "], "--question must have words, got ' '; pass a question"),
        (["--question=Who?", "--n_best=0"], "n_best must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    options: list[str], says: str, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "story.txt"
    path.write_text("Ada sold hats.")
    with pytest.raises(SystemExit, match=re.escape(says)):
        main(["predict", f"--ckpt_path={trained}", f"--input={path}", *options])


def test_an_option_of_another_task_is_refused_by_the_parser(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["predict", f"--ckpt_path={trained}", "--question=Who?", "--beam_size=2"])
    assert stopped.value.code == 2
    assert "--beam_size" in capsys.readouterr().err


def test_the_help_of_a_checkpoint_shows_the_options_of_the_task(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["predict", f"--ckpt_path={trained}", "--help"])
    assert not stopped.value.code
    shown = capsys.readouterr().out
    for option in ("--question", "--batch_size", "--n_best", "--input", "--output"):
        assert option in shown
    assert "--beam_size" not in shown
