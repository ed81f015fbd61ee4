"""The signs of instability in the log, and what happens when training diverges."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from srulight import SRU
from srulight.cli import main
from srulight.encoders.base import PeepholeLayer
from srulight.encoders.sru import SRULayer
from srulight.ops import extension
from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.task import TextClassification
from srulight.training.callbacks.stability import Stability

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"


class Given(PeepholeLayer):
    """Passes its input on, whose slopes are the input itself; draws numbers while training."""

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        return nn.functional.dropout(x, 0.5, self.training)

    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        assert len(x) == 1
        assert state is None or len(state) == 1
        assert lengths is None or len(lengths) == 1
        return self.forward(x)


class Silent(Given):
    """As a layer without peephole weights."""

    def state_jacobian(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor | None:
        return None


class Broken(Given):
    """Cannot run."""

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        raise ZeroDivisionError


class Toy(LightningModule):
    """Its loss is weight . mean(x) over batches that say what x is; nan at one step."""

    def __init__(self, *layers: nn.Module, nan_at: int = 0, spoil: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.weight = nn.Parameter(torch.ones(2))
        self.spare = nn.Parameter(torch.ones(3), requires_grad=False)
        self.nan_at = nan_at
        self.lengths: Tensor | None = None
        self.spoil = spoil

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        for layer in self.layers:
            layer(batch, torch.zeros(2, 3), lengths=self.lengths)
        loss = (self.weight * batch.mean((0, 1))).sum()
        return loss * torch.nan if self.global_step + 1 == self.nan_at else loss

    def on_train_epoch_end(self) -> None:
        if self.spoil and self.current_epoch == 1:
            self.spare[1] = torch.inf

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.1)


def trainer(folder: Path, **settings: Any) -> Trainer:  # noqa: ANN401
    saved = ModelCheckpoint(folder / "saved", filename="last", enable_version_counter=False)
    return Trainer(
        **{
            "accelerator": "cpu", "max_epochs": 3, "callbacks": [Stability(), saved],
            "logger": CSVLogger(folder, name="", version="log"), "log_every_n_steps": 2,
            "enable_progress_bar": False, "enable_model_summary": False, **settings,
        }
    )  # fmt: skip


def loader(batches: list[Tensor]) -> DataLoader[Tensor]:
    return DataLoader(batches, None, generator=torch.Generator())  # type: ignore[arg-type]


def ones(batches: int) -> DataLoader[Tensor]:
    return loader([torch.ones(2, 4, 2)] * batches)


def logged(folder: Path, name: str) -> dict[int, float]:
    """Values by the number of the step, from 1."""
    with (folder / "log" / "metrics.csv").open() as file:
        return {int(r["step"]) + 1: float(r[name]) for r in csv.DictReader(file) if r.get(name)}


def test_the_norm_of_all_gradients_is_logged_before_clipping(tmp_path: Path) -> None:
    # The gradient is the mean of the batch: (3 s, 4 s) at step s.
    batches = [torch.tensor([3.0, 4.0]).mul(step).expand(2, 4, 2) for step in range(1, 6)]
    trainer(tmp_path, max_epochs=1, gradient_clip_val=1.0).fit(Toy(), loader(batches))
    assert logged(tmp_path, "train/gradient_norm") == {2: 10.0, 4: 20.0}


def test_steps_are_the_optimisers_where_gradients_accumulate(tmp_path: Path) -> None:
    batches = [torch.tensor([3.0, 4.0]).mul(i).expand(2, 4, 2) for i in range(1, 9)]
    trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2).fit(Toy(Given()), loader(batches))
    # Step 2 has batches 3 and 4, step 4 has batches 7 and 8; half of each.
    assert logged(tmp_path, "train/gradient_norm") == {2: 17.5, 4: 37.5}


class Fused(Toy):
    """A task whose optimizer divides by the loss scale of half precision itself."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=0.1, fused=True)


@pytest.mark.parametrize("cls", [Toy, Fused])
def test_the_norm_is_without_the_scale_of_half_precision(cls: type[Toy], tmp_path: Path) -> None:
    batch = torch.tensor([3.0, 4.0]).expand(2, 4, 2)
    precision = MixedPrecision("16-mixed", "cpu")
    trainer(tmp_path, max_epochs=1, plugins=precision).fit(cls(), loader([batch] * 3))
    assert logged(tmp_path, "train/gradient_norm") == {2: 5.0}


