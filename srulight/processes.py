"""What the processes of a distributed run tell each other."""

from typing import TypeVar

import torch.distributed

_T = TypeVar("_T")


def gather(value: _T) -> list[_T]:
    """Collects a value of every process, in the order of their ranks; all must call this.

    Args:
        value: What can be pickled; tensors on the host.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [value]
    values: list[_T | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]
