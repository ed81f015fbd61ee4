"""The data module of speech recognition finds unusable utterances before training."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition import frame_store as frames_module
from srulight.tasks.speech_recognition import recordings as recordings_module
from srulight.tasks.speech_recognition.batch import SpeechBatch
from srulight.tasks.speech_recognition.corpora.manifest import Manifest
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from srulight.tasks.speech_recognition.data import SpeechRecognitionData
from srulight.tasks.speech_recognition.frontend import audio
from srulight.tasks.speech_recognition.frontend.audio import AudioInfo, Channels
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import FeatureSettings, read_frames
from srulight.tasks.speech_recognition.transcript import SPECIALS
from srulight.text.tokenizers import (
    Characters,
    SentencePiece,
    Tokenizer,
    Words,
    from_settings,
)

RATE = 8000


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))


def noise(seconds: float, seed: int = 0, channels: int = 1) -> np.ndarray[Any, Any]:
    shape = (round(seconds * RATE), channels) if channels > 1 else round(seconds * RATE)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape)


def manifest(
    folder: Path, *, settings: dict[str, Any] | None = None, **splits: list[dict[str, Any]]
) -> SpeechRecognitionData:
    """Builds a data module over manifests, with ``settings`` and ``num_mels=8``."""
    for name, rows in splits.items():
        for row in rows:
            path = folder / row["audio"]
            if not path.exists() and not row.pop("missing", False):
                soundfile.write(path, noise(row.pop("length", 0.5)), RATE)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    corpus = Manifest("train.jsonl", val="val.jsonl")
    return SpeechRecognitionData(
        corpus, str(folder), **{"features": FeatureSettings(num_mels=8), **(settings or {})}
    )


def features(**options: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"features": FeatureSettings(**{"num_mels": 8, **options})}


def rows(*texts: str, **extra: object) -> list[dict[str, Any]]:
    return [{"audio": f"{i}.wav", "text": text, **extra} for i, text in enumerate(texts)]


def test_a_batch_holds_the_frames_and_the_tokens(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", noise(0.5, 1), RATE)
    soundfile.write(tmp_path / "1.wav", noise(0.3, 2), RATE)
    data = manifest(
        tmp_path, settings=features(normalization="none"), train=rows("ab", "B a"), val=rows("a")
    )
    data.setup()
    (batch,) = data.val_dataloader()
    bank = FilterBank(RATE, 8)
    sound = torch.from_numpy(soundfile.read(tmp_path / "0.wav", dtype="float32")[0])
    torch.testing.assert_close(batch.features[0], bank(sound))
    (batch,) = data.train_dataloader()
    order = batch.lengths.argsort()
    # (samples - window) // shift + 1, with 200 and 80 samples.
    assert batch.lengths[order].tolist() == [28, 48]
    assert batch.size == 76
    assert data.metadata["tokenizer"]["vocabulary"] == ["<blank>", " ", "a", "b"]
    assert batch.targets[order].tolist() == [[3, 1, 2], [2, 3, 0]]
    assert batch.target_lengths[order].tolist() == [3, 2]
    assert not batch.features[order[0], 28:].any()


def test_bands_have_mean_0_and_variance_1(tmp_path: Path) -> None:
    data = manifest(tmp_path, train=rows("a", "b", "ab"), val=rows("a"))
    data.setup()
    real = torch.cat([b.features.flatten(0, 1) for b in data.train_dataloader()])
    torch.testing.assert_close(real.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(real.std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)
    own = features(normalization="utterance")
    data = manifest(tmp_path, settings=own, train=rows("a", "b", "ab"), val=rows("a"))
    data.setup()
    for batch in data.train_dataloader():
        torch.testing.assert_close(batch.features.mean(1), torch.zeros(3, 8), atol=1e-4, rtol=0)


def test_each_speed_makes_utterances_of_its_own(tmp_path: Path) -> None:
    data = manifest(tmp_path, settings={"speeds": [1.0, 0.5]}, train=rows("a", "b"), val=rows("a"))
    data.setup()
    (batch,) = data.train_dataloader()
    assert sorted(batch.lengths.tolist()) == [48, 48, 98, 98]
    (batch,) = data.val_dataloader()
    assert batch.lengths.tolist() == [48]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _silence(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def _stereo(path: Path) -> None:
    soundfile.write(path, noise(0.5, channels=2), RATE)


def _short(path: Path) -> None:
    soundfile.write(path, noise(0.01), RATE)


def _none(path: Path) -> None:
    path.unlink()


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (_none, "1.wav"),
    (_truncate, "truncated"),
    (_silence, "no samples"),
    (_stereo, "mix"),
    (_short, "expected at least one frame of 25 ms, got 10 ms in 1.wav"),
]


@pytest.mark.parametrize(("spoil", "says"), FAULTS, ids=lambda f: getattr(f, "__name__", ""))
def test_what_is_wrong_with_a_recording_is_said_before_training(
    tmp_path: Path, spoil: Callable[[Path], None], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = manifest(tmp_path, train=rows("a", "b", "ab"), val=[{"audio": "v.wav", "text": "a"}])
    spoil(tmp_path / "1.wav")
    with pytest.raises(InputError, match=f"^train.jsonl:2: .*{says}.*--data.on_error=skip$"):
        data.setup()
    data.on_error = "skip"
    with caplog.at_level("INFO"):
        data.setup()
    assert "train: skipping 1 of 3 utterances; the first is train.jsonl:2: " in caplog.text
    assert sum(len(b.lengths) for b in data.train_dataloader()) == 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": " "}, "expected a transcript, got an empty one"),
        ({"text": "ac"}, "character 'c' is not in the vocabulary"),
        ({"text": "a", "duration": 2.0}, "expected a duration of 2.00 s, got 0.50 s in 0.wav"),
    ],
)
def test_what_is_wrong_with_a_transcript_is_said_before_training(
    tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    data = manifest(tmp_path, train=rows("a", "b"), val=[{"audio": "0.wav", **row}])
    with pytest.raises(InputError, match=f"^val.jsonl:1: {says}"):
        data.setup()
    data.on_error = "skip"
    data.setup()
    with pytest.raises(InputError, match="expected at least one usable val utterance, got none"):
        data.val_dataloader()


def test_an_alphabet_can_be_given(tmp_path: Path) -> None:
    settings = {"tokenizer": Characters(alphabet="a")}
    data = manifest(tmp_path, settings=settings, train=rows("a", "b"), val=rows("ab"))
    with pytest.raises(InputError, match=r"train.jsonl:2: character 'b' is not in the vocabulary"):
        data.setup()


@pytest.mark.parametrize(
    ("tokenizer", "vocabulary", "tokens"),
    [
        (None, {" ", "a", "b"}, ["a", "b", " ", "a"]),
        (Characters(), {" ", "A", "a", "b"}, ["a", "b", " ", "a"]),
        (Words("space", lowercase=True), {"a", "ab", "b"}, ["ab", "a"]),
        (SentencePiece(6, lowercase=True), {"▁", "a", "b", "▁a", "▁ab"}, ["▁ab", "▁a"]),
    ],
)
def test_what_a_token_is_can_be_chosen(
    tmp_path: Path, tokenizer: Tokenizer | None, vocabulary: set[str], tokens: list[str]
) -> None:
    settings = {"tokenizer": tokenizer}
    train = rows(" ab  a", "b A ab ab ab")
    data = manifest(tmp_path, settings=settings, train=train, val=rows("ab a"))
    data.setup()
    made = from_settings(data.metadata["tokenizer"], SPECIALS)
    assert made.tokens[0] == "<blank>"
    assert {*made.tokens[1:]} == vocabulary
    (batch,) = data.val_dataloader()
    assert [[made.tokens[i] for i in targets] for targets in batch.targets] == [tokens]


def test_more_tokens_than_steps_are_found_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 48 frames are 6 steps; "abab" needs 4 of them, and "aaaa" 7 with its blanks.
    data = manifest(tmp_path, train=rows("abab", "aaaa"), val=rows("a"))
    data.setup()
    with pytest.raises(
        InputError, match=r"^train.jsonl:2: expected at least 7 steps.*, got 6 from its 48 frames"
    ):
        data.require_steps(lambda frames: frames // 8)
    data.on_error = "skip"
    with caplog.at_level("INFO"):
        data.require_steps(lambda frames: frames // 8)
    (batch,) = data.train_dataloader()
    assert batch.targets.tolist() == [[1, 2, 1, 2]]
    assert "train: skipping 1 of 2 utterances" in caplog.text
    assert "train: 1 utterances, 48 frames" in caplog.text


def test_a_process_without_utterances_gets_silence_without_a_transcript(tmp_path: Path) -> None:
    data = manifest(tmp_path, train=rows("a"), val=rows("a"))
    data.setup()
    data.require_steps(lambda frames: (frames - 7) // 4 + 1 if frames >= 7 else 0)
    loader = data.train_dataloader()
    (batch,) = loader.dataset.__getitems__([])  # type: ignore[attr-defined]
    assert batch.features.shape == (1, 7, 8)
    assert batch.target_lengths.tolist() == [0]
    assert batch.size == 0


def frames_of(data: SpeechRecognitionData) -> list[Tensor]:
    batches: list[SpeechBatch] = list(data.train_dataloader())
    return [batch.features for batch in batches]


def test_kept_frames_are_those_that_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(cache: bool) -> SpeechRecognitionData:
        settings = {"speeds": [1.0, 0.9], "cache": cache, "batch_frames": 60}
        data = manifest(tmp_path, settings=settings, train=rows("a", "b", "ab"), val=rows("a"))
        data.setup()
        return data

    fresh = frames_of(make(False))
    for _ in range(2):
        kept = frames_of(make(True))
        assert all(torch.equal(one, other) for one, other in zip(fresh, kept, strict=True))
        # The second time, no file is read.
        monkeypatch.setattr(frames_module, "_write", lambda *_: pytest.fail("made again"))
    monkeypatch.undo()
    os.environ["SRULIGHT_CACHE"] = str(tmp_path / "cache")
    # Other audio under the same name is another recording.
    soundfile.write(tmp_path / "1.wav", noise(0.5, 9), RATE)
    changed = frames_of(make(True))
    assert not all(torch.equal(one, other) for one, other in zip(fresh, changed, strict=True))


def test_recordings_are_inspected_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = manifest(tmp_path, train=rows("a", "b"), val=rows("a"))
    data.setup()
    inspected: list[Path] = []

    def inspect(path: Path, channels: Channels) -> AudioInfo:
        inspected.append(path)
        return audio.inspect(path, channels)

    monkeypatch.setattr(recordings_module, "inspect", inspect)
    manifest(tmp_path, train=rows("a", "b"), val=rows("a")).setup()
    assert inspected == []
    soundfile.write(tmp_path / "1.wav", noise(0.7), RATE)
    manifest(tmp_path, train=rows("a", "b"), val=rows("a")).setup()
    assert tmp_path / "1.wav" in inspected


def test_frames_that_are_made_already(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 5)).astype("float64")
    np.save(tmp_path / "0.npy", values)
    own = features(normalization="none")
    row = {"audio": "0.npy", "text": "a"}
    data = manifest(tmp_path, settings=own, train=[dict(row)], val=[dict(row)])
    data.setup()
    assert data.metadata["num_mels"] == 5
    (batch,) = data.train_dataloader()
    torch.testing.assert_close(batch.features[0], torch.from_numpy(values).float())


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 6)), "expected 5 features per frame as in training, got 6"),
        (np.zeros(4), "expected floats of shape"),
        (np.full((4, 5), math.nan), "expected finite numbers"),
    ],
)
def test_other_frames_are_refused(tmp_path: Path, array: Any, says: str) -> None:  # noqa: ANN401
    np.save(tmp_path / "0.npy", np.zeros((20, 5)))
    np.save(tmp_path / "1.npy", array)
    train = [{"audio": f"{i}.npy", "text": "a"} for i in range(2)]
    data = manifest(tmp_path, train=train, val=train[:1])
    with pytest.raises(InputError, match=f"train.jsonl:2: .*{says}"):
        data.setup()


@pytest.mark.parametrize("shape", [f"({10**12}, 4)", f"({10**30}, 4)", "(-1, 4)", "-" * 9000 + "1"])
def test_frames_that_say_to_be_more_than_they_are_take_no_memory(
    tmp_path: Path, shape: str
) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(InputError, match=r"a\.npy: expected a complete NumPy file"):
        read_frames(path)


def test_sound_among_frames_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros((20, 5)))
    train = [{"audio": "0.npy", "text": "a"}, {"audio": "1.wav", "text": "a"}]
    data = manifest(tmp_path, train=train, val=train[:1])
    with pytest.raises(InputError, match=r"expected frames .* got audio in 1.wav"):
        data.setup()


def test_a_checkpoint_decides_how_sound_is_read(tmp_path: Path) -> None:
    data = manifest(tmp_path, train=rows("ab"), val=rows("a"))
    data.setup()
    other = manifest(tmp_path, settings=features(frame_shift=20.0), train=rows("b"), val=rows("a"))
    other.load_metadata(data.metadata)
    other.setup()
    assert other.metadata == data.metadata
    assert next(iter(other.train_dataloader())).targets.tolist() == [[2]]


def test_synthetic_tones_are_the_default() -> None:
    assert isinstance(SpeechRecognitionData().corpus, SyntheticDTMF)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_frames": 0}, "batch_frames must be at least 1, got 0"),
        ({"speeds": [0.0]}, "speeds must be 0.1 to 10, got 0.0"),
        ({"speeds": [1.0, math.nan]}, "speeds must be 0.1 to 10, got nan"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        SpeechRecognitionData(**options)
