"""A compiled run is the run that is not compiled, and leaves the same checkpoints."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from srulight import load
from srulight.cli import main
from srulight.ops import extension
from srulight.tasks.language_modeling.task import LanguageModeling
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from tests.python import python

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSIFIER = [
    f"--config={CONFIGS / 'quickstart.yaml'}", "--data.corpus=Grammar", "--data.batch_size=8",
    "--model.embedding_size=8",
]  # fmt: skip
MODEL = [
    f"--config={CONFIGS / 'language_model.yaml'}", "--data.corpus=GrammarText",
    "--data.batch_size=4", "--data.evaluation.tracks=3", "--model.embedding_size=8",
]  # fmt: skip
SEQUENCES = [
    f"--config={CONFIGS / 'sequences.yaml'}", "--data.corpus=SyntheticSignals",
    "--data.corpus.steps=40", "--data.batch_size=8", "--model.embedding_size=8",
]  # fmt: skip
VIDEOS = [
    f"--config={CONFIGS / 'video.yaml'}", "--data.corpus=SyntheticTools",
    "--data.corpus.frames=16", "--data.batch_size=8", "--data.height=8", "--data.width=8",
    "--model.frames.width=4",
]  # fmt: skip
SPEECH = [
    f"--config={CONFIGS / 'speech.yaml'}", "--data.corpus=SyntheticDTMF",
    "--data.batch_frames=1000",
    "--data.features.num_mels=16", "--model.subsampling.channels=8",
]  # fmt: skip
TRANSLATION = [
    f"--config={CONFIGS / 'translation.yaml'}", "--data.corpus=SyntheticNumbers",
    "--data.batch_tokens=200", "--model.embedding_size=8",
    "--model.translator.encoder.hidden_size=8", "--model.translator.decoder.hidden_size=8",
]  # fmt: skip
QUESTIONS = [
    f"--config={CONFIGS / 'questions.yaml'}", "--data.corpus=SyntheticStories",
    "--data.batch_size=32", "--model.embedding_size=8", "--model.encoder.hidden_size=8",
]  # fmt: skip
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = [
    "--data.corpus.train_size=80", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    "--trainer.max_epochs=3", "--trainer.log_every_n_steps=4", *QUIET,
]  # fmt: skip
for task in (CLASSIFIER, MODEL, SEQUENCES, VIDEOS, SPEECH):
    task += ["--model.encoder.hidden_size=8", "--model.encoder.num_layers=1"]
TASKS = {
    "classification": CLASSIFIER,
    "language modeling": MODEL,
    "sequences": SEQUENCES,
    "segments": [*SEQUENCES, "--data.segment_length=17"],
    "videos": VIDEOS,
    "video segments": [*VIDEOS, "--data.segment_length=9"],
    "speech": SPEECH,
    "translation": TRANSLATION,
    "questions": QUESTIONS,
}
# For these, torch runs the graphs as they were captured. To generate C++ takes half a minute for
# each task: the others have layers of each kind, and a test below compiles a classifier in full.
CAPTURED = ("classification", "sequences", "videos", "video segments", "questions")
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@pytest.fixture(autouse=True)
def _nothing_compiled_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load("cpu")  # from the cache of kernels, before there is another
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    torch.compiler.reset()
    counters.clear()


@pytest.fixture
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes torch run captured graphs for the tasks for which that is enough."""
    if request.node.callspec.id in CAPTURED:
        compile = torch.compile
        monkeypatch.setattr(
            torch, "compile", lambda f, **_: compile(f, dynamic=True, backend="aot_eager")
        )


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def fit(folder: Path, *args: str) -> dict[str, Tensor]:
    """Trains, or goes on; gives the weights."""
    main(["fit", *args, f"--trainer.default_root_dir={folder}"])
    return weights(folder)


def weights(folder: Path) -> dict[str, Tensor]:
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    found: dict[str, Tensor] = torch.load(last, weights_only=True)["state_dict"]
    return found


