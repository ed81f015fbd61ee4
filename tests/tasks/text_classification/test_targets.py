"""Texts with targets of every kind, from a table to predictions."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer, seed_everything

from srulight import SRU, load
from srulight.cli import main
from srulight.runtime.errors import InputError
from srulight.targets import LossSettings
from srulight.targets.build import KINDS
from srulight.tasks.text_classification.corpora.base import Example, SentenceCorpus, Splits
from srulight.tasks.text_classification.corpora.tables import Tables
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"


class Unbalanced(SentenceCorpus):
    """Sentences of one word; 80% have the first class, 15% the second and 5% the third.

    Of 20 sentences of a class, 12 consist of the word of that class, and 4 each of the other words.
    """

    def read(self, root: Path) -> Splits:
        examples = [
            Example("abc"[(label + shift) % 3], label)
            for label, twenties in enumerate((16, 3, 1))
            for shift, count in enumerate((12, 4, 4))
            for _ in range(twenties * count)
        ]
        return Splits(examples, examples, [], ["x", "y", "z"], True)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        # By the counts, x is the most probable class of every word: its F1 is 2 * 0.8 / 1.8.
        ("none", 1.6 / 1.8 / 3),
        # With the same weight for all classes, each word is a sign of its own class: a of x in 192
        # of 192 + 12 + 4 sentences, b of y in 36 of 104, and c of z in 12 of 88.
        ("balanced", (2 * 192 / (208 + 320) + 2 * 36 / (104 + 60) + 2 * 12 / (88 + 20)) / 3),
    ],
)
def test_balanced_weights_raise_macro_f1_of_unbalanced_data(
    weights: Any, expected: float, tmp_path: Path  # noqa: ANN401
) -> None:  # fmt: skip
    seed_everything(0, verbose=False)
    task = TextClassification(
        embedding_size=4, dropout=0.0, encoder=partial(SRU, hidden_size=8, num_layers=1),
        loss=LossSettings(weights), optimizer=partial(torch.optim.Adam, lr=0.05),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=6, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(task, TextClassificationData(Unbalanced(), batch_size=20))
    assert trainer.callback_metrics["val/macro_f1"].item() == pytest.approx(expected)


def fit(folder: Path, *options: str) -> Path:
    """Trains on a table through the command line, and returns the best checkpoint."""
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=Tables", f"--data.root={folder}",
        "--data.corpus.train=train.csv", "--data.corpus.val=train.csv", "--model.embedding_size=8",
        "--model.dropout=0", "--model.encoder.hidden_size=8", "--model.encoder.dropout=0",
        f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=12", "--data.batch_size=4",
        "--model.optimizer.lr=0.05", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", *options,
    ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


def predict(checkpoint: Path, *options: str) -> list[dict[str, Any]]:
    """Predicts from the training table, and returns the rows of the answer."""
    folder = checkpoint.parents[2]
    main([
        "predict", f"--ckpt_path={checkpoint}", f"--input={folder}/train.csv",
        f"--output={folder}/out.jsonl", *options,
    ])  # fmt: skip
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_several_labels_from_the_command_line_to_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    given = [("red", "1", "0"), ("green", "0", "1"), ("both", "1", "1"), ("none", "0", "")] * 5
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "is red", "green"), *given])
    path = fit(
        tmp_path, '--data.corpus.label=["is red", green]', "--data.corpus.kind=labels",
        "--model.loss.weights=balanced", "--model.loss.focal=1", "--model.monitor=val/macro_f1",
    )  # fmt: skip
    assert (
        "train: 20 sentences, 4 distinct words, 0.0% out-of-vocabulary words; labels: green 66.7%, "
        "is red 50.0%; 5 missing" in caplog.messages
    )
    assert "best val/macro_f1: 1.0000" in caplog.messages[-1]
    task = load(path)
    assert isinstance(task, TextClassification)
    assert task.loss_settings == LossSettings("balanced", focal=1.0)
    assert task.metadata is not None
    assert task.metadata["target"]["columns"] == ["is red", "green"]
    red, green, both, *_ = task.predict(["red", "green", "both"])
    assert (red.labels, green.labels, both.labels) == (["is red"], ["green"], ["is red", "green"])
    rows = predict(path, "--probabilities=true")
    assert [row["prediction"] for row in rows[:3]] == ["is red", "green", "is red;green"]
    assert rows[0]["is red"] == "1"
    assert rows[0]["probability:is red"] == round(red.probabilities[0], 4) > 0.5
    (tmp_path / "in.txt").write_text("both\n")
    capsys.readouterr()
    main(["predict", f"--ckpt_path={path}", f"--input={tmp_path}/in.txt"])
    assert capsys.readouterr().out == "is red;green\tboth\n"


def test_numbers_from_the_command_line_to_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = [("dear", "150.5"), ("cheap", "50.5"), ("unknown", "")] * 5
    with (tmp_path / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "price"), *rows])
    path = fit(tmp_path, "--data.corpus.label=price", "--data.corpus.kind=numbers")
    assert (
        "train: 15 sentences, 3 distinct words, 0.0% out-of-vocabulary words; numbers: price mean "
        "100.5, sd 50, min 50.5, max 150.5; 5 missing" in caplog.messages
    )
    assert "best val/mae: " in caplog.messages[-1]
    dear, cheap = load(path).predict(["dear", "cheap"])
    assert (*dear.values, *cheap.values) == pytest.approx((150.5, 50.5), abs=10)
    answer, *_ = predict(path)
    assert answer == {
        "text": "dear", "price": "150.5", "prediction:price": float(f"{dear.values[0]:.6g}"),
    }  # fmt: skip


def test_weights_of_any_class_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "a,5 stars\nb,a.b\nc,x\n" * 4)
    weights = {"5 stars": 2.0, "a.b": 0.5}
    more = {"model": {"init_args": {"loss": {"weights": weights}}}}
    (tmp_path / "more.yaml").write_text(json.dumps(more))
    path = fit(
        tmp_path, f"--config={tmp_path}/more.yaml", "--model.loss.weights.x=3",
        "--trainer.max_epochs=1",
    )  # fmt: skip
    task = load(path)
    assert isinstance(task, TextClassification)
    assert task.loss_settings.weights == {**weights, "x": 3}


def test_only_a_score_of_the_target_selects_the_best_checkpoint() -> None:
    data = {kind: TextClassificationData(Tables(kind=kind)) for kind in KINDS}  # type: ignore[arg-type]
    found = [TextClassification().monitored(data[kind]) for kind in KINDS]
    assert found == [("val/accuracy", "max"), ("val/average_precision", "max"), ("val/mae", "min")]
    for name in ("val/rmse", "rmse"):
        monitored = TextClassification(monitor=name).monitored(data["numbers"])
        assert monitored == ("val/rmse", "min")
    with pytest.raises(InputError, match=r"model.monitor must be .* val/macro_f1, .*'val/rmse'"):
        TextClassification(monitor="val/rmse").monitored(data["class"])


def test_data_of_another_kind_than_the_checkpoint_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\nc,1\n")
    first, second = (
        TextClassificationData(Tables("train.csv", "train.csv", kind=kind), root=str(tmp_path))
        for kind in ("class", "numbers")
    )  # fmt: skip
    first.setup()
    second.load_metadata(first.metadata)
    with pytest.raises(InputError, match=r"of the kind 'class', as in the checkpoint, got 'numb"):
        second.setup()
