"""The data module of sequence prediction."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from srulight.data.base import Split, TaskData
from srulight.data.resumable_loader import ResumableLoader
from srulight.data.segments import segment_loader
from srulight.runtime.errors import InputError, check_range
from srulight.targets import Kind
from srulight.tasks.sequence_prediction.arrays import Arrays, Recipe, load_arrays
from srulight.tasks.sequence_prediction.corpora.base import SequenceCorpus
from srulight.tasks.sequence_prediction.corpora.synthetic_signals import SyntheticSignals


class SequencePredictionData(TaskData):
    """Sequences of numbers with a target each, or with a target at each step.

    Numbers are standardized by the training data. A missing number is replaced by the last one that
    is known in its sequence, and a further feature marks where it was missing. The result is
    computed once, kept in SRULIGHT_CACHE (``~/.cache/srulight`` by default), and mapped into
    memory.

    The metadata contain ``features`` (as ``features.KNOWS`` describes), ``target`` (as
    ``targets.build.KNOWS`` describes), ``per`` (sequence or step), ``horizons``,
    ``sequence_column`` and ``time_column`` (names of columns of tables, or None).

    Args:
        corpus: Corpus that provides the sequences; if None, generated signals, which need no files.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        batch_size: Maximum number of training sequences per batch on each process.
        eval_batch_size: Maximum number of validation or test sequences per batch on each process.
        segment_length: Number of steps per batch, for long sequences with a target at each step.
            The state of the encoder carries over to the next batch, but gradients do not. If None,
            each batch contains whole sequences.
        horizon: Number of steps that the targets lie ahead of the features: 0 for the same step, 60
            to predict what follows 60 steps later, or several, such as [1, 2, 3], to predict labels
            or numbers several steps ahead at once. Needs a target at each step.
        intervals: Whether the model also reads the time since the step before. Needs times.
        num_workers: Number of processes that prepare batches; 0 prepares them in the main process.
        seed: Seed for the order of the batches.
    """

    examples = "sequences"
    corpus: SequenceCorpus

    def __init__(
        self,
        corpus: SequenceCorpus | None = None,
        root: str = ".",
        download: bool = False,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        segment_length: int | None = None,
        horizon: int | list[int] = 0,
        intervals: bool = False,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        own = corpus or SyntheticSignals()
        super().__init__(own, root, download, num_workers, seed, batch_size, eval_batch_size)
        check_range(1, segment_length=segment_length)
        horizons = horizon if isinstance(horizon, list) else [horizon]
        for one in horizons:
            check_range(0, horizon=one)
        if not horizons or len({*horizons}) < len(horizons):
            raise InputError(f"horizon must be one or several different numbers, got {horizons}")
        if own.per == "sequence" and (horizons != [0] or segment_length is not None):
            option = "horizon" if horizons != [0] else "segment_length"
            raise InputError(
                f"--data.{option} needs a target at each step, got a corpus with one per sequence; "
                "remove the option, or set --data.corpus.per=step"
            )
        if own.kind == "class" and len(horizons) > 1:
            raise InputError(
                f"horizon must be one number for classes, got {horizons}; train one model per "
                "horizon"
            )
        self.segment_length = segment_length
        self.horizons = tuple(horizons)
        self.intervals = intervals
        self._arrays: Arrays | None = None

    @property
    def target_kind(self) -> Kind:
        """Kind of the targets."""
        return self.corpus.kind

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        trained = f"{metadata['target']['kind']} per {metadata['per']}"
        own = f"{self.target_kind} per {self.corpus.per}"
        if own != trained:
            raise InputError(
                f"the corpus must have the targets of the checkpoint ({trained}), got {own}; set "
                "--data.corpus.kind and --data.corpus.per, or train a new model"
            )
        horizons = tuple(metadata["horizons"])
        if self.horizons not in ((0,), horizons):
            raise InputError(
                f"--data.horizon must be {[*horizons]} as in the checkpoint, got "
                f"{[*self.horizons]}; remove the option, or train a new model"
            )
        super().load_metadata(metadata)
        self.horizons = horizons
        self.intervals = metadata["features"]["intervals"] is not None

    def prepare(self) -> None:
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Maps the arrays into memory; does nothing if that has been done already.

        Args:
            stage: "fit" also logs statistics of the data.

        Raises:
            InputError: If the corpus cannot be read, or does not match the checkpoint.
        """
        if self.datasets:
            return
        arrays = self._read()
        self.datasets.update(arrays.parts)
        self._metadata = arrays.metadata
        if stage == "fit":
            for line in arrays.notes:
                rank_zero_info(line)

    def _read(self) -> Arrays:
        if self._arrays is None:
            recipe = Recipe(self.horizons, self.intervals, self._metadata or None)
            self._arrays = load_arrays(self.corpus, self.root, recipe)
        return self._arrays

    def sharded(self, dataset: Any, split: Split) -> ResumableLoader[Any]:  # noqa: ANN401
        if self.segment_length is None:
            return super().sharded(dataset, split)
        return segment_loader(self, dataset, split, self.segment_length)
