"""Generated recordings of telephone keys."""

import signal
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from srulight.runtime.errors import InputError
from srulight.tasks.speech_recognition.corpora import synthetic_dtmf as dial
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
from tests.python import python

# Row and column of each key on a telephone, in Hz.
TONES = {
    "one": (697, 1209),
    "two": (697, 1336),
    "three": (697, 1477),
    "four": (770, 1209),
    "five": (770, 1336),
    "six": (770, 1477),
    "seven": (852, 1209),
    "eight": (852, 1336),
    "nine": (852, 1477),
    "star": (941, 1209),
    "zero": (941, 1336),
    "hash": (941, 1477),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dial"


def sound(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def bursts(samples: np.ndarray) -> list[tuple[int, int]]:
    """Returns the spans of sound between silences of at least 10 ms."""
    loud = np.flatnonzero(samples)
    breaks = np.flatnonzero(np.diff(loud) > 80)
    starts, stops = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def peak(samples: np.ndarray, low: int, high: int) -> int:
    """Returns the strongest frequency, in Hz."""
    strength = np.abs(np.fft.rfft(samples, 8000))
    return low + int(strength[low:high].argmax())


def test_each_word_is_heard_as_the_two_tones_of_its_key(tmp_path: Path) -> None:
    heard = set()
    for utterance in SyntheticDTMF(20, 1, 0, noise=0).read(tmp_path).train:
        samples = sound(utterance.audio[0])
        found = bursts(samples)
        words = utterance.text.split()
        assert len(found) == len(words)
        edges = [0, *(edge for burst in found for edge in burst), len(samples)]
        for index, length in enumerate(np.diff(edges)):
            # A sine may be near 0 at the edges of a key for a sample or two.
            shortest, longest = (0.06, 0.14) if index % 2 else (0.04, 0.1)
            assert shortest - 0.001 <= length / 8000 <= longest + 0.001
        for word, (start, stop) in zip(words, found, strict=True):
            low, high = TONES[word]
            assert abs(peak(samples[start:stop], 600, 1050) - low) < 12
            assert abs(peak(samples[start:stop], 1100, 1600) - high) < 12
        heard.update(words)
    assert heard == set(TONES)


def test_sizes_and_lengths_are_as_asked_and_no_number_comes_twice(tmp_path: Path) -> None:
    splits = SyntheticDTMF(40, 7, 3, min_length=2, max_length=3).read(tmp_path)
    assert [len(split) for split in splits] == [40, 7, 3]
    utterances = [u for split in splits for u in split]
    assert {len(u.text.split()) for u in utterances} == {2, 3}
    assert len({u.text for u in utterances}) == 50
    assert len({u.audio for u in utterances}) == 50
    assert all(len(sound(u.audio[0])) / 8000 == u.seconds for u in utterances)
    assert {u.where for u in utterances} == {u.audio[0].name for u in utterances}


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_noise_is_as_strong_as_asked_for_every_loudness(tmp_path: Path, noise: float) -> None:
    clean, noisy = (SyntheticDTMF(10, 1, 0, noise=n).read(tmp_path).train for n in (0.0, noise))
    peaks = []
    for before, after in zip(clean, noisy, strict=True):
        tones, samples = sound(before.audio[0]), sound(after.audio[0])
        peaks.append(np.abs(tones).max())
        # Separate tones and noise; two sines of amplitude A together have power A**2.
        scale = (tones @ samples) / (tones @ tones)
        keys = np.concatenate([tones[start:stop] for start, stop in bursts(tones)])
        assert (samples - scale * tones).std() / (scale * keys.std()) == pytest.approx(noise, 0.1)
    assert max(peaks) <= 1
    assert max(peaks) > 3 * min(peaks)


def test_the_same_settings_give_the_same_bytes_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def content(corpus: SyntheticDTMF, cache: str) -> list[bytes]:
        monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / cache))
        return [u.audio[0].read_bytes() for split in corpus.read(tmp_path) for u in split]

    first = content(SyntheticDTMF(2, 1, 1), "a")
    assert content(SyntheticDTMF(2, 1, 1), "b") == first
    assert content(SyntheticDTMF(2, 1, 1, seed=2), "b") != first
    assert content(SyntheticDTMF(2, 1, 1, noise=0.1), "b") != first
    assert (
        content(SyntheticDTMF(5, 1, 1), "b")[-2:] == first[-2:]
    )  # validation and test sets do not change


def test_sounds_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SyntheticDTMF(2, 1, 0).read(tmp_path)
    monkeypatch.delattr(dial, "_sound")
    assert SyntheticDTMF(2, 1, 0).read(tmp_path) == first


KILLED = """
import os, signal
from pathlib import Path
from srulight.tasks.speech_recognition.corpora import synthetic_dtmf
make, made = synthetic_dtmf._sound, []
def die(*args):
    made.append(args)
    if len(made) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(*args)
synthetic_dtmf._sound = die
synthetic_dtmf.SyntheticDTMF(4, 1, 0).read(Path())
"""
MAKE = """
from pathlib import Path
from srulight.tasks.speech_recognition.corpora.synthetic_dtmf import SyntheticDTMF
splits = SyntheticDTMF(40, 1, 0).read(Path())
assert all(u.audio[0].stat().st_size > 1000 for u in splits.train)
"""


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_is_taken_for_whole(cache: Path, tmp_path: Path) -> None:
    assert python("-c", KILLED).returncode == -signal.SIGKILL
    assert len(list(cache.glob("*.part"))) == 1
    assert not [path for path in cache.iterdir() if path.suffix not in (".part", ".lock")]
    assert len(sound(SyntheticDTMF(4, 1, 0).read(tmp_path).val[0].audio[0])) > 0
    assert not list(cache.glob("*.part"))


@pytest.mark.slow
def test_two_processes_at_once_do_no_harm() -> None:
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda code: python("-c", code), [MAKE, MAKE]))
    assert [one.returncode for one in done] == [0, 0], done


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot write to .*dial .*; set SRULIGHT_CACHE"):
        SyntheticDTMF(1, 1, 0).read(tmp_path)


def test_nothing_is_fetched(cache: Path, tmp_path: Path) -> None:
    SyntheticDTMF().fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 0}, "train_size=0"),
        ({"val_size": 0}, "val_size=0"),
        ({"test_size": -1}, "test_size=-1"),
        ({"min_length": 0}, "min_length=0"),
        ({"min_length": 9}, "min_length=9 max_length=8"),
        ({"noise": -1.0}, "noise must be a finite number, 0 or more, got -1.0"),
        ({"noise": float("nan")}, "noise must be a finite number"),
        ({"min_length": 1, "max_length": 2}, r"max_length must allow 720 distinct numbers"),
    ],
)
def test_arguments_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SyntheticDTMF(**settings)
