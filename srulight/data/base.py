"""What every corpus and every data module promises."""

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
"""Target that no prediction is asked for."""

Split = Literal["train", "val", "test"]

_S = TypeVar("_S", covariant=True)
_T = TypeVar("_T")


class Corpus(ABC, Generic[_S]):
    """Knows where the files of a corpus are and how they read.

    A task has a subclass that says what its corpora hold.
    """

    def fetch(self, root: Path) -> None:
        """Downloads whatever of the corpus is not there yet, and checks it; nothing by default.

        Args:
            root: Folder of the files; made if missing.

        Raises:
            InputError: If something cannot be had this way.
        """

    @abstractmethod
    def read(self, root: Path) -> _S:
        """Reads the whole corpus, or finds what is read later where that may be large.

        Args:
            root: Folder of the files.

        Raises:
            InputError: If a file is missing or is not what it should be.
        """


class BatchDataset(Dataset[_T]):
    """Examples that are gathered a batch at a time.

    Attributes:
        lengths: Steps in each example, (N,) int64, to batch those of similar length.
    """

    lengths: Tensor

    def __len__(self) -> int:
        """Counts the examples."""
        return len(self.lengths)

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> list[_T]:
        """Makes a batch, the only item of the list.

        Args:
            indices: Examples of the batch. Without any, so that a process that has no examples at a
                step goes along with the others, the batch changes neither losses nor metrics.
        """


class TaskData(LightningDataModule, ABC):
    """Data for a task, and what the task must know about them.

    A run resumes with the batch after the last one if ``train_dataloader`` gives a
    ``ResumableLoader``.

    Args:
        corpus: Where the data come from.
        root: Folder of the corpus's files.
        download: Download the files that are missing, if the corpus knows where they are.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Number that decides the order of the batches.
        batch_size: Training examples per step and process.
        eval_batch_size: Validation and test examples per step and process; ``batch_size`` if None.

    Attributes:
        datasets: The examples of each split, which ``setup`` reads.
        sampler: What groups them into batches; sizes are counted as it counts.
        examples: What the examples are called, in the plural.
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
        """What a task must know to read raw input as this module does: vocabulary, labels, ...

        Plain data (numbers, strings, lists and dictionaries), known after ``setup``. It travels in
        every checkpoint.

        Raises:
            RuntimeError: Before ``setup``.
        """
        if not self._metadata:
            raise RuntimeError("call setup before asking for metadata")
        return self._metadata

    def load_metadata(self, metadata: dict[str, Any]) -> None:
        """Makes this module, before ``setup``, read as the one that a model was trained with.

        Args:
            metadata: That module's ``metadata``.

        Raises:
            InputError: If a setting contradicts it.
        """
        self._metadata = metadata

    def loader(self, split: Split) -> ResumableLoader[Any]:
        """Makes the loader of this process, which has its share of the batches.

        Args:
            split: What it loads; only training batches are shuffled.

        Raises:
            InputError: If the corpus has none of it.
            RuntimeError: Before ``setup``.
        """
        if not self.datasets:
            raise RuntimeError("call setup before asking for batches")
        if split not in self.datasets or not len(self.datasets[split]):
            raise InputError(
                f"the corpus has no {split} {self.examples}: set --data.corpus.{split}"
            )
        return self.sharded(self.datasets[split], split)

    def prepare(self) -> None:
        """Makes what is kept in files; one process of a machine does, and the others find it."""

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
        """Rank of this process, and how many share the data."""
        # Before a trainer takes this module there is one process.
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def sharded(self, dataset: BatchDataset[_T], split: Split) -> ResumableLoader[_T]:
        """Makes a loader of batches of similar length, of which each process has its share.

        Args:
            dataset: The examples.
            split: Which part of the corpus they are; only training batches are shuffled.
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