def logged(folder: Path, name: str) -> list[float]:
    with (folder / "version_0" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def assert_close(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(got[name], weight, rtol=1e-3, atol=1e-4, msg=name)


# torch looks at features that have a gradient, and hides the warning that this causes.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
@pytest.mark.usefixtures("backend")
@every_task
def test_it_is_the_run_that_is_not_compiled(task: list[str], tmp_path: Path) -> None:
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    expected = fit(plain, *task, *SMALL)
    assert graphs() == 0
    # Dropout, too, draws the same numbers.
    assert_close(fit(compiled, *task, *SMALL, "--model.compile=true"), expected)
    # One for measuring, one for training, and of these one more for the start of a text, or for
    # more than 16 steps; lengths and numbers of sentences differ. Videos have two functions.
    functions = 2 if task[0] == VIDEOS[0] else 1
    assert 2 <= graphs() <= 5 * functions
    # Layers are looked into at the same steps.
    for name in ("train/growing_states", "train/gradient_norm", "val/loss"):
        values = logged(plain, name)
        assert len(values) >= 3
        assert logged(compiled, name) == pytest.approx(values, rel=1e-2, abs=1e-3)


@pytest.mark.slow
def test_a_run_may_be_compiled_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = fit(tmp_path / "plain", *CLASSIFIER, *SMALL)
    fit(tmp_path, *CLASSIFIER, *SMALL, "--trainer.max_epochs=1")
    assert graphs() == 0
    fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=2", "--model.compile=true")
    made = graphs()
    assert made > 0
    options = ["--trainer.max_epochs=3", "--model.compile=false"]
    assert_close(fit(tmp_path, "--ckpt_path=last", *options), expected)
    assert graphs() == made

    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    measured = []
    for said in ("false", "true"):
        capsys.readouterr()
        main(["test", f"--ckpt_path={last}", f"--model.compile={said}", *QUIET])
        measured.append(capsys.readouterr().out)
    assert "test/accuracy" in measured[0]
    assert measured[0] == measured[1]
    assert graphs() > made


@every_task
def test_what_only_predicts_is_not_compiled(task: list[str], tmp_path: Path) -> None:
    with torch.compiler.set_stance("force_eager"):
        fit(tmp_path, *task, *SMALL, "--model.compile=true", "--trainer.log_every_n_steps=0")
    trained = load(tmp_path / "version_0" / "checkpoints" / "last.ckpt")
    assert trained.compiled
    inputs: list[Any] = ["the plot was dull .", "dull"]
    if task is QUESTIONS:
        inputs = [("the plot was dull .", "what?")] * 2
    if task in (TASKS["sequences"], TASKS["segments"]):
        inputs = [torch.randn(5, 3), torch.randn(2, 3)]
    if task in (TASKS["videos"], TASKS["video segments"]):
        inputs = [torch.zeros(n, 32, 32, dtype=torch.uint8) for n in (5, 2)]
    if task is SPEECH:
        inputs = [str(said.audio[0]) for said in SyntheticDTMF(80, 16, 16).read(tmp_path).test[:2]]
    assert len(trained.predict(inputs)) == 2
    if isinstance(trained, LanguageModeling):
        assert len(list(trained.generate("the", length=3))) == 3
    assert graphs() == 0


def test_says_that_there_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"needs a C\+\+ compiler; install g\+\+, or set CXX"):
        fit(tmp_path, *CLASSIFIER, *SMALL, "--model.compile=true")


@pytest.mark.slow
def test_two_processes_compile_what_one_need_not(tmp_path: Path) -> None:
    exact = [*MODEL, *SMALL, "--model.dropout=0", "--model.encoder.dropout=0"]
    expected = fit(tmp_path / "one", *exact)
    done = python(
        CONFIGS.parent / "train.py", "fit", *exact, "--trainer.strategy=ddp",
        "--trainer.devices=2", "--data.batch_size=2", "--model.compile=true",
        f"--trainer.default_root_dir={tmp_path / 'two'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_close(weights(tmp_path / "two"), expected)