def test_growing_states_are_counted_in_the_first_sequence(tmp_path: Path) -> None:
    first = torch.tensor([[0.5, -2.0], [1.0, 3.0], [0.0, 0.1], [1.5, 0.9]])
    batch = torch.stack([first, torch.full((4, 2), 9.0)])
    module = Toy(Given(), Silent(), Given())
    trainer(tmp_path, max_epochs=1).fit(module, loader([batch, batch, batch, batch / 2]))
    assert logged(tmp_path, "train/growing_states") == {2: 3 / 8, 4: 1 / 8}
    assert not any(layer._forward_hooks for layer in module.layers)


class Outer(nn.Module):
    """A layer in a layer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, *_: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.inner(x)


def test_compiled_layers_are_looked_into_and_compiled_code_runs_again(tmp_path: Path) -> None:
    outer, steps = Outer(Given()), []
    module = Toy(outer)

    def backend(graph: nn.Module, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*args: Tensor) -> Any:  # noqa: ANN401
            steps.append(module.global_step + 1)
            return graph(*args)

        return run

    outer.forward = torch.compile(outer.forward, backend=backend)  # type: ignore[method-assign]
    batch = torch.tensor([[0.5, -2.0], [1.0, 3.0]]).expand(2, 2, 2)
    trainer(tmp_path, max_epochs=1).fit(module, loader([batch] * 5))
    assert logged(tmp_path, "train/growing_states") == {2: 0.5, 4: 0.5}
    assert steps == [1, 3, 5]

    outer.inner = Broken()
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path / "broken", log_every_n_steps=1).fit(module, loader([batch]))
    outer.inner = Given()
    outer(batch)
    assert len(steps) == 4


def test_padding_is_no_state(tmp_path: Path) -> None:
    # The last of four steps is padding.
    batch = torch.tensor([[5.0, 0.5], [2.0, 0.0], [0.3, -0.4], [1.0, 1.0]]).expand(2, 4, 2)
    module = Toy(Given())
    module.lengths = torch.tensor([3, 4])
    trainer(tmp_path, max_epochs=1).fit(module, loader([batch] * 2))
    assert logged(tmp_path, "train/growing_states") == {2: pytest.approx(2 / 6)}


def test_nothing_is_said_of_states_without_peephole_weights(tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=1).fit(Toy(Silent()), ones(4))
    header = (tmp_path / "log" / "metrics.csv").read_text().splitlines()[0]
    assert "train/gradient_norm" in header
    assert "growing" not in header


def test_layers_stay_in_the_mode_they_are_in() -> None:
    layer = Given()
    layer.inner = nn.Dropout().eval()  # as if it were not to be trained
    Stability()._measure(layer, (torch.ones(2, 4, 2),), {}, None)
    assert layer.training
    assert not layer.inner.training


def fit(folder: Path, *args: str) -> None:
    main(
        [
            "fit", f"--config={CONFIG}", "--data.corpus=Grammar", "--data.corpus.train_size=64",
            "--data.corpus.val_size=16", "--data.corpus.test_size=16", "--data.batch_size=16",
            "--model.embedding_size=8", "--model.encoder.hidden_size=8",
            "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
            "--trainer.max_epochs=3", f"--trainer.default_root_dir={folder}", *args,
        ]
    )  # fmt: skip


def stored(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "version_0" / "checkpoints" / f"{name}.ckpt"
    return dict(torch.load(path, weights_only=True))


def test_a_run_is_the_same_however_often_it_is_watched(tmp_path: Path) -> None:
    for every in ("1", "3", "50"):
        fit(tmp_path / every, f"--trainer.log_every_n_steps={every}", "--model.dropout=0.3")
    metrics = (tmp_path / "1" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "train/growing_states" in metrics
    expected = stored(tmp_path / "50", "last")["state_dict"]
    for every in ("1", "3"):
        for name, weight in stored(tmp_path / every, "last")["state_dict"].items():
            assert torch.equal(weight, expected[name]), name


def test_a_watched_layer_draws_no_numbers(tmp_path: Path) -> None:
    states = []
    for every in (1, 50):
        torch.manual_seed(0)
        trainer(tmp_path / str(every), log_every_n_steps=every).fit(Toy(Given()), ones(4))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(("nan_at", "epoch"), [(2, None), (6, 1), (12, 2)])
def test_a_loss_that_is_not_finite_ends_the_run_and_the_last_checkpoint_stays(
    nan_at: int, epoch: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TextClassification.training_step

    def training_step(self: TextClassification, *args: Any) -> Tensor:  # noqa: ANN401
        loss = step(self, *args)
        return loss * torch.nan if self.global_step + 1 == nan_at else loss

    monkeypatch.setattr(TextClassification, "training_step", training_step)
    with pytest.raises(SystemExit) as leaving:
        fit(tmp_path)  # of 4 steps an epoch
    message = str(leaving.value.code)
    assert message.startswith(
        f"error: training stopped, because the loss is nan at step {nan_at}; "
    )
    if epoch is None:
        assert "no checkpoint was saved yet; lower the learning rate or clip" in message
        assert "--ckpt_path" not in message
        assert not list(tmp_path.rglob("*.ckpt"))
        return
    last = tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert f"resume from the last good checkpoint with --ckpt_path={last}" in message
    assert stored(tmp_path, "last")["epoch"] == epoch
    for name in ("last", "best"):
        checkpoint = stored(tmp_path, name)
        assert checkpoint["epoch"] <= epoch
        assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values())
    assert all(path.stem in ("best", "last", "previous") for path in tmp_path.rglob("*.ckpt"))


class Remote(Toy):
    """A task that seems to be on a GPU, where checking a loss means waiting."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


