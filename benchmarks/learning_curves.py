"""Trains SRU of the published package ``sru`` and srulight's, with equal weights and batches.

    pip install --no-deps sru==2.6.0
    python benchmarks/learning_curves.py --data FOLDER --epochs 5 --seeds 1 2 3

Both train the classifier of configs/sst_fine.yaml on the sentences of SST with 5 classes. The
initial weights are copied from one to the other, and the batches and word dropout are the same.
Without dropout in the encoder, all else is equal too, so the losses differ only by rounding, which
grows from step to step. With dropout, the two draw different masks, so only the distribution of the
accuracies can be compared.
"""

import argparse
import sys
import warnings
from statistics import mean
from typing import TYPE_CHECKING

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from srulight.compat import from_sru
from srulight.encoders.base import Encoder, Recurrent
from srulight.tasks.text_classification.corpora.stanford_trees import StanfordTrees
from srulight.tasks.text_classification.data import TextClassificationData
from srulight.tasks.text_classification.task import TextClassification

if TYPE_CHECKING:
    import sru

HIDDEN, LAYERS = 128, 2


class Published(Recurrent):
    """The published SRU, with the interface of a recurrent encoder, whose last step is classified.

    Args:
        module: The published SRU.
    """

    def __init__(self, module: "sru.SRU") -> None:
        super().__init__()
        self.module = module
        self.input_size, self.output_size = module.input_size, module.output_size
        self.bidirectional = False

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.is_meta:  # a check of the number of features, for which the package has no kernel
            raise NotImplementedError
        if lengths is None:
            return self.module(x.transpose(0, 1))[0].transpose(0, 1)
        padding = torch.arange(x.size(1), device=x.device)[:, None] >= lengths
        h = self.module(x.transpose(0, 1), mask_pad=padding)[0].transpose(0, 1)
        return h.masked_fill(padding.T[:, :, None], 0)

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("classification needs whole sequences only")


def published(size: int, dropout: float) -> "sru.SRU":
    """Builds the published SRU.

    Args:
        size: Features per input step.
        dropout: Dropout between the layers.
    """
    import sru  # which compiles its kernel for the CPU when it is first imported

    return sru.SRU(size, HIDDEN, num_layers=LAYERS, dropout=dropout)


class Curve(Callback):
    """Keeps the loss of each training step and the accuracy of each validation."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.accuracies: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, *_) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002
        self.losses.append(float(outputs["loss"]))

    def on_validation_end(self, trainer: Trainer, *_: object) -> None:
        self.accuracies.append(float(trainer.callback_metrics["val/accuracy"]))


def train(ours: bool, args: argparse.Namespace, seed: int) -> Curve:
    """Trains one of the two.

    Args:
        ours: Whether to train srulight's SRU.
        args: Options of the command line.
        seed: Seed of the weights, the batches and the dropout.
    """
    seed_everything(seed, verbose=False)

    def build(size: int) -> Encoder:
        # The conversion draws random numbers too, but the other layers must start alike.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = published(size, args.dropout)
            return from_sru(module) if ours else Published(module)

    task = TextClassification(300, encoder=build, dropout=0.5, word_dropout=0.1)
    data = TextClassificationData(
        StanfordTrees(classes="fine", phrases=False), root=args.data, batch_size=32, seed=seed
    )
    curve = Curve()
    Trainer(
        accelerator="cpu", max_epochs=args.epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[curve],
        num_sanity_val_steps=0,
    ).fit(task, data)  # fmt: skip
    return curve


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with the trees of SST")
    parser.add_argument("--epochs", type=int, default=5, help="number of epochs (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="seeds (%(default)s)")
    parser.add_argument(
        "--dropout", type=float, default=0.0, help="dropout of the encoder (%(default)s)"
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| seed | SRU | mean training loss per epoch | validation accuracy per epoch |")
    print("|---|---|---|---|")
    for seed in args.seeds:
        curves = {"published": train(False, args, seed), "srulight": train(True, args, seed)}
        for name, curve in curves.items():
            steps = len(curve.losses) // args.epochs
            losses = [mean(curve.losses[i : i + steps]) for i in range(0, len(curve.losses), steps)]
            cells = [" ".join(f"{v:.4f}" for v in values) for values in (losses, curve.accuracies)]
            print("|", " | ".join([str(seed), name, *cells]), "|", flush=True)
        pairs = zip(*(curve.losses for curve in curves.values()), strict=True)
        apart = [abs(a - b) for a, b in pairs]
        print(
            f"largest difference of a loss: {max(apart[:100]):.1e} in the first 100 steps, "
            f"{max(apart):.1e} in all",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
