"""Tests of the text classifier."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import nn

from srulight import CNN, SRU, load
from srulight.data.base import IGNORED
from srulight.data.sequences import SequenceBatch
from srulight.encoders import EncoderFactory
from srulight.layers.pooling import pool
from srulight.runtime.errors import InputError
from srulight.targets.statistics import describe_target
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification
from srulight.text.tokenizers import PAD_UNKNOWN, Words

WORDS = Words(lowercase=True)
METADATA = {
    "tokenizer": Words(lowercase=True)
    .with_vocabulary(["good", "bad", "film"], PAD_UNKNOWN)
    .settings,
    "target": describe_target("class", ["negative", "positive"], [], torch.tensor([0, 1, 1])),
    "max_length": 4,
}


def make(**options: Any) -> TextClassification:  # noqa: ANN401
    task = TextClassification(**{"embedding_size": 6, **options})
    task.build(METADATA)
    task.metadata = METADATA
    return task.eval()


def trainer(folder: Path, **options: Any) -> Trainer:  # noqa: ANN401
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_loss_is_the_mean_cross_entropy() -> None:
    task = make()
    batch = SequenceBatch(
        torch.tensor([[2, 4], [3, 0]]), torch.tensor([2, 1]), targets=torch.tensor([1, 0])
    )
    task.head = nn.Linear(128, 2)
    nn.init.zeros_(task.head.weight)
    task.head.bias.data = torch.tensor([0.0, 1.0])
    # log(1 + e) - 1 for the first, log(1 + e) for the second.
    expected = torch.tensor(1.0).exp().log1p() - 0.5
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_a_sentence_without_a_label_counts_nowhere() -> None:
    task = make()
    tokens = torch.tensor([[2, 4], [1, 0]])
    batch = SequenceBatch(tokens, torch.tensor([2, 1]), targets=torch.tensor([1, IGNORED]))
    alone = SequenceBatch(*(part[:1] for part in batch))
    padding = SequenceBatch(*(part[1:] for part in batch))
    torch.testing.assert_close(task.training_step(batch, 0), task.training_step(alone, 0))
    found = []
    for batches in ([alone], [batch], [padding, alone]):
        for measured in batches:
            task.validation_step(measured, 0)
        found.append(task.val_metrics.compute())
        task.val_metrics.reset()
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_figures_do_not_depend_on_how_the_sentences_are_batched(tmp_path: Path) -> None:
    task, found = TextClassification(embedding_size=8), []
    for size in (1, 7, 64):
        data = TextClassificationData(Grammar(8, 8, 60), eval_batch_size=size)
        runner = trainer(tmp_path)
        runner.test(task, data, verbose=False)
        found.append({name: value.item() for name, value in runner.callback_metrics.items()})
    names = ("loss", "accuracy", "macro_f1", "weighted_f1", "calibration_error")
    assert found[0].keys() == {f"test/{name}" for name in names}
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize("pooling", ["auto", "last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_score(pooling: Any, bidirectional: bool) -> None:  # noqa: ANN401
    task = make(pooling=pooling, encoder=partial(SRU, bidirectional=bidirectional))
    short, padded = torch.tensor([[2, 3]]), torch.tensor([[2, 3, 0, 0, 0]])
    lengths = torch.tensor([2])
    torch.testing.assert_close(task(short, lengths), task(padded, lengths))


def test_pooling_by_hand() -> None:
    class Given(CNN):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            return torch.tensor([[[1.0, -5.0], [3.0, -7.0], [0.0, 0.0]]])

    pooled = {}
    for pooling in ("last", "mean", "max"):
        task = make(pooling=pooling, encoder=partial(Given, channels=2, widths=(1,)))
        encoded = task.encoder(torch.empty(0))
        pooled[pooling] = pool(encoded, torch.tensor([2]), task.pooling, 0).tolist()
    assert pooled == {"last": [[3.0, -7.0]], "mean": [[2.0, -6.0]], "max": [[3.0, -5.0]]}


def test_word_dropout_reads_unknown_words_and_leaves_padding() -> None:
    task = make(word_dropout=1.0, dropout=0.0, encoder=SRU).train()
    lengths = torch.tensor([1])
    dropped = task(torch.tensor([[2, 0]]), lengths)
    torch.testing.assert_close(dropped, task.eval()(torch.tensor([[1, 0]]), lengths))


def test_a_frozen_embedding_stays() -> None:
    assert not make(freeze_embedding=True).embedding.weight.requires_grad
    assert make().embedding.weight.requires_grad


def test_pretrained_vectors_start_the_embedding(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("the 1 2 3\nplot 4 5 6\n")
    data = TextClassificationData(
        Grammar(train_size=40, val_size=8, test_size=8), vectors=str(tmp_path / "vectors.txt")
    )
    task = TextClassification(embedding_size=3, freeze_embedding=True)
    trainer(tmp_path, max_epochs=1).fit(task, data)
    row = task.embedding.weight[data.metadata["tokenizer"]["vocabulary"].index("plot")]
    assert row.tolist() == [4, 5, 6]
    other = TextClassification(embedding_size=5)
    with pytest.raises(InputError, match=r"embedding_size must be 3, .* got 5; set --model\.embed"):
        trainer(tmp_path, max_epochs=1).fit(other, data)


def test_learns_what_words_alone_do_not_tell(tmp_path: Path) -> None:
    from srulight.tasks.text_classification.corpora.tables import Tables

    lines = [f"{a} {b}\t{a}" for a in ("x", "y") for b in ("x", "y")] * 16
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(lines))
    data = TextClassificationData(Tables(), root=str(tmp_path), batch_size=8)
    task = TextClassification(
        embedding_size=16,
        dropout=0.0,
        encoder=partial(SRU, hidden_size=16),
        optimizer=partial(torch.optim.Adam, lr=0.02),
    )
    run = trainer(tmp_path, max_epochs=8)
    run.fit(task, data)
    assert run.callback_metrics["val/accuracy"] == 1.0


def test_predicts_in_the_order_given_whatever_the_batches() -> None:
    task = make()
    sentences = ["Good film", "", "bad", "a bad , bad film", "good"]
    alone = [task.predict([sentence])[0] for sentence in sentences]
    for batch_size in (1, 2, 64):
        together = task.predict(sentences, batch_size)
        assert [p.label for p in together] == [p.label for p in alone]
        for one, other in zip(alone, together, strict=True):
            assert one.probability == pytest.approx(other.probability, abs=1e-5)
    assert task.predict([]) == []


def test_reads_raw_text_as_training_did() -> None:
    task = make()
    # Texts are lowercased and cut to four words; unseen words and empty texts become <unk>.
    assert task.predict(["GOOD film good bad bad"]) == task.predict(["good film good bad"])
    assert task.predict([""]) == task.predict(["zebra"])


def test_a_checkpoint_is_all_one_needs(tmp_path: Path) -> None:
    data = TextClassificationData(Grammar(train_size=64, val_size=16, test_size=16))
    task = TextClassification(embedding_size=8)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, data)
    run.save_checkpoint(tmp_path / "x.ckpt")
    sentences = ["the plot was dull", "the plot was not dull"]
    assert load(tmp_path / "x.ckpt").predict(sentences) == task.predict(sentences)
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["metadata"] == data.metadata


@pytest.mark.filterwarnings("ignore:Attribute 'encoder' removed from hparams")
@pytest.mark.parametrize("encoder", [CNN, lambda size: CNN(size)])
def test_code_does_not_travel_in_a_checkpoint(tmp_path: Path, encoder: EncoderFactory) -> None:
    data = TextClassificationData(Grammar(train_size=64, val_size=16, test_size=16))
    task = TextClassification(embedding_size=8, encoder=encoder)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, data)
    run.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="passed encoder as code"):
        load(tmp_path / "x.ckpt")
    with pytest.raises(TypeError, match=r"use srulight\.load"):
        TextClassification.load_from_checkpoint(tmp_path / "x.ckpt", encoder=CNN)
    again = load(tmp_path / "x.ckpt", encoder=encoder)
    assert again.predict(["dull"]) == task.predict(["dull"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no checkpoint"),
        (b"", "is damaged or not a checkpoint"),
        (b"no checkpoint at all", "is damaged or not a checkpoint"),
    ],
)
def test_says_what_is_wrong_with_a_checkpoint(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_checkpoint_of_something_else(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="expected a checkpoint of srulight"):
        load(tmp_path / "x.ckpt")


def test_a_wrong_setting_of_the_encoder_is_an_input_error(tmp_path: Path) -> None:
    task = TextClassification(encoder=partial(SRU, dropout=2.0))
    data = TextClassificationData(Grammar(train_size=8, val_size=8, test_size=8))
    with pytest.raises(InputError, match="dropout must be at least 0 and below 1"):
        trainer(tmp_path, max_epochs=1).fit(task, data)
