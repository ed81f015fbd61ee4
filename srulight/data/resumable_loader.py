"""A loader that can begin in the middle, so that a resumed run goes on with the next batch."""

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

_T = TypeVar("_T")

_PATIENCE = 30  # Seconds that a worker lives on after SIGTERM.


class _Rest(Sampler[list[int]]):
    """What is left of a pass over batches.

    Args:
        batches: Index lists of a whole pass.
    """

    def __init__(self, batches: Sampler[list[int]]) -> None:
        self.sampler = batches  # by this name Lightning finds it to set the epoch
        self.start = 0

    def __len__(self) -> int:
        """Counts the batches of a whole pass, as Lightning does."""
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        """Gives the batches that are left."""
        return islice(self.sampler, self.start, None)


class ResumableLoader(DataLoader[_T]):
    """Loads batches, and can begin in the middle of a pass.

    Args:
        dataset: Gives a whole batch for a list of indices, as the only item of a list.
        batches: Index lists of a pass; must have a length.
        num_workers: Processes that prepare batches; 0 prepares them in the main one.
        seed: Of the generator that workers are seeded from.

    Attributes:
        start: Batches that the next pass leaves out; later ones leave out none.
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
            # Otherwise each pass draws from the global generator, and a resumed run differs.
            generator=torch.Generator().manual_seed(seed),
        )

    @property
    def start(self) -> int:
        return self._rest.start

    @start.setter
    def start(self, start: int) -> None:
        self._rest.start = start

    def state_dict(self) -> dict[str, Any]:
        """Gives nothing; by this method Lightning knows that a pass can be resumed."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does nothing: the loops keep the place, and a task's training begins there."""

    def __iter__(self) -> Any:  # noqa: ANN401
        """Gives the batches that are left of this pass."""
        for batch in super().__iter__():
            self.start = 0
            yield batch


def _outlast_signals(worker: int) -> None:
    """Lets a worker live on when all processes are asked to stop, until the run has saved."""
    for name in ("SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        # The run may also be gone, and this be the way to end what it left.
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_PATIENCE))


def _only(items: list[_T]) -> _T:
    (item,) = items
    return item
