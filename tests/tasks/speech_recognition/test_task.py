"""The speech recognition task: loss, metrics, prediction and streaming."""

import itertools
import math
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
from srulight.tasks.speech_recognition.ctc.settings import DecoderSettings
from srulight.tasks.speech_recognition.frontend.filter_bank import FilterBank
from srulight.tasks.speech_recognition.frontend.frontend import Frontend
from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugmentSettings
from srulight.tasks.speech_recognition.layers.subsampling import (
    Convolutions,
    Stacking,
    SubsamplingFactory,
)
from srulight.tasks.speech_recognition.task import SpeechRecognition
from srulight.tasks.speech_recognition.transcript import SPECIALS
from srulight.text.tokenizers import Characters

ROOT = Path(__file__).parents[3]
NUM_MELS = 8


def metadata(normalization: str = "none", filter_bank: bool = True) -> dict[str, Any]:
    bank = FilterBank(8000, NUM_MELS) if filter_bank else None
    return {
        "frontend": Frontend(bank, "refuse", normalization).settings,  # type: ignore[arg-type]
        "tokenizer": Characters().fit(["a b"], SPECIALS).settings,
        "num_mels": NUM_MELS,
        "frame_seconds": 0.01,
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
    """Sums the probabilities of all alignments of the target."""
    total = 0.0
    for path in itertools.product(range(scores.size(1)), repeat=len(scores)):
        said = [token for token, _ in itertools.groupby(path) if token]
        if said == target:
            total += math.exp(sum(float(scores[t, token]) for t, token in enumerate(path)))
    return -math.log(total)


def test_loss_sums_over_all_alignments_of_the_transcript() -> None:
    task = make(subsampling=lambda size: Stacking(size, 4))
    features, targets = torch.randn(2, 16, NUM_MELS), [[2, 2], [3, 1, 2]]
    lengths = [16, 14]  # 4 and 3 steps
    logits, steps = task(features, torch.tensor(lengths))
    assert steps.tolist() == [4, 3]
    scores = logits.detach().log_softmax(-1)
    expected = sum(brute_force(scores[i, : steps[i]], targets[i]) for i in range(2)) / 5
    found = task.training_step(batch_of(features, lengths, targets), 0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_an_utterance_without_a_transcript_counts_nowhere() -> None:
    task = make()
    features = torch.randn(2, 30, NUM_MELS)
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
    features = torch.randn(1, 30, NUM_MELS)
    alone, steps = task(features, torch.tensor([30]))
    longer = torch.cat((features, torch.randn(1, 9, NUM_MELS)), 1)
    padded, again = task(longer, torch.tensor([30]))
    assert steps.tolist() == again.tolist() == [6]
    torch.testing.assert_close(padded[:, :6], alone)


class FixedHead(torch.nn.Module):
    """A head that assigns probability 1 to given tokens."""

    def __init__(self, tokens: list[int]) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.tokens = torch.tensor(tokens)

    def forward(self, x: Tensor) -> Tensor:
        one_hot = torch.nn.functional.one_hot(self.tokens[: x.size(1)], 4)
        return 20 * one_hot.float().expand(len(x), -1, -1)


def test_errors_are_counted_over_the_corpus() -> None:
    # Characters: blank, space, a, b. The output is always "ab b".
    task = make(subsampling=lambda size: Stacking(size, 1))
    task.head = FixedHead([2, 0, 3, 3, 1, 3])  # type: ignore[assignment]
    features = torch.zeros(2, 6, NUM_MELS)
    # "ab b" is correct for one reference; "a b a" needs a substitution and a deletion.
    task.test_step(batch_of(features, [6, 6], [[2, 3, 1, 3], [2, 1, 3, 1, 2]]), 0)
    metrics = {name: float(value) for name, value in task.test_metrics.compute().items()}
    assert metrics["test/wer"] == pytest.approx(2 / 5)
    # From "ab b" to "a b a" there is a space to add, and the last b to change.
    assert metrics["test/cer"] == pytest.approx(2 / 9)


def test_times_are_in_seconds() -> None:
    task = make(subsampling=lambda size: Stacking(size, 2))
    assert task.timestamps([Token(2, 0, 1), Token(3, 2, 4)]) == [
        ("a", 0.0, 0.02),
        ("b", 0.04, 0.08),
    ]


def sound(seconds: float, seed: int) -> Tensor:
    """Returns nonstationary noise."""
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


def standardized() -> dict[str, Any]:
    """Returns metadata whose frontend standardizes the features of ``sound``."""
    known = metadata("global")
    frames = FilterBank(8000, NUM_MELS)(sound(5, 9))
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
        standardized(), encoder=STREAMING[encoder], subsampling=subsampling,
        decoder=DecoderSettings(beam_size),
    )  # fmt: skip
    # An untrained network repeats one token; scaled weights make it change tokens.
    frames = task.frontend.standardize(FilterBank(8000, NUM_MELS)(sound(5, 9)))
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
            recognizer, rest, stable = task.listen(), samples, 0
            while len(rest):
                size = int(torch.randint(1, largest, (), generator=generator))
                recognizer.accept(rest[:size])
                rest = rest[size:]
                now = recognizer.stable_tokens()
                assert len(now) >= stable
                stable = len(now)
            tokens = recognizer.finish()
            assert task.timestamps(tokens) == whole.tokens
            assert task.text(token.index for token in tokens) == whole.text


def test_arrays_are_accepted_as_tensors_are() -> None:
    task = make(standardized(), encoder=STREAMING["SRU"])
    samples = sound(1.0, 1)
    found = []
    for given in (samples, samples.numpy(), samples.numpy().astype("float64")):
        recognizer = task.listen()
        recognizer.accept(given)
        found.append(recognizer.finish())
    assert found[0] == found[1] == found[2] != []
    for wrong in (torch.zeros(10, 2), torch.zeros(10, dtype=torch.int16)):
        with pytest.raises(InputError, match=r"expected floats of shape \(N,\)"):
            task.listen().accept(wrong)


@pytest.mark.parametrize(
    ("options", "known", "says"),
    [
        (
            {"encoder": lambda size: LSTM(size, 8, bidirectional=True)},
            {},
            "got a bidirectional LSTM",
        ),
        ({"encoder": lambda size: ResidualCNN(size, 8, 2)}, {}, "got ResidualCNN; train"),
        ({}, {"normalization": "utterance"}, "got normalization='utterance'; train"),
        ({}, {"filter_bank": False}, "trained on audio, got one that"),
    ],
)
def test_what_cannot_stream_says_why(
    options: dict[str, Any], known: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        make(metadata(**known), **options).listen()


def test_masks_are_for_training_alone() -> None:
    task = make(augmentation=SpecAugmentSettings(time_masks=5, time_width=20))
    features = torch.randn(1, 60, NUM_MELS)
    torch.testing.assert_close(
        task(features, torch.tensor([60]))[0], task(features, torch.tensor([60]))[0]
    )
    task.train()
    assert not torch.equal(task.augment(features, torch.tensor([60])), features)


def test_a_recording_too_short_for_a_step_has_no_tokens(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(300), 8000)
    soundfile.write(tmp_path / "long.wav", np.zeros(4000), 8000)
    task = make()
    short, long = task.predict([str(tmp_path / "short.wav"), str(tmp_path / "long.wav")])
    assert short.text == ""
    assert short.tokens == []
    assert long.seconds == pytest.approx(0.48)


def test_settings_of_decoding_are_checked() -> None:
    with pytest.raises(InputError, match="beam_size must be at least 1, got 0"):
        DecoderSettings(beam_size=0)
    with pytest.raises(InputError, match="a language model needs a beam_size above 1"):
        DecoderSettings(language_model="words.arpa")


def test_a_language_model_changes_what_is_recognized(tmp_path: Path) -> None:
    arpa = tmp_path / "words.arpa"
    words = "-9\t<s>\n-0.5\t</s>\n-4\tab\n-0.1\tb\n-5\t<unk>"
    arpa.write_text(f"\\data\\\nngram 1=5\n\n\\1-grams:\n{words}\n\n\\end\\\n")
    task = make(subsampling=lambda size: Stacking(size, 1))
    task.frontend = Frontend(None, "refuse", "none")
    task.head = FixedHead([2, 3])  # type: ignore[assignment]
    np.save(tmp_path / "0.npy", np.zeros((2, NUM_MELS)))
    # The probability of a is slightly above that of the blank.
    told = FixedHead([2, 3])
    told.forward = lambda x: torch.tensor([[[0.0, -9, 0.1, -9], [-9, -9, -9, 9]]])  # type: ignore[method-assign]
    task.head = told  # type: ignore[assignment]
    assert task.predict([str(tmp_path / "0.npy")])[0].text == "ab"
    task.decode_with(beam_size=8, language_model=str(arpa))
    assert task.predict([str(tmp_path / "0.npy")])[0].text == "b"


@pytest.mark.slow
def test_it_learns_telephone_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    extension.load("cpu")
    main([
        "fit", f"--config={ROOT / 'configs' / 'speech.yaml'}", "--data.corpus=SyntheticDTMF",
        "--data.corpus.train_size=200", "--data.corpus.val_size=20", "--data.corpus.test_size=20",
        "--trainer.max_epochs=12", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", f"--trainer.default_root_dir={tmp_path / 'runs'}",
    ])  # fmt: skip
    folder = tmp_path / "runs" / "version_0"
    assert (folder / "curves.png").is_file()
    task = load(folder / "checkpoints" / "best.ckpt")
    test = SyntheticDTMF(train_size=200, val_size=20, test_size=20).read(tmp_path).test
    found = task.predict([str(utterance.audio[0]) for utterance in test])
    assert sum(t.text == u.text for t, u in zip(found, test, strict=True)) >= 14
    for transcript in found:
        assert "".join(token.text for token in transcript.tokens).strip() == transcript.text
        times = [(token.start, token.end) for token in transcript.tokens]
        assert times == sorted(times)
        assert 0 <= times[0][0] < times[-1][1] <= transcript.seconds
