"""BLEU and chrF equal those of sacrebleu over all processes, and are NaN without translations."""

import math
import sys
from pathlib import Path

import pytest
import torch

from srulight.cli import main
from srulight.encoders import SRU
from srulight.tasks.translation.batch import SPECIALS, TranslationBatch
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.quality import TranslationQuality
from srulight.tasks.translation.task import Translation
from srulight.text.tokenizers import Words

CONFIG = Path(__file__).parents[3] / "configs" / "translation.yaml"
NOTHING = {
    "bleu": pytest.approx(math.nan, nan_ok=True),
    "chrf": pytest.approx(math.nan, nan_ok=True),
}


def task() -> Translation:
    made = Translation(
        embedding_size=4, translator=lambda size: AttentionRNN(
            size, lambda n: SRU(n, 4), lambda n: SRU(n, 4)
        ),
    )  # fmt: skip
    side = Words("space").fit(["a b"], SPECIALS).settings
    made.metadata = {"source": side, "target": side, "joint": True}
    made.build(made.metadata)
    return made.eval()


def test_bleu_is_the_one_worked_by_hand() -> None:
    quality = TranslationQuality()
    quality.update(["a b c d e"], ["a b c d f"])
    # 4 of 5 unigrams, 3 of 4 bigrams, 2 of 3 and 1 of 2 match a reference of equal length.
    bleu = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)
    assert float(quality.compute()["bleu"]) == pytest.approx(bleu, rel=1e-6)


def test_case_counts_unless_it_is_ignored() -> None:
    scores = []
    for lowercase in (False, True):
        quality = TranslationQuality(lowercase)
        quality.update(["A b c d e"], ["a b c d e"])
        scores.append([float(score) for score in quality.compute().values()])
        assert f"BLEU nrefs:1|case:{'lc' if lowercase else 'mixed'}" in quality.signatures
    assert scores[1] == [pytest.approx(100), pytest.approx(100)]
    assert max(scores[0]) < 99


def test_a_pass_begins_with_nothing() -> None:
    quality = TranslationQuality()
    quality.update([], [])
    assert quality.compute() == NOTHING
    quality.update(["a b c d"], ["a b c d"])
    assert float(quality.compute()["bleu"]) == pytest.approx(100)
    quality.reset()
    quality.update(["x"], ["a"])
    assert float(quality.compute()["bleu"]) == 0


def test_translations_are_those_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, own = TranslationQuality(), TranslationQuality()
    pairs = [("a b c d e", "a b c d f"), ("x y z u", "x y z u v")]
    whole.update(*zip(*pairs, strict=True))
    expected = whole.compute()
    own.update(*([text] for text in pairs[0]))
    monkeypatch.setattr(
        "srulight.tasks.translation.quality.gather", lambda mine: [[], mine, [pairs[1]]]
    )
    assert own.compute() == expected


@torch.no_grad()
def test_a_process_without_translations_measures_without_warning() -> None:
    made = task()
    batch = TranslationBatch(
        torch.tensor([[3]]), torch.tensor([1]), torch.tensor([[2]]), torch.tensor([[3]]), [None], 2
    )
    made.measure(batch, made.val_metrics, "val")
    values = made.val_metrics.compute()
    assert values["val/bleu"].isnan()
    assert values["val/loss"] > 0


@pytest.fixture
def _without_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)


@pytest.mark.usefixtures("_without_sacrebleu")
def test_sacrebleu_is_asked_for_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit, match="error: BLEU needs sacrebleu; install it: pip install"):
        main(["fit", f"--config={CONFIG}", f"--trainer.default_root_dir={tmp_path}"])
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.usefixtures("_without_sacrebleu")
def test_translating_needs_no_sacrebleu() -> None:
    assert len(task().predict(["a b", "b"])) == 2
