"""Communication between the processes of a distributed run."""

import os
from typing import TypeVar

import torch
import torch.distributed as dist

from srulight.runtime.errors import InputError

_T = TypeVar("_T")


def check_launched(world_size: int) -> None:
    """Raises InputError if torchrun started processes that would train independently.

    Args:
        world_size: Number of processes that the trainer expects.
    """
    started = int(os.environ.get("WORLD_SIZE", 1))
    if "TORCHELASTIC_RUN_ID" not in os.environ or started == world_size:
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", started))
    nodes = f" --trainer.num_nodes={started // here}" if started > here else ""
    raise InputError(
        f"expected {world_size} processes, but torchrun started {started}, which would train "
        f"independently; set --trainer.devices={here}{nodes}"
    )


def gather(value: _T) -> list[_T]:
    """Collects a value from every process, in the order of their ranks.

    All processes must call this function.

    Args:
        value: Value of this process. It must be picklable, with all tensors on the CPU.
    """
    if not _several():
        return [value]
    values: list[_T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


class AsyncMaxReduce:
    """Reduces a number over all processes to its maximum, without waiting for the result.

    All processes must create one, and must call it equally often. The numbers travel over the CPU,
    so that no process waits for a GPU.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo") if _several() else None
        self._sent = torch.zeros((), dtype=torch.int64)
        self._work: dist.Work | None = None

    def __call__(self, value: int) -> int:
        """Sends a number to the other processes.

        Args:
            value: Number of this process, 0 or more.

        Returns:
            The largest number of any process in the previous call. With a single process, the
            number of this call.
        """
        if self._group is None:
            return value
        previous = self.wait()
        self._sent.fill_(value)
        self._work = dist.all_reduce(self._sent, dist.ReduceOp.MAX, self._group, async_op=True)
        return previous

    def wait(self) -> int:
        """Waits for the previous call and returns its result; required before the process ends."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return int(self._sent)

    def smallest(self, value: int) -> int:
        """Returns the smallest number of any process, and waits for all of them.

        Args:
            value: Number of this process.
        """
        if self._group is None:
            return value
        number = torch.tensor(value)
        dist.all_reduce(number, dist.ReduceOp.MIN, self._group)
        return int(number)


def shutdown_process_group() -> None:
    """Destroys the process group, if there is one, at the end of a run.

    Otherwise, gloo's threads outlive the interpreter. A thread that then releases a tensor aborts
    the process, about one time in four.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
