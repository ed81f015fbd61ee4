"""Half precision changes neither how gradients are clipped nor how figures are summed."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from srulight import SRU
from srulight.tasks.metrics import MeanLoss
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification

RATE = 0.5


def moved(folder: Path, fused: bool, precision: str, **settings: float | str) -> Tensor:
    """Gives how far a step of gradient descent goes."""
    torch.manual_seed(0)
    task = TextClassification(
        8, dropout=0.0, encoder=partial(SRU, hidden_size=8),
        optimizer=partial(torch.optim.SGD, lr=RATE, fused=fused),
    )  # fmt: skip
    start: list[Tensor] = []

    def keep(data: object) -> None:
        start.extend(p.detach().clone() for p in task.parameters())

    task.load_pretrained_embeddings = keep  # type: ignore[method-assign]
    trainer = Trainer(
        accelerator="cpu", plugins=MixedPrecision(precision, "cpu"), max_steps=1,  # type: ignore[arg-type]
        default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    trainer.fit(task, TextClassificationData(Grammar(24, 8, 8), batch_size=8))
    return torch.cat(
        [(p.detach() - q).flatten() for p, q in zip(task.parameters(), start, strict=True)]
    )


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])  # the second scales the loss
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_fused_optimiser_clips_as_another(precision: str, algorithm: str, tmp_path: Path) -> None:
    clip: dict[str, float | str] = {
        "gradient_clip_val": 1e-3,
        "gradient_clip_algorithm": algorithm,
    }
    fused = moved(tmp_path, True, precision, **clip)
    torch.testing.assert_close(fused, moved(tmp_path, False, precision, **clip))
    size = fused.norm() if algorithm == "norm" else fused.abs().max()
    assert float(size) == pytest.approx(RATE * 1e-3, rel=1e-2)
    whole = moved(tmp_path, True, precision)
    torch.testing.assert_close(whole, moved(tmp_path, False, precision))
    assert whole.norm() > 2 * fused.norm()


def test_a_sum_of_losses_outgrows_half_precision() -> None:
    loss = MeanLoss()
    nn.ModuleList([loss]).to(torch.bfloat16)
    for _ in range(2):
        for _ in range(1000):
            loss.update(torch.tensor(3.0), torch.tensor(1))
        assert loss.compute() == 3
        loss.reset()
