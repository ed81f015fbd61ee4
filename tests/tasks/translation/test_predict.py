"""A translator is trained and used from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srulight import load
from srulight.cli import main
from srulight.commands.training import build
from srulight.ops import extension
from srulight.tasks.translation.data import TranslationData
from srulight.tasks.translation.dataset import PairFilters
from srulight.tasks.translation.settings import SearchSettings
from srulight.tasks.translation.task import Translation

CONFIG = Path(__file__).parents[3] / "configs" / "translation.yaml"
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
LINES = "three hundred forty two\n\nsix\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a briefly trained translator."""
    extension.load("cpu")  # from the usual kernel cache, before the test sets another one
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRULIGHT_CACHE", str(folder / "cache"))
        main([
            "fit", f"--config={CONFIG}", "--data.corpus=SyntheticNumbers",
            "--data.corpus.train_size=1500", "--data.corpus.val_size=20",
            "--data.corpus.test_size=20", "--data.batch_tokens=400", "--model.optimizer.lr=0.005",
            "--model.search.beam_size=4", "--model.search.length_penalty=0.8",
            "--data.filters.max_length=50",
            "--trainer.max_epochs=6", f"--trainer.default_root_dir={folder}", *QUIET,
        ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


def test_it_learns(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    main(["test", f"--ckpt_path={trained}", QUIET[0]])
    out = capsys.readouterr().out
    assert float(out.split("test/bleu ")[1].split()[0]) > 40  # below 5 before training


def test_lines_are_translated(
    trained: Path, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plots = tmp_path / "plots"
    main(["predict", f"--ckpt_path={trained}", f"--input={lines}", f"--plot={plots}"])
    written = capsys.readouterr().out.split("\n")
    one, two = load(trained).predict(["three hundred forty two", "six"])
    assert written == [one[0].text, "", two[0].text, ""]
    assert {path.name for path in plots.iterdir()} == {"line-1.png", "line-3.png"}

    main(["predict", f"--ckpt_path={trained}", f"--input={lines}", "--n_best=2", "--beam_size=3"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["source"] for row in rows] == ["three hundred forty two", "", "six"]
    assert rows[0]["translations"][0]["text"] == written[0]
    assert len(rows[0]["translations"]) == 2


def test_only_the_option_that_is_given_changes(
    trained: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(trained).search == SearchSettings(4, 0.8)
    used: list[SearchSettings] = []
    predict = Translation.predict

    def noting(task: Translation, *given: Any) -> Any:  # noqa: ANN401
        used.append(task.search)
        return predict(task, *given)

    monkeypatch.setattr(Translation, "predict", noting)
    for option in ("--batch_size=3", "--beam_size=2", "--coverage_penalty=0.2"):
        main(["predict", f"--ckpt_path={trained}", f"--input={lines}", option])
    assert used == [SearchSettings(4, 0.8), SearchSettings(2, 0.8), SearchSettings(4, 0.8, 0.2)]


def test_help_shows_the_options_of_translation(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["predict", f"--ckpt_path={trained}", "--help"])
    out = capsys.readouterr().out
    for option in ("beam_size", "n_best", "length_penalty", "coverage_penalty", "plot"):
        assert f"--{option}" in out
    assert "--stream" not in out


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--stream=true", "stream"),
        ("--decoder.beam_size=3", "decoder.beam_size"),
        ("--beam_size=0", "beam_size must be at least 1, got 0"),
        ("--length_penalty=-1", "length_penalty must be at least 0, got -1.0"),
        ("--n_best=5", "n_best must be 1 to 4, got 5"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    trained: Path, lines: Path, option: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["predict", f"--ckpt_path={trained}", f"--input={lines}", option])
    # The parser exits with status 2; the task exits with a message.
    assert says in (capsys.readouterr().err if left.value.code == 2 else str(left.value.code))
    assert (left.value.code == 2) == (option.split("=")[0] in ("--stream", "--decoder.beam_size"))


def test_settings_can_be_given_one_by_one() -> None:
    options = ["--data.filters.max_ratio=1.5", "--data.tokenizer.min_count=2"]
    options += ["--model.search.max_ratio=3", "--trainer.logger=false"]
    cli = build([f"--config={CONFIG}", *options], run=False)
    assert isinstance(cli.datamodule, TranslationData)
    assert cli.datamodule.filters == PairFilters(100, 1.5)
    assert cli.datamodule.tokenizer.recipe["split"] == "space"
    assert cli.datamodule.tokenizer.recipe["min_count"] == 2
    assert cli.model.search == SearchSettings(max_ratio=3)


def test_a_checkpoint_has_its_settings_as_plain_data(trained: Path) -> None:
    stored = torch.load(trained, weights_only=True)
    assert stored["hyper_parameters"]["search"]["length_penalty"] == 0.8
    assert stored["config"]["data"]["init_args"]["filters"]["max_length"] == 50
    assert stored["metadata"]["target"]["language"] is None  # split=space needs no language
