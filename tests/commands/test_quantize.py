"""The command quantize."""

import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from srulight.bench.statistics import Estimate
from srulight.checkpoint import load, read
from srulight.cli import main
from srulight.commands.quantize_report import said, stored_bytes
from srulight.tasks import TextClassification

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    main([
        "fit", f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
        "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--model.embedding_size=8",
        "--model.encoder.hidden_size=8", f"--trainer.default_root_dir={folder}",
        "--trainer.max_epochs=1", *QUIET,
    ])  # fmt: skip
    return folder / "version_0" / "checkpoints" / "best.ckpt"


def quantized(original: Path, *options: str) -> None:
    main(["quantize", f"--ckpt_path={original}", *options, *QUIET])


def test_both_checkpoints_are_compared(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quantized(original, "--seconds=0.01")
    output = original.with_name("best-int8.ckpt")
    out = capsys.readouterr().out
    rows = {name: (a, b) for name, a, b in re.findall(r"^(.*?)  +([\d.]+)  +([\d.]+)$", out, re.M)}
    assert {"test/accuracy", "test/loss", "batch of 1, ms", "batch of 32, ms"} < rows.keys()
    for name, path in zip(("before", "after"), (original, output), strict=True):
        size = rows["checkpoint, MB"][name == "after"]
        assert float(size) == pytest.approx(path.stat().st_size / 1e6, abs=1e-4)
    assert len(re.findall(r"^With a .*, the quantized model ", out, re.M)) == 2
    assert f"saved {output}" in out
    # The metrics are those that test prints for either checkpoint.
    for path, place in ((original, 0), (output, 1)):
        main(["test", f"--ckpt_path={path}", *QUIET])
        printed = dict(re.findall(r"^(test/\S+) ([\d.]+)$", capsys.readouterr().out, re.M))
        assert printed.keys() == {name for name in rows if name.startswith("test/")}
        for name, value in printed.items():
            assert float(value) == pytest.approx(float(rows[name][place]), abs=1e-3)
    stored = read(output)
    assert "optimizer_states" not in stored
    assert stored["state_dict"]["embedding.weight.values"].dtype == torch.int8
    sentence = ["the plot was not dull"]
    probability = [load(path).predict(sentence)[0].probabilities for path in (original, output)]
    assert probability[0] == pytest.approx(probability[1], abs=0.02)
    main(["validate", f"--ckpt_path={output}", *QUIET])


def test_activations_can_be_calibrated(original: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.ckpt"
    quantized(
        original, f"--output={output}", "--activations=calibrated", "--batches=2",
        "--evaluate=validate", "--seconds=0",
    )  # fmt: skip
    stored = read(output)
    assert stored["quantization"]["activations"] == "calibrated"
    ranges = {n: w for n, w in stored["state_dict"].items() if n.endswith(".range")}
    assert ranges.keys() == {
        "encoder.layers.0.weight.range", "encoder.layers.1.weight.range", "head.weight.range",
    }  # fmt: skip
    # The first layer reads embeddings, which include zeros for padding.
    low, high = ranges["encoder.layers.0.weight.range"].tolist()
    table = load(output).embedding.weight.dense()  # type: ignore[operator, union-attr]
    assert table.min() <= low < 0 < high <= table.max()
    load(output).predict(["the plot was dull"])


def test_codebooks_are_fine_tuned(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [tmp_path / f"{name}.ckpt" for name in ("plain", "tuned")]
    training: tuple[str, ...] = ()
    for output in outputs:
        quantized(
            original, "--bits=4", "--activation_bits=8", "--codebook_rows=4", "--batches=3",
            "--evaluate=none", f"--output={output}", *training,
        )  # fmt: skip
        training = ("--epochs=2", "--learning_rate=0.01")
    assert re.search(r"val/accuracy", capsys.readouterr().out)
    plain, tuned = map(read, outputs)
    assert tuned["quantization"] == {
        "bits": 4, "activations": "calibrated", "activation_bits": 8,
    }  # fmt: skip
    weights = tuned["state_dict"]
    assert weights.keys() == plain["state_dict"].keys()
    matrix = "encoder.layers.0.weight"
    assert torch.equal(weights[f"{matrix}.indices"], plain["state_dict"][f"{matrix}.indices"])
    assert weights[f"{matrix}.fraction"].dtype == torch.int64
    assert weights[f"{matrix}.codebook"].shape == (weights[f"{matrix}.indices"].size(0) // 4, 16)
    assert not any(parameter.requires_grad for parameter in load(outputs[1]).parameters())
    load(outputs[1]).predict(["the plot was not dull"])


def test_an_interrupted_fine_tuning_leaves_no_file(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def stop(task: TextClassification, *_: object) -> None:
        modes.append(task.training)
        raise KeyboardInterrupt

    monkeypatch.setattr(TextClassification, "training_step", stop)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            quantized(
                original, "--bits=4", "--epochs=1", "--evaluate=none", f"--output={tmp_path / 'x'}"
            )
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert modes == [True]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bits=3"], "invalid choice: 3"),
        (["--epochs=2"], "--epochs needs --bits=4, got 8; add --bits=4"),
        (["--activation_bits=8"], "--activation_bits needs --bits=4, got 8"),
        (["--bits=4", "--activation_bits=3"], "--activation_bits must be 4 to 16, got 3"),
        (["--bits=4", "--codebook_rows=0"], "--codebook_rows must be at least 1, got 0"),
        (["--bits=4", "--epochs=-1"], "--epochs must be at least 0, got -1"),
        (["--bits=4", "--epochs=1", "--learning_rate=0"], "--learning_rate must be above 0, got 0"),
        (["--bits=4", "--learning_rate=0.1"], "--learning_rate needs --epochs of at least 1"),
        (["--output=."], r"--output must be a file, got the folder \."),
        (["--output=best.ckpt"], "--output must not be the original checkpoint, got best.ckpt"),
        (["--batches=0"], "--batches must be at least 1, got 0"),
        (["--seconds=-1"], "--seconds must be 0 to 3600, got -1"),
        (["--evaluate=none", "--ckpt_path=no.ckpt"], "there is no checkpoint no.ckpt"),
        (["--data.nothing=1"], "nothing"),
    ],
)
def test_mistakes_are_reported(
    original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(original, "best.ckpt")
    with pytest.raises(SystemExit) as error:
        quantized(Path("best.ckpt"), *options)
    assert re.search(message, f"{error.value}{capsys.readouterr().err}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt"]


def test_a_quantized_checkpoint_is_neither_trained_nor_quantized(
    original: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.ckpt"
    quantized(original, f"--output={output}", "--evaluate=none")
    with pytest.raises(SystemExit, match=r"x\.ckpt: a quantized model cannot be trained"):
        main(["fit", f"--ckpt_path={output}", *QUIET])
    with pytest.raises(SystemExit, match=r"x\.ckpt: expected an original checkpoint, got a qua"):
        quantized(output)


def test_a_slower_model_is_called_slower() -> None:
    assert "slower: 1.30 (1.20 to 1.40) times the time" in said(1, Estimate(1.3, 1.2, 1.4))
    assert "batch of 32, the quantized model is faster: 0.50" in said(32, Estimate(0.5, 0.4, 0.6))
    assert "neither clearly faster nor slower: 1.10" in said(1, Estimate(1.1, 0.9, 1.2))


def test_memory_that_tensors_share_counts_once() -> None:
    one = torch.zeros(10)
    assert stored_bytes({"a": one, "b": one, "c": torch.zeros(3, dtype=torch.int8)}) == 43


@pytest.mark.slow
def test_accuracy_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([
        "fit", f"--config={CONFIG}", "--model.embedding_size=32", "--model.encoder.hidden_size=64",
        f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=8", *QUIET,
    ])  # fmt: skip
    for activations in ("dynamic", "calibrated"):
        capsys.readouterr()
        path = tmp_path / "version_0" / "checkpoints" / "best.ckpt"
        quantized(path, f"--activations={activations}", "--seconds=0")
        found = re.findall(r"^test/accuracy +(\S+) +(\S+)", capsys.readouterr().out, re.M)
        before, after = map(float, found[0])
        assert before > 0.9
        assert after > before - 0.01
