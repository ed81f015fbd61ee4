"""The process group of a distributed run is destroyed before Python exits."""

import contextlib
from pathlib import Path

import pytest
import torch.distributed as dist

from srulight.cli import main
from srulight.commands import training
from srulight.runtime.distributed import check_launched


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


@pytest.mark.parametrize(
    ("begun", "here", "advice"),
    [("2", "2", "--trainer.devices=2$"), ("8", "4", "--trainer.devices=4 --trainer.num_nodes=2$")],
)
def test_processes_that_would_each_train_by_itself_are_refused(
    begun: str, here: str, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": begun, "LOCAL_WORLD_SIZE": here}
    for name, value in (launched | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    with pytest.raises(SystemExit, match=f"expected 1 .* torchrun started {begun}.*; set {advice}"):
        main(["fit", f"--config={config}"])
    assert not list(tmp_path.rglob("version_*"))
    check_launched(int(begun))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    check_launched(1)
