"""Mistakes of users, or in their code, are reported in one sentence before the work starts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from srulight import SRU
from srulight.cli import main
from srulight.encoders import Encoder
from srulight.encoders.base import build_encoder

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = [
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.max_epochs=1",
]  # fmt: skip
QUICK = [
    f"--config={CONFIGS / 'quickstart.yaml'}", *SMALL, "--data.corpus=Grammar",
    "--data.corpus.train_size=64", "--data.corpus.val_size=16", "--data.corpus.test_size=16",
    "--model.embedding_size=8", "--model.encoder.hidden_size=8",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Nameless(Encoder):
    """Does not say how much it gives."""

    def __init__(self, input_size: int, width: int = 5) -> None:
        super().__init__()
        self.project = nn.Linear(input_size, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.project(x)


class Wrong(Nameless):
    """Gives another number of features than it says."""

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size)
        self.output_size = 6


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model.dropout=1.5"], "dropout must be 0 to 1, got 1.5"),
        (
            ["--data.tokenizer=Words", "--data.tokenizer.split=spacy"],
            "split=spacy needs a package that is not installed",
        ),
        ([f"--model.encoder={__name__}.Nameless"], "Nameless must set output_size, the number of"),
        (
            [f"--model.encoder={__name__}.Wrong"],
            r"Wrong must return output_size \(6\) features per step, got 5; correct output_size",
        ),
        (["--trainer.logger=WandbLogger"], "wandb is not installed; run pip install wandb"),
        (
            ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=x"],
            "tensorboard is not installed; run pip install tensorboard",
        ),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/nonsense"],
            "Early stopping conditioned on metric `val/nonsense` which is not available.*val/loss",
        ),
    ],
)
def test_a_mistake_is_one_sentence(args: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as leaving:
        main(["fit", *QUICK, *args])
    assert "\n" not in str(leaving.value.code)


def test_data_of_another_task_are_refused() -> None:
    main(["fit", *QUICK])
    with pytest.raises(SystemExit, match="TextClassification needs 'target' in the metadata"):
        main(["fit", *QUICK, "--data=LanguageModelingData"])
    with pytest.raises(SystemExit, match="use the data and the checkpoint of a language model"):
        main(["test", "--ckpt_path=best", "--data=LanguageModelingData"])
    small = ["--data.corpus.train_size=99", "--data.corpus.val_size=9", "--data.corpus.test_size=9"]
    language = [f"--config={CONFIGS / 'language_model.yaml'}", *SMALL]
    with pytest.raises(SystemExit, match="use the data and the checkpoint of a language model"):
        main(["fit", *language, "--data=TextClassificationData", "--data.corpus=Grammar", *small])


def test_a_run_goes_no_further_back() -> None:
    main(["fit", *QUICK, "--trainer.max_epochs=2"])
    with pytest.raises(SystemExit, match=r"max_epochs must be at least 2, .* got 1; raise it"):
        main(["fit", "--ckpt_path=last", "--trainer.max_epochs=1"])


def test_early_stopping_waits_for_a_validation() -> None:
    watch = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    main(["fit", *QUICK, *watch, "--data.batch_size=8", "--trainer.max_steps=1"])
    path = next(Path().rglob("last.ckpt"))
    assert torch.load(path, weights_only=True)["global_step"] == 1
    # Without a change in the loss it stops after the first epoch that brings nothing.
    still = ["--trainer.callbacks.patience=1", "--model.optimizer.lr=0", "--trainer.max_epochs=9"]
    main(["fit", *QUICK, *watch, *still, "--trainer.default_root_dir=still"])
    path = next(Path("still").rglob("last.ckpt"))
    assert torch.load(path, weights_only=True)["epoch"] == 2


def test_looking_at_an_encoder_changes_nothing() -> None:
    torch.manual_seed(0)
    plain, state = SRU(4, 8, dropout=0.5), torch.get_rng_state()
    torch.manual_seed(0)
    looked_at = build_encoder(lambda size: SRU(size, 8, dropout=0.5), 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in looked_at.modules())
    for one, other in zip(plain.parameters(), looked_at.parameters(), strict=True):
        assert torch.equal(one, other)
        assert other.grad is None
