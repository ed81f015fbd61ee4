"""A data loader that can start in the middle of an epoch, for runs that resume."""

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

_T = TypeVar("_T")

_PATIENCE = 30  # Seconds that a worker keeps running after SIGTERM.


class _Rest(Sampler[list[int]]):
    """The remaining batches of an epoch.

    Args:
        batches: Index lists of a whole epoch.
    """

    def __init__(self, batches: Sampler[list[int]]) -> None:
        self.sampler = batches  # Lightning looks for this name to set the epoch
        self.start = 0

    def __len__(self) -> int:
        """Returns the number of batches in a whole epoch, which Lightning expects."""
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        """Iterates over the remaining batches."""
        return islice(self.sampler, self.start, None)


class ResumableLoader(DataLoader[_T]):
    """Loads batches, and can start in the middle of an epoch.

    Args:
        dataset: Dataset that returns a list with only one item, a whole batch, for a list of
            indices.
        batches: Index lists of an epoch; must have a length.
        num_workers: Number of processes that prepare batches; 0 prepares them in the main process.
        seed: Seed of the generator that the workers are seeded from.

    Attributes:
        start: Number of batches that the next epoch skips; later epochs skip none.
    """

    def __init__(
        self,
        dataset: Dataset[_T],
        batches: Sampler[list[int]],
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        self._rest = _Rest(batches)
        only: Callable[[list[_T]], _T] = _only
        super().__init__(
            dataset,
            batch_sampler=self._rest,
            collate_fn=only,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=_outlast_signals if num_workers else None,
            # By default, each epoch draws from the global generator, which a resumed run would not.
            generator=torch.Generator().manual_seed(seed),
        )

    @property
    def start(self) -> int:
        return self._rest.start

    @start.setter
    def start(self, start: int) -> None:
        self._rest.start = start

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing; the method tells Lightning that the loader can resume an epoch."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing: Lightning's loops store the position, and ``start`` is set from them."""

    def __iter__(self) -> Any:  # noqa: ANN401
        """Iterates over the remaining batches of this epoch."""
        for batch in super().__iter__():
            self.start = 0
            yield batch


def _outlast_signals(worker: int) -> None:
    """Keeps a worker alive when all processes are told to stop, until the run has saved."""
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        # The worker must still end if the main process is gone.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))


def _only(items: list[_T]) -> _T:
    (item,) = items
    return item