class Validated(Remote):
    """A task whose validation must not be reached."""

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        assert self.trainer.sanity_checking


@pytest.mark.parametrize(
    ("nan_at", "settings", "seen_at"),
    [
        (2, {"log_every_n_steps": 4}, 4),
        (4, {"log_every_n_steps": 3}, 5),  # the end of the epoch
        (2, {"log_every_n_steps": 0}, 5),
    ],
)
def test_where_a_look_waits_it_is_taken_now_and_then_and_before_saving(
    nan_at: int, settings: dict[str, Any], seen_at: int, tmp_path: Path
) -> None:
    runner = trainer(tmp_path, **settings)
    with pytest.raises(InputError, match=f"the loss is nan at step {nan_at};"):
        runner.fit(Remote(nan_at=nan_at), ones(5))
    assert runner.global_step == seen_at
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_validation_is_not_begun_after_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    runner = trainer(tmp_path, log_every_n_steps=50, val_check_interval=3)
    with pytest.raises(InputError, match="the loss is nan at step 2;"):
        runner.fit(Validated(nan_at=2), ones(9), ones(1))
    assert runner.global_step == 3


def test_a_look_comes_before_a_checkpoint_of_any_step(tmp_path: Path) -> None:
    every = ModelCheckpoint(
        tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1
    )
    runner = trainer(tmp_path, callbacks=[every, Stability()], log_every_n_steps=50)
    with pytest.raises(InputError, match=r"nan at step 4; .* checkpoint with .*step=3\.ckpt"):
        runner.fit(Remote(nan_at=4), ones(9))
    names = sorted(path.name for path in tmp_path.rglob("*.ckpt"))
    assert names == ["step=1.ckpt", "step=2.ckpt", "step=3.ckpt"]


def test_a_look_comes_before_weights_alone_are_saved(tmp_path: Path) -> None:
    bare = ModelCheckpoint(tmp_path / "saved", save_weights_only=True)
    with pytest.raises(InputError, match="nan at step 4; no checkpoint was saved"):
        trainer(tmp_path, callbacks=[bare, Stability()], log_every_n_steps=50).fit(
            Remote(nan_at=4), ones(4)
        )
    assert not list(tmp_path.rglob("*.ckpt"))


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    last = tmp_path / "saved" / "last.ckpt"
    with pytest.raises(InputError) as refusal:
        trainer(tmp_path).fit(Toy(spoil=True), ones(4))
    assert str(refusal.value).startswith(
        "training stopped, because some weights are not finite after step 8; they were not saved; "
    )
    assert f"resume from the last good checkpoint with --ckpt_path={last}" in str(refusal.value)
    assert torch.load(last, weights_only=True)["epoch"] == 0


class Encoder(LightningModule):
    """Sums the states of a recurrence whose sequences are always divided into chunks of time."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.encoder = SRU(4, 8, num_layers=1, time_parallel=True)
        layer = self.encoder.layers[0]
        assert isinstance(layer, SRULayer)
        layer.bias.data[0] = bias

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.encoder(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize(("bias", "least", "most"), [(0.0, 0.0, 0.0), (10.0, 0.3, 1.0)])
def test_repaired_steps_are_counted(tmp_path: Path, bias: float, least: float, most: float) -> None:
    # Forget gates of 0.5 forget the start of a chunk; those of 0.99995 do not.
    assert extension.load("cpu"), extension.status
    torch.manual_seed(0)
    batches = [torch.randn(1, 1500, 4)] * 4
    trainer(tmp_path, max_epochs=1).fit(Encoder(bias), loader(batches))
    found = logged(tmp_path, "train/repaired_steps")
    assert list(found) == [2, 4]
    assert all(least <= share <= most for share in found.values())
