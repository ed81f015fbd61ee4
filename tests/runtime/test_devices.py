"""An error about an unavailable device lists those that are available."""

import pytest
import torch

from srulight.runtime.devices import get_device, usable_cores
from srulight.runtime.errors import InputError


def test_a_device_that_is_here_is_given() -> None:
    assert get_device("cpu") == get_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["foo", "", "cpu:x", "cuda:99", "xpu"])
def test_another_is_not(name: str) -> None:
    with pytest.raises(InputError, match=rf"this machine has \(cpu.*\), got '{name}'"):
        get_device(name)


def test_where_no_system_says_which_cores_are_ours_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert usable_cores() == 6
