"""The recogniser's promises."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from srulight import load
from srulight.cli import main
from srulight.encoders import GRU, LSTM, QRNN, SRU, EncoderFactory, ResidualCNN, SRUpp
from srulight.ops import extension
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.ctc.base import Token
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.subsampling import (
    Convolutions,
    Stacking,
    SubsamplingFactory,
)
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.text.spelling import Characters

ROOT = Path(__file__).parents[3]
BANDS = 8


def metadata(normalization: str = "none", filter_bank: bool = True) -> dict[str, Any]:
    bank = FilterBank(8000, BANDS) if filter_bank else None
    return {
        "frontend": Frontend(bank, "refuse", normalization).settings,  # type: ignore[arg-type]
        "speller": Characters(" ab").settings,
        "num_mels": BANDS,
        "frame_seconds": 0.01,
        "lowercase": True,
    }


def make(known: dict[str, Any] | None = None, **options: Any) -> SpeechRecognition:  # noqa: ANN401
    torch.manual_seed(0)
    task = SpeechRecognition(**{"encoder": lambda size: SRU(size, 16), **options})
    task.build(known or metadata())
    task.metadata = known or metadata()
    return task.eval()


def batch_of(features: Tensor, lengths: list[int], targets: list[list[int]]) -> SpeechBatch:
    padded = torch.zeros(len(targets), max(map(len, targets)), dtype=torch.long)
    for i, tokens in enumerate(targets):
        padded[i, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    sizes = torch.tensor([len(tokens) for tokens in targets])
    return SpeechBatch(features, torch.tensor(lengths), padded, sizes, sum(lengths))


def brute_force(scores: Tensor, target: list[int]) -> float:
    """Adds the probabilities of all paths that say the target."""
    total = 0.0
    for path in itertools.product(range(scores.size(1)), repeat=len(scores)):
        said = [token for token, _ in itertools.groupby(path) if token]
        if said == target:
            total += math.exp(sum(float(scores[t, token]) for t, token in enumerate(path)))
    return -math.log(total)


def test_loss_is_of_all_the_ways_to_say_the_transcript() -> None:
    task = make(subsampling=lambda size: Stacking(size, 4))
    features, targets = torch.randn(2, 16, BANDS), [[2, 2], [3, 1, 2]]
    lengths = [16, 14]  # 4 and 3 steps
    logits, steps = task(features, torch.tensor(lengths))
    assert steps.tolist() == [4, 3]
    scores = logits.detach().log_softmax(-1)
    expected = sum(brute_force(scores[i, : steps[i]], targets[i]) for i in range(2)) / 5
    found = task.training_step(batch_of(features, lengths, targets), 0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_an_utterance_without_a_transcript_counts_nowhere() -> None:
    task = make()
    features = torch.randn(2, 30, BANDS)
    both = batch_of(features, [30, 7], [[1, 2], []])
    alone = batch_of(features[:1], [30], [[1, 2]])
    nothing = batch_of(features[1:, :7], [7], [[]])
    torch.testing.assert_close(task.training_step(both, 0), task.training_step(alone, 0))
    found = []
    for batches in ([alone], [both], [nothing, alone]):
        for batch in batches:
            task.validation_step(batch, 0)
        found.append({name: float(v) for name, v in task.val_metrics.compute().items()})
        task.val_metrics.reset()
    assert found[1] == pytest.approx(found[0])
    assert found[2] == pytest.approx(found[0])


def test_padding_changes_nothing() -> None:
    task = make()
    features = torch.randn(1, 30, BANDS)
    alone, steps = task(features, torch.tensor([30]))
    longer = torch.cat((features, torch.randn(1, 9, BANDS)), 1)
    padded, again = task(longer, torch.tensor([30]))
    assert steps.tolist() == again.tolist() == [6]
    torch.testing.assert_close(padded[:, :6], alone)


class Told(torch.nn.Module):
    """A head that says what it is told."""

    def __init__(self, tokens: list[int]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.tokens = torch.tensor(tokens)

    def forward(self, x: Tensor) -> Tensor:
        one_hot = torch.nn.functional.one_hot(self.tokens[: x.size(1)], 4)
        return 20 * one_hot.float().expand(len(x), -1, -1)


def test_errors_are_counted_over_the_corpus() -> None:
    # Characters: blank, space, a, b. It always says "ab b".
    task = make(subsampling=lambda size: Stacking(size, 1))
    task.head = Told([2, 0, 3, 3, 1, 3])  # type: ignore[assignment]
    features = torch.zeros(2, 6, BANDS)
    # "ab b" is right once; for "a b a" it has "ab" in place of "a", and lacks the last word.
    task.test_step(batch_of(features, [6, 6], [[2, 3, 1, 3], [2, 1, 3, 1, 2]]), 0)
    metrics = {name: float(value) for name, value in task.test_metrics.compute().items()}
    assert metrics["test/wer"] == pytest.approx(2 / 5)
    # From "ab b" to "a b a" there is a space to add, and the last b to change.
    assert metrics["test/cer"] == pytest.approx(2 / 9)


def test_times_are_in_seconds() -> None:
    task = make(subsampling=lambda size: Stacking(size, 2))
    assert task.when([Token(2, 0, 1), Token(3, 2, 4)]) == [("a", 0.0, 0.02), ("b", 0.04, 0.08)]


def sound(seconds: float, seed: int) -> Tensor:
    """Makes noise that changes all the time."""
    generator = torch.Generator().manual_seed(seed)
    loud = torch.rand(round(seconds * 20) + 1, generator=generator).repeat_interleave(400)
    return (torch.rand(len(loud), generator=generator) - 0.5) * loud


STREAMING: dict[str, EncoderFactory] = {
    "SRU": lambda size: SRU(size, 24, 3),
    "SRUpp": lambda size: SRUpp(size, 24, 2),
    "LSTM": lambda size: LSTM(size, 24),
    "GRU": lambda size: GRU(size, 24),
    "QRNN": lambda size: QRNN(size, 24),
}


def heard_well() -> dict[str, Any]:
    """Gives metadata whose frontend standardises the bands of ``sound``."""
    known = metadata("global")
    frames = FilterBank(8000, BANDS)(sound(5, 9))
    known["frontend"] |= {"mean": frames.mean(0).tolist(), "std": frames.std(0).tolist()}
    return known


@pytest.mark.parametrize(
    ("encoder", "subsampling", "beam_size"),
    [
        *((name, Convolutions, 1) for name in STREAMING),
        ("SRU", Convolutions, 4),
        ("SRU", Stacking, 1),
        ("LSTM", Stacking, 4),
    ],
)
def test_pieces_of_any_size_give_what_the_whole_gives(
    tmp_path: Path,
    encoder: str,
    subsampling: SubsamplingFactory,
    beam_size: int,
) -> None:
    task = make(
        heard_well(), encoder=STREAMING[encoder], subsampling=subsampling, beam_size=beam_size
    )
    # An untrained network says one thing; this one changes its mind.
    frames = task.frontend.standardize(FilterBank(8000, BANDS)(sound(5, 9)))
    with torch.no_grad():
        logits, _ = task(frames.unsqueeze(0), torch.tensor([len(frames)]))
        task.head.bias.copy_(30 * (task.head.bias - logits[0].mean(0)))
        task.head.weight.mul_(30)
    generator = torch.Generator().manual_seed(1)
    for seed in range(3):
        samples = sound(1.5, seed)
        path = tmp_path / f"{seed}.wav"
        soundfile.write(path, samples.numpy(), 8000, subtype="FLOAT")
        (whole,) = task.predict([str(path)])
        assert len(whole.tokens) > 5
        for largest in (90, 700, 4000):
            listener, rest, settled = task.listen(), samples, 0
            while len(rest):
                size = int(torch.randint(1, largest, (), generator=generator))
                listener.hear(rest[:size])
                rest = rest[size:]
                now = listener.settled()
                assert len(now) >= settled
                settled = len(now)
            tokens = listener.finish()
            assert task.when(tokens) == whole.tokens
            assert task.speller.decode(token.index for token in tokens) == whole.text


def test_arrays_are_heard_as_tensors_are() -> None:
    task = make(heard_well(), encoder=STREAMING["SRU"])
    samples = sound(1.0, 1)
    heard = []
    for given in (samples, samples.numpy(), samples.numpy().astype("float64")):
        listener = task.listen()
        listener.hear(given)
        heard.append(listener.finish())
    assert heard[0] == heard[1] == heard[2] != []
    for wrong in (torch.zeros(10, 2), torch.zeros(10, dtype=torch.int16)):
        with pytest.raises(InputError, match=r"expected samples \(N,\) in floats"):
            task.listen().hear(wrong)


@pytest.mark.parametrize(
    ("options", "known", "says"),
    [
        ({"encoder": lambda size: LSTM(size, 8, bidirectional=True)}, {}, "reads a recording from"),
        ({"encoder": lambda size: ResidualCNN(size, 8, 2)}, {}, "this ResidualCNN reads a record"),
        ({}, {"normalization": "utterance"}, "normalization=utterance needs a recording to its"),
        ({}, {"filter_bank": False}, "trained with frames cannot listen to sound"),
    ],
)
def test_what_cannot_listen_along_says_why(
    options: dict[str, Any], known: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        make(metadata(**known), **options).listen()


def test_masks_are_for_training_alone() -> None:
    task = make(time_masks=5, time_width=20)
    features = torch.randn(1, 60, BANDS)
    torch.testing.assert_close(
        task(features, torch.tensor([60]))[0], task(features, torch.tensor([60]))[0]
    )
    task.train()
    assert not torch.equal(task.augment(features, torch.tensor([60])), features)


def test_a_recording_too_short_for_a_step_says_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(300), 8000)
    soundfile.write(tmp_path / "long.wav", np.zeros(4000), 8000)
    task = make()
    short, long = task.predict([str(tmp_path / "short.wav"), str(tmp_path / "long.wav")])
    assert short.text == ""
    assert short.tokens == []
    assert long.seconds == pytest.approx(0.48)


def test_settings_of_decoding_are_checked() -> None:
    with pytest.raises(InputError, match="beam_size must be at least 1, got 0"):
        SpeechRecognition(beam_size=0)
    with pytest.raises(InputError, match="a language model needs a beam_size above 1"):
        SpeechRecognition(language_model="words.arpa")


def test_a_language_model_changes_what_is_heard(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    words = "-9\t<s>\n-0.5\t</s>\n-4\tab\n-0.1\tb\n-5\t<unk>"
    arpa.write_text(f"\\data\\\nngram 1=5\n\n\\1-grams:\n{words}\n\n\\end\\\n")
    task = make(subsampling=lambda size: Stacking(size, 1))
    task.frontend = Frontend(None, "refuse", "none")
    task.head = Told([2, 3])  # type: ignore[assignment]
    np.save(tmp_path / "0.npy", np.zeros((2, BANDS)))
    # a is only a little likelier than nothing.
    told = Told([2, 3])
    told.forward = lambda x: torch.tensor([[[0.0, -9, 0.1, -9], [-9, -9, -9, 9]]])  # type: ignore[method-assign]
    task.head = told  # type: ignore[assignment]
    assert task.predict([str(tmp_path / "0.npy")])[0].text == "ab"
    task.decode_with(8, str(arpa))
    assert task.predict([str(tmp_path / "0.npy")])[0].text == "b"


FIT = [
    f"--config={ROOT / 'configs' / 'speech.yaml'}", "--data.corpus=SyntheticDTMF",
    "--data.corpus.train_size=200", "--data.corpus.val_size=20", "--data.corpus.test_size=20",
    "--trainer.max_epochs=12", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trains on telephone keys."""
    folder = tmp_path_factory.mktemp("speech")
    extension.load("cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SRULIGHT_CACHE", str(folder / "cache"))
        main(["fit", *FIT, f"--trainer.default_root_dir={folder / 'runs'}"])
        corpus = SyntheticDTMF(train_size=200, val_size=20, test_size=20).read(folder)
        heard = folder / "heard"
        heard.mkdir()
        for i, utterance in enumerate(corpus.test[:6]):
            samples, rate = soundfile.read(utterance.audio[0])
            soundfile.write(heard / f"{i}.flac", samples, rate)
            (heard / f"{i}.txt").write_text(utterance.text)
    return folder


