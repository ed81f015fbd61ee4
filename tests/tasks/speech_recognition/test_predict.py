"""Prediction: which recordings are transcribed, with which settings, and the output."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch
from lightning import Trainer
from torch import Tensor

from srulight import load
from srulight.cli import main
from srulight.ops import extension
from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.ctc.settings import DecoderSettings
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.predict import SpeechPredictor, transcribe
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.speech_recognition.transcript import SPECIALS, Transcript
from srulight.text.tokenizers import Characters

RATE = 8000
BEAM = DecoderSettings(beam_size=8, word_bonus=-1.0)


class NameReader:
    """Returns the name of a file as its transcript."""

    def predict(self, paths: list[str], batch_size: int) -> list[Transcript]:
        return [Transcript(Path(path).stem, 1.0, []) for path in paths]


def texts(*inputs: Path) -> list[Any]:
    rows = transcribe(cast("SpeechRecognition", NameReader()), list(map(str, inputs)), 2)
    return [row["text"] for row in rows]


def test_files_of_a_folder_that_are_hidden_or_no_sound_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.wav", "._b.wav", "a.FLAC", "notes.txt", "inner/c.ogg", "inner/.c.ogg"):
        (tmp_path / name).touch()
    assert texts(tmp_path) == ["a", "b", "c"]
    # Files that are named explicitly are transcribed.
    assert texts(tmp_path / "._b.wav") == ["._b"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "._b.wav").touch()
    with pytest.raises(InputError, match=r"expected recordings \(\.wav, "):
        texts(tmp_path)


def sound(seed: int) -> Tensor:
    """Returns a second of nonstationary noise."""
    generator = torch.Generator().manual_seed(seed)
    loud = torch.rand(20, generator=generator).repeat_interleave(RATE // 20)
    return (torch.rand(RATE, generator=generator) - 0.5) * loud


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes recordings, and an untrained ``model.ckpt`` that emits many tokens."""
    folder = tmp_path_factory.mktemp("predict")
    extension.load("cpu")
    torch.manual_seed(0)
    bank = FilterBank(RATE, 8)
    task = SpeechRecognition(decoder=BEAM)
    task.metadata = {
        "frontend": Frontend(bank, "refuse", "none").settings,
        "tokenizer": Characters().fit(["a b"], SPECIALS).settings,
        "num_mels": 8,
        "frame_seconds": 0.01,
    }
    task.build(task.metadata)
    # An untrained network repeats one token; scaled weights make it change tokens.
    with torch.no_grad():
        logits, _ = task.eval()(bank(sound(9)).unsqueeze(0), torch.tensor([98]))
        task.head.bias.copy_(30 * (task.head.bias - logits[0].mean(0)))
        task.head.weight.mul_(30)
    trainer = Trainer(logger=False, enable_progress_bar=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(folder / "model.ckpt")
    (folder / "recordings").mkdir()
    for i in range(3):
        soundfile.write(folder / "recordings" / f"{i}.flac", sound(i).numpy(), RATE)
    return folder


def predict(folder: Path, *args: object) -> None:
    main(["predict", f"--ckpt_path={folder / 'model.ckpt'}", *map(str, args)])


def test_a_recording_becomes_a_line_of_json(folder: Path, tmp_path: Path) -> None:
    files = [folder / "recordings" / f"{i}.flac" for i in (1, 0)]
    predict(folder, f"--output={tmp_path / 'out.jsonl'}", "--input", *files)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["audio"] for row in rows] == list(map(str, files))
    found = load(folder / "model.ckpt").predict(list(map(str, files)))
    for row, transcript in zip(rows, found, strict=True):
        assert row["text"] == transcript.text != ""
        assert row["seconds"] == 0.98
        assert row["tokens"] == [token._asdict() for token in transcript.tokens]


