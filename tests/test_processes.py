"""Processes of a distributed run part before Python ends."""

import contextlib
from pathlib import Path

import pytest
import torch.distributed as dist

from srulight.commands import training


@pytest.mark.parametrize("end", [None, SystemExit(143)])
def test_no_group_outlives_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException | None
) -> None:
    def build(args: list[str]) -> None:
        dist.init_process_group("gloo", f"file://{tmp_path / 'store'}", world_size=1, rank=0)
        if end is not None:
            raise end

    monkeypatch.setattr(training, "build", build)
    with contextlib.nullcontext() if end is None else pytest.raises(SystemExit, match="143"):
        training.run("fit", [])
    assert not dist.is_initialized()
