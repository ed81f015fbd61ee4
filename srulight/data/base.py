"""Base classes of corpora, datasets and data modules."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset

from srulight.data.resumable_loader import ResumableLoader
from srulight.data.samplers import BucketBatchSampler, SimilarLengthSampler
from srulight.runtime.errors import LARGEST_SEED, InputError, check_range

IGNORED = -100
"""Target of steps without a prediction, such as padding; losses and metrics ignore it."""

Split = Literal["train", "val", "test"]

_S = TypeVar("_S", covariant=True)
_T = TypeVar("_T")


class Corpus(ABC, Generic[_S]):
    """Reads a corpus from files, and may be able to download them.

    Each task has a subclass that defines what ``read`` returns.
    """

    def fetch(self, root: Path) -> None:
        """Downloads and verifies the files that are missing. Does nothing by default.

        Args:
            root: Folder of the files; created if missing.

        Raises:
            InputError: If a file cannot be downloaded.
        """

    @abstractmethod
    def read(self, root: Path) -> _S:
        """Reads the corpus; a large corpus may only be located here, and read later.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing, or its contents are not as expected.
        """


class BatchDataset(Dataset[_T]):
    """A dataset that returns whole batches.

    Attributes:
        lengths: Number of steps of each example, (N,) int64, for batching by length.
    """

    lengths: Tensor

    def __len__(self) -> int:
        """Returns the number of examples."""
        return len(self.lengths)

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> list[_T]:
        """Makes one batch.

        Args:
            indices: Indices of the examples. For an empty list, the batch must change neither
                losses nor metrics: a process without examples at a step still takes the step.

        Returns:
            A list that contains only the batch.
        """


class TaskData(LightningDataModule, ABC):
    """Base class of data modules, which provide a task with batches and with metadata.

    A run resumes in the middle of an epoch if ``train_dataloader`` returns a ``ResumableLoader``.

    Args:
        corpus: Corpus that provides the data.
        root: Folder that contains the files of the corpus.
        download: Whether to download missing files, for corpora that support it.
        num_workers: Number of processes that prepare batches; 0 prepares them in the main process.
        seed: Seed for the order of the batches.
        batch_size: Size of a training batch on each process, in the unit of the ``sampler``.
        eval_batch_size: Size of a validation or test batch on each process; ``batch_size`` if None.

    Attributes:
        datasets: Datasets by split; filled by ``setup``.
        sampler: Class that groups examples into batches, and defines how their size is counted.
        examples: Name of the examples in the plural, for messages.
    """

    sampler: ClassVar[type[SimilarLengthSampler]] = BucketBatchSampler
    examples: ClassVar[str] = "examples"

    def __init__(
        self,
        corpus: Corpus[Any],
        root: str = ".",
        download: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        check_range(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_range(0, num_workers=num_workers)
        check_range(0, LARGEST_SEED, seed=seed)
        self.corpus = corpus
        self.root = Path(root).expanduser()
        self.download = download
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.datasets: dict[str, BatchDataset[Any]] = {}
        self._metadata: dict[str, Any] = {}

    @property
    def metadata(self) -> dict[str, Any]:
        """What a task must know about its data, such as the vocabulary and the labels.

        The metadata are plain data (numbers, strings, lists and dictionaries), and are available
        after ``setup``. Every checkpoint contains them.

        Raises:
            RuntimeError: If ``setup`` was not called.
        """
        if not self._metadata:
            raise RuntimeError("the data module is not set up; call setup() before metadata")
        return self._metadata

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        """Makes this module encode the data as for a trained model. Call it before ``setup``.

        Args:
            metadata: Metadata of the trained model.

        Raises:
            InputError: If a setting contradicts the metadata.
        """
        self._metadata = metadata

    def loader(self, split: Split) -> ResumableLoader[Any]:
        """Makes the loader of this process, which loads this process's share of the batches.

        Args:
            split: "train", "val" or "test". Only training batches are shuffled.

        Raises:
            InputError: If the corpus has no examples of this split.
            RuntimeError: If ``setup`` was not called.
        """
        if not self.datasets:
            raise RuntimeError("the data module is not set up; call setup() before loader()")
        if split not in self.datasets or not len(self.datasets[split]):
            raise InputError(
                f"the corpus has no {split} {self.examples}; set --data.corpus.{split}"
            )
        return self.sharded(self.datasets[split], split)

    def sample(self, split: Split, size: int) -> Any:  # noqa: ANN401
        """Makes a batch of typical examples, to measure the speed of a network.

        Args:
            split: "train", "val" or "test".
            size: Number of examples, at least 1. They are those whose lengths are nearest to the
                median, or all if there are fewer.
        """
        dataset: Any = (
            self.datasets[split] if split in self.datasets else self.loader(split).dataset
        )
        order = dataset.lengths.argsort(stable=True).tolist()
        first = max(0, (len(order) - size) // 2)
        return dataset.__getitems__(order[first : first + size])[0]

    def prepare(self) -> None:
        """Writes cached files. Only one process per machine calls it. Does nothing by default."""

    def prepare_data(self) -> None:
        if self.download:
            self.corpus.fetch(self.root)
        self.prepare()

    def train_dataloader(self) -> ResumableLoader[Any]:
        return self.loader("train")

    def val_dataloader(self) -> ResumableLoader[Any]:
        return self.loader("val")

    def test_dataloader(self) -> ResumableLoader[Any]:
        return self.loader("test")

    @property
    def processes(self) -> tuple[int, int]:
        """Rank of this process, and number of processes that share the data."""
        # Without a trainer there is only one process.
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def sharded(self, dataset: BatchDataset[_T], split: Split) -> ResumableLoader[_T]:
        """Makes a loader of this process's share of the batches, grouped by length.

        Args:
            dataset: The examples.
            split: "train", "val" or "test". Only training batches are shuffled.
        """
        rank, world_size = self.processes
        batches = self.sampler(
            dataset.lengths,
            self.batch_size if split == "train" else self.eval_batch_size,
            shuffle=split == "train",
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        return ResumableLoader(dataset, batches, self.num_workers, self.seed)
