"""What the processes of a distributed run tell each other."""

import os
from typing import TypeVar

import torch
import torch.distributed as dist

from srulight.runtime.errors import InputError

_T = TypeVar("_T")


def check_launched(world_size: int) -> None:
    """Raises InputError if torchrun began processes that would each train by itself.

    Args:
        world_size: Processes that the trainer knows of.
    """
    begun = int(os.environ.get("WORLD_SIZE", 1))
    if "TORCHELASTIC_RUN_ID" not in os.environ or begun == world_size:
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", begun))
    nodes = f" --trainer.num_nodes={begun // here}" if begun > here else ""
    raise InputError(
        f"torchrun began {begun} processes and the trainer knows of {world_size}: each would train "
        f"by itself; add --trainer.devices={here}{nodes}"
    )


def gather(value: _T) -> list[_T]:
    """Collects a value of every process, in the order of their ranks; all must call this.

    Args:
        value: What can be pickled; tensors on the host.
    """
    if not _several():
        return [value]
    values: list[_T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


class AsyncMaxReduce:
    """A number that processes let each other know without waiting; the largest wins.

    All must make this, and call it equally often. On the hosts, so that no GPU is waited for.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo") if _several() else None
        self._sent = torch.zeros((), dtype=torch.int64)
        self._work: dist.Work | None = None

    def __call__(self, value: int) -> int:
        """Tells the others a number.

        Args:
            value: What this process wishes, 0 or more.

        Returns:
            The largest number that any process gave in the call before; in one process, in this.
        """
        if self._group is None:
            return value
        heard = self.wait()
        self._sent.fill_(value)
        self._work = dist.all_reduce(self._sent, dist.ReduceOp.MAX, self._group, async_op=True)
        return heard

    def wait(self) -> int:
        """Gives what was heard of the call before, and is ready for the end of the processes."""
        if self._work is not None:
            self._work.wait()
            self._work = None
        return int(self._sent)

    def smallest(self, value: int) -> int:
        """Gives the smallest number that any process has."""
        if self._group is None:
            return value
        number = torch.tensor(value)
        dist.all_reduce(number, dist.ReduceOp.MIN, self._group)
        return int(number)


def shutdown_process_group() -> None:
    """Ends what binds this process to the others, once nothing is asked of them any more.

    Otherwise gloo's threads live on while Python ends; one that then lets go of a tensor aborts the
    process, about one time in four.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