def test_a_file_that_cannot_be_read_has_a_line_too_and_then_it_fails(
    folder: Path, tmp_path: Path
) -> None:
    recordings, out = tmp_path / "recordings", tmp_path / "out.jsonl"
    recordings.mkdir()
    for i in (0, 2):
        soundfile.write(recordings / f"{i}.wav", sound(i).numpy(), RATE)
    (recordings / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(SystemExit) as raised:
        predict(folder, f"--input={recordings}", f"--output={out}")
    # Python prints an exit code that is text, and exits with status 1.
    assert (
        raised.value.code
        == "error: could not read 1 of the recordings; see 'error' in their lines of the output"
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [Path(row["audio"]).name for row in rows] == ["0.wav", "1.wav", "2.wav"]
    assert ["error" in row for row in rows] == [False, True, False]
    assert "1.wav: expected" in rows[1]["error"]
    assert rows[0]["text"]


@pytest.mark.parametrize("stream", ["false", "true"])
def test_channels_are_mixed_on_request(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    samples, _ = soundfile.read(folder / "recordings" / "0.flac")
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack((samples, samples), 1), RATE)
    with pytest.raises(SystemExit):
        predict(folder, f"--input={path}", f"--stream={stream}")
    assert "set channels=mix" in "".join(capsys.readouterr()) or stream == "true"
    predict(folder, f"--input={path}", f"--stream={stream}", "--channels=mix")
    (mono,) = load(folder / "model.ckpt").predict([str(folder / "recordings" / "0.flac")])
    out = capsys.readouterr().out
    assert (out.strip() if stream == "true" else json.loads(out)["text"]) == mono.text


def test_a_stream_gives_what_the_file_gives(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "recordings" / "0.flac"
    (whole,) = load(folder / "model.ckpt").predict([str(path)])
    predict(folder, "--stream=true", f"--input={path}")
    printed = capsys.readouterr()
    assert printed.out == whole.text + "\n"
    assert "real-time factor" in printed.err
    samples, _ = soundfile.read(path, dtype="int16")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes())))
    predict(folder, "--stream=true", "--chunk=0.05")
    assert capsys.readouterr().out == whole.text + "\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "--stream=true to read PCM"),
        (["--input", "nowhere.wav", "--stream=true"], "nowhere.wav"),
        (["--input", "a.wav", "b.wav", "--stream=true"], "expected one file, got 2"),
        (["--input", "a.wav", "--stream=true", "--sample_rate=8000"], "a file has its own"),
        (["--stream=true", "--chunk=0"], "chunk must be a number of seconds above 0"),
        (["--stream=true", "--chunk=.nan"], "chunk must be a number of seconds above 0"),
        (["--stream=true", "--output=x"], "--stream=true writes to standard output"),
        (["--input", "a.wav", "--chunk=0.1"], "chunk and sample_rate need streaming"),
        (["--input", "a.wav", "--sample_rate=8000"], "chunk and sample_rate need streaming"),
        (["--input", "."], "expected recordings .*, got none"),
        (["--input", "a.wav", "--batch_size=0"], "batch_size must be at least 1"),
        (["--input", "a.wav", "--beam_size=0"], "beam_size must be at least 1"),
        (["--input", "a.wav", "--word_bonus=.inf"], "word_bonus must be -1000 to"),
        (["--input", "a.wav", "--language_weight=-1"], "language_weight must be at least 0"),
        (["--input", "a.wav", "--language_weight=1"], "language_weight needs a language model"),
        (["--input", "a.wav", "--beam_size=1", "--word_bonus=1"], "needs a beam_size above 1"),
        (["--input", "a", "--beam_size=1", "--language_model=x"], "needs a beam_size above 1"),
    ],
)
def test_says_what_is_wrong(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: .*{says}"):
        predict(folder, *args)


TRAINED = DecoderSettings(beam_size=4, language_model="a.arpa", language_weight=0.7, word_bonus=2.0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, TRAINED),
        ({"word_bonus": 1.0}, DecoderSettings(4, "a.arpa", 0.7, 1.0)),
        ({"word_bonus": 0.0}, DecoderSettings(4, "a.arpa", 0.7, 0.0)),
        ({"beam_size": 8}, DecoderSettings(8, "a.arpa", 0.7, 2.0)),
        ({"language_model": "b.arpa"}, DecoderSettings(4, "b.arpa", 0.7, 2.0)),
        ({"language_weight": 0.0}, DecoderSettings(4, "a.arpa", 0.0, 2.0)),
        ({"beam_size": 1}, DecoderSettings(1, None, 0.7, 0.0)),
    ],
)
def test_an_option_changes_only_its_own_setting(
    options: dict[str, Any], expected: DecoderSettings, tmp_path: Path
) -> None:
    task = SpeechRecognition(decoder=TRAINED)
    with pytest.raises(InputError, match="expected recordings"):  # raised after the decoder is set
        SpeechPredictor(**options).run(task, [str(tmp_path)], "-")
    assert task.decoder == expected


def test_a_word_bonus_alone_is_heeded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def words(*options: str) -> int:
        predict(folder, f"--input={folder / 'recordings'}", *options)
        lines = capsys.readouterr().out.splitlines()
        return sum(len(json.loads(line)["text"].split()) for line in lines)

    assert words("--word_bonus=-20") < words() < words("--word_bonus=20")


def test_help_shows_the_options_of_the_task_of_the_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        predict(folder, "--help")
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert "Transcribes recordings and writes one JSON object per line" in shown
    assert "--word_bonus" in shown
    assert "in nats, -1000 to 1000" in " ".join(shown.split())


def test_an_option_of_another_task_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        predict(folder, "--input=a.wav", "--length_penalty=1")
    assert raised.value.code == 2
    assert "a SpeechRecognition has no option --length_penalty" in capsys.readouterr().err
