"""Tests of the language model."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from srulight import GRU, LSTM, QRNN, SRU, SRUpp, load
from srulight.data.base import IGNORED
from srulight.encoders import RecurrentFactory
from srulight.runtime.errors import InputError
from srulight.tasks.language_modeling import (
    EvaluationSettings,
    LanguageModeling,
    LanguageModelingData,
    Sampler,
    TextFiles,
)
from srulight.tasks.language_modeling.batch import StreamBatch
from srulight.tasks.language_modeling.softmax import Softmax
from srulight.text.tokenizers import PAD_UNKNOWN, Bytes, Characters, Tokenizer, Words
from srulight.training.resume.random_state import RandomState

WORDS = ["<pad>", "<unk>", "<eos>", "the", "cat", "sat"]
METADATA = {"tokenizer": Words("space").with_vocabulary(WORDS, PAD_UNKNOWN, lines=True).settings}
LINES = "the cat sat\nthe sat cat the\ncat\n\nsat sat the cat\n"


def make(metadata: dict[str, Any] = METADATA, **options: Any) -> LanguageModeling:  # noqa: ANN401
    task = LanguageModeling(**{"embedding_size": 16, "dropout": 0.0, **options})
    task.build(metadata)
    task.metadata = metadata
    return task.eval()


def text(folder: Path, **options: Any) -> LanguageModelingData:  # noqa: ANN401
    (folder / "train.txt").write_text(LINES * 7)
    (folder / "val.txt").write_text(LINES * 3)
    corpus = TextFiles(val="val.txt", test="val.txt")
    return LanguageModelingData(
        corpus, str(folder), **{"batch_size": 2, "segment_length": 5, **options}
    )


def trainer(folder: Path, **options: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        **{
            "accelerator": "cpu",
            "default_root_dir": folder,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_epochs": 1,
            **options,
        }
    )


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
    # These tests do not depend on the kernels, which would be built again for each of them.
    monkeypatch.setenv("SRULIGHT_EXTENSION", "off")


def by_hand(task: LanguageModeling, ids: Tensor) -> Tensor:
    """Computes the loss of each token but the first step by step, through ``forward``."""
    state, losses = None, []
    with torch.no_grad():
        for now, then in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
            scores, state = task(torch.tensor([[now]]), state)
            losses.append(-scores[0, 0, then])
    return torch.stack(losses)


def test_loss_is_the_mean_over_the_real_targets() -> None:
    task = make()
    tokens = torch.tensor([[3, 4, 5], [5, 4, 2]])
    targets = torch.tensor([[4, 5, 2], [4, 2, IGNORED]])
    loss = task.training_step(StreamBatch(tokens, targets, True), 0)
    expected = [by_hand(task, torch.tensor(ids)) for ids in ([3, 4, 5, 2], [5, 4, 2])]
    torch.testing.assert_close(loss, torch.cat(expected).mean())


@pytest.mark.parametrize("tied", [True, False])
def test_log_probabilities_are_those_of_the_weights(tied: bool) -> None:
    task = make(encoder=partial(SRU, hidden_size=16), tied=tied)
    tokens = torch.tensor([[3, 4]])
    scores, _ = task(tokens)
    layers = task.token_layers
    assert isinstance(layers, Softmax)
    features, _ = task.encoder.forward_with_state(layers.embedding[tokens])
    weight = layers.embedding if layers.weight is None else layers.weight
    torch.testing.assert_close(scores, (features @ weight.T + layers.bias).log_softmax(-1))


def test_a_state_goes_on_from_segment_to_segment_and_gradients_do_not() -> None:
    task = make().train()
    ids = torch.tensor([[3, 4, 5, 2, 3, 5]])
    first = StreamBatch(ids[:, :2], ids[:, 1:3], True)
    second = StreamBatch(ids[:, 2:5], ids[:, 3:6], False)
    task.training_step(first, 0).backward()
    loss = task.training_step(second, 1)
    torch.testing.assert_close(loss, by_hand(task.eval(), ids[0])[2:].mean())
    assert task.recurrent_state is not None
    assert not task.recurrent_state.requires_grad
    again = task.training_step(first, 0)
    torch.testing.assert_close(again, by_hand(task, ids[0])[:2].mean())


def test_other_tracks_than_before_begin_without_a_state() -> None:
    task = make()
    ids = torch.tensor([[3, 4, 5]])
    task.training_step(StreamBatch(ids[:, :-1], ids[:, 1:], True), 0)
    two = ids.repeat(2, 1)
    loss = task.training_step(StreamBatch(two[:, :-1], two[:, 1:], False), 1)
    torch.testing.assert_close(loss, by_hand(task, ids[0]).mean())


def test_validation_does_not_touch_the_state_of_training() -> None:
    task = make()
    ids = torch.tensor([[3, 4, 5, 2, 3, 5]])
    task.training_step(StreamBatch(ids[:, :2], ids[:, 1:3], True), 0)
    before = task.recurrent_state
    task.validation_step(StreamBatch(ids[:, :5], ids[:, 1:], True), 0)
    assert task.recurrent_state is before


@pytest.mark.parametrize("tokenizer", [Words("space"), Characters(), Bytes()])
def test_figures_do_not_depend_on_how_the_text_is_batched(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    found = []
    task = None
    for sizes in ((1, 1, 1000), (1, 3, 7), (3, 1, 4), (3, 2, 11), (3, 3, 1)):
        data = text(tmp_path, tokenizer=tokenizer, evaluation=EvaluationSettings(*sizes))
        runner = trainer(tmp_path)
        task = task or LanguageModeling(embedding_size=16)
        runner.test(task, data, verbose=False)
        found.append({k: v.item() for k, v in runner.callback_metrics.items()})
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[2] == pytest.approx(found[3], abs=1e-6)
    assert found[2] == pytest.approx(found[4], abs=1e-6)
    # A single track contains the whole text, as if read token by token.
    data.setup()
    assert data._ids is not None
    assert task is not None
    losses = by_hand(task.eval(), data._ids.splits["test"].to(torch.int64)).double()
    assert found[0]["test/loss"] == pytest.approx(losses.mean().item(), abs=1e-5)
    name, value = {
        Words: ("test/perplexity", losses.mean().exp()),
        Characters: ("test/bits_per_char", losses.mean() / math.log(2)),
        Bytes: ("test/bits_per_byte", losses.mean() / math.log(2)),
    }[type(tokenizer)]
    assert found[0][name] == pytest.approx(value.item(), abs=1e-4)


def fit(folder: Path, resume: int | None = None, **options: Any) -> Tensor:  # noqa: ANN401
    """Trains for 3 epochs and saves every step, or resumes from one of these checkpoints."""
    torch.manual_seed(3)
    task = LanguageModeling(
        embedding_size=6, dropout=0.3, encoder=partial(SRU, hidden_size=6, dropout=0.3),
        optimizer=partial(torch.optim.Adam, lr=0.01),
    )  # fmt: skip
    saves = ModelCheckpoint(
        folder / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1,
        save_on_train_epoch_end=False, enable_version_counter=False,
    )  # fmt: skip
    runner = trainer(
        folder, max_epochs=3, enable_checkpointing=True, callbacks=[saves, RandomState()], **options
    )
    path = None if resume is None else folder / "saved" / f"step={resume}.ckpt"
    runner.fit(task, text(folder), ckpt_path=path, weights_only=True)
    assert runner.global_step == 3 * STEPS
    return torch.cat([p.detach().flatten() for p in task.parameters()])


# 7 * 17 words in 2 tracks of 59 positions: 11 segments of 5 and one of 4.
STEPS = 12


@pytest.mark.filterwarnings("ignore:.*exists and is not empty")
@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}], ids=["epoch", "half"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = fit(tmp_path, **options)
    for stop in (1, STEPS // 2, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS + 7):
        assert torch.equal(fit(tmp_path, resume=stop, **options), whole), f"after step {stop}"


@pytest.mark.parametrize(
    "make_encoder", [SRU, *(pytest.param(cls, marks=pytest.mark.slow) for cls in (LSTM, GRU, QRNN))]
)
def test_learns_a_text(tmp_path: Path, make_encoder: RecurrentFactory) -> None:
    task = LanguageModeling(
        embedding_size=16, dropout=0.0, encoder=make_encoder,
        optimizer=partial(torch.optim.Adam, lr=0.02),
    )  # fmt: skip
    data = text(tmp_path, tokenizer=Characters(), batch_size=1, segment_length=20)
    runner = trainer(tmp_path, max_epochs=20, gradient_clip_val=1.0)
    runner.fit(task, data)
    # The text repeats every 49 characters, and the validation text is the same.
    assert runner.callback_metrics["val/bits_per_char"] < 0.5


def test_what_is_drawn_follows_the_probabilities() -> None:
    task = make()
    ids = torch.tensor([[2, 3, 4]])
    greedy = "".join(task.generate("the cat", 8, Sampler(temperature=0)))
    with torch.no_grad():
        for word in greedy.replace("\n", " \n ").split(" "):
            if not word:
                continue
            scores, _ = task(ids)
            scores[..., 0] = -math.inf
            expected = int(scores[0, -1].argmax())
            shown = WORDS[expected]
            assert word == ("\n" if shown == "<eos>" else shown)
            ids = torch.cat((ids, torch.tensor([[expected]])), 1)
    assert ids.size(1) == 3 + 8


def test_a_seed_writes_the_same_again_and_padding_is_never_written() -> None:
    task = make()
    first, again, other = (
        list(task.generate(length=300, sampler=Sampler(seed=seed))) for seed in (5, 5, 6)
    )
    assert first == again != other
    assert 0 not in task._write([2], 300, Sampler(seed=5))
    assert list(task.generate(length=0)) == []
    with pytest.raises(InputError, match="length must be at least 0, got -1"):
        task.generate(length=-1)


def test_bytes_are_written_as_text() -> None:
    task = make({"tokenizer": Bytes().fit([], (), lines=True).settings})
    pieces = list(task.generate("a", 100, Sampler(seed=1)))
    assert len("".join(pieces).encode()) >= 50


def test_scores_of_lines_do_not_depend_on_each_other() -> None:
    task = make()
    lines = ["the cat sat", "", "sat the", "the cat dog sat the cat"]
    scores = task.predict(lines, batch_size=2)
    assert [score.tokens for score in scores] == [4, 1, 3, 7]
    for line, score in zip(lines, scores, strict=True):
        ids = torch.tensor([2, *task.tokenizer.encode(line), 2])
        expected = by_hand(task, ids).mean().exp().item()
        assert score.perplexity == pytest.approx(expected, rel=1e-4)


def test_a_checkpoint_is_all_one_needs(tmp_path: Path) -> None:
    task = LanguageModeling(embedding_size=8, cutoffs=[4], tied=False)
    runner = trainer(tmp_path)
    runner.fit(task, text(tmp_path))
    runner.save_checkpoint(tmp_path / "model.ckpt")
    loaded = load(tmp_path / "model.ckpt")
    assert isinstance(loaded, LanguageModeling)
    assert loaded.predict(["the cat"]) == task.predict(["the cat"])


def test_refuses_to_read_backwards() -> None:
    with pytest.raises(InputError, match="must not be bidirectional"):
        make(encoder=partial(SRU, bidirectional=True))


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("make_encoder", [SRU, SRUpp, LSTM, GRU, QRNN])
def test_every_precision(tmp_path: Path, precision: str, make_encoder: RecurrentFactory) -> None:
    task = LanguageModeling(embedding_size=16, cutoffs=[4], encoder=make_encoder)
    runner = trainer(tmp_path, precision=precision)
    runner.fit(task, text(tmp_path))
    assert 0 < runner.callback_metrics["val/loss"] < 5


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("make_encoder", [SRU, SRUpp, LSTM, GRU, QRNN])
def test_on_a_gpu(tmp_path: Path, precision: str, make_encoder: RecurrentFactory) -> None:
    task = LanguageModeling(embedding_size=16, encoder=make_encoder)
    runner = trainer(tmp_path, accelerator="gpu", devices=1, precision=precision)
    runner.fit(task, text(tmp_path))
    assert 0 < runner.callback_metrics["val/loss"] < 5
    runner.save_checkpoint(tmp_path / "model.ckpt")
    on_gpu, on_cpu = (load(tmp_path / "model.ckpt", device) for device in ("cuda", "cpu"))
    scores = [task.predict(["the cat sat"])[0].perplexity for task in (on_gpu, on_cpu)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-2)
    assert isinstance(on_gpu, LanguageModeling)
    assert len(list(on_gpu.generate(length=5))) == 5