def best(folder: Path) -> Path:
    return folder / "runs" / "version_0" / "checkpoints" / "best.ckpt"


def test_it_learns_to_hear(trained: Path) -> None:
    checkpoint = torch.load(best(trained), weights_only=True)
    (score,) = [
        float(state["best_model_score"])
        for name, state in checkpoint["callbacks"].items()
        if name.startswith("ModelCheckpoint")
    ]
    assert score < 0.1
    assert (trained / "runs" / "version_0" / "curves.png").is_file()


def test_predict_writes_json_lines(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "heard" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(SystemExit, match="1 recordings could not be read; their lines say why"):
        main(["predict", f"--ckpt_path={best(trained)}", "--input", str(trained / "heard")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (trained / "heard" / "broken.wav").unlink()
    assert [Path(row["audio"]).name for row in rows] == [
        *(f"{i}.flac" for i in range(6)),
        "broken.wav",
    ]
    assert "broken.wav" in rows[-1]["error"]
    right = 0
    for row in rows[:-1]:
        said = Path(row["audio"]).with_suffix(".txt").read_text()
        right += row["text"] == said
        assert "".join(token["text"] for token in row["tokens"]).strip() == row["text"]
        times = [(token["start"], token["end"]) for token in row["tokens"]]
        assert times == sorted(times)
        assert 0 <= times[0][0] < times[-1][1] <= row["seconds"]
    assert right >= 4

    out = tmp_path / "out.jsonl"
    files = sorted(str(path) for path in (trained / "heard").glob("[01].flac"))
    main(
        [
            "predict",
            f"--ckpt_path={best(trained)}",
            "--input",
            *files,
            f"--output={out}",
            "--beam_size=4",
        ]
    )
    assert [json.loads(line)["audio"] for line in out.read_text().splitlines()] == files


@pytest.mark.parametrize("stream", ["false", "true"])
def test_predict_mixes_channels_if_told_to(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    samples, rate = soundfile.read(trained / "heard" / "0.flac")
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack((samples, samples), 1), rate)
    command = ["predict", f"--ckpt_path={best(trained)}", f"--input={path}", f"--stream={stream}"]
    with pytest.raises(SystemExit):
        main(command)
    assert "channels=mix takes their mean" in "".join(capsys.readouterr()) or stream == "true"
    main([*command, "--channels=mix"])
    said = load(best(trained)).predict(str(trained / "heard" / "0.flac"))[0].text
    out = capsys.readouterr().out
    assert (out.strip() if stream == "true" else json.loads(out)["text"]) == said


@pytest.mark.slow
def test_predict_streams_from_a_file_and_from_a_pipe(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained / "heard" / "0.flac"
    whole = load(best(trained)).predict([str(path)])[0]
    assert whole.text
    main(["predict", f"--ckpt_path={best(trained)}", "--stream=true", "--input", str(path)])
    shown = capsys.readouterr()
    assert shown.out == whole.text + "\n"
    assert "real-time factor" in shown.err
    samples, _ = soundfile.read(path, dtype="int16")
    piped = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "predict", f"--ckpt_path={best(trained)}",
         "--stream=true", "--chunk=0.05"],
        input=samples.tobytes(), capture_output=True, check=True,
    )  # fmt: skip
    assert piped.stdout.decode() == whole.text + "\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "PCM on standard input needs --stream=true"),
        (["--input", "nowhere.wav", "--stream=true"], "nowhere.wav"),
        (["--input", "a.wav", "b.wav", "--stream=true"], "stream takes one input"),
        (["--input", "a.wav", "--stream=true", "--sample_rate=8000"], "a file says its own"),
        (["--stream=true", "--chunk=0"], "chunk must be more than 0 seconds"),
        (["--input", "."], "has no recordings"),
        (["--stream=true", "--chunk=.nan"], "chunk must be more than 0 seconds"),
        (["--input", "a.wav", "--word_bonus=.inf", "--beam_size=4"], "word_bonus must be -1000 to"),
        (["--input", "a.wav", "--language_model=x.arpa"], "needs a beam_size above 1"),
    ],
)
def test_predict_says_what_is_wrong(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{says}"):
        main(["predict", f"--ckpt_path={best(trained)}", *args])
