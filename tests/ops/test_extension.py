"""The kernels are built once and shared, and a failing build stops nothing."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from srulight.ops import build, extension
from tests.python import python

USE = """
import torch
from srulight.ops import extension, sru
u = torch.arange(24.).reshape(1, 2, 3, 4).requires_grad_()
h, _ = sru(u, None, None, torch.zeros(2, 4))
h.sum().backward()
print(extension.status['cpu'].split()[0], round(h.sum().item(), 4), round(u.grad.sum().item(), 4))
"""


def use(cache: Path, **environment: str) -> tuple[str, str]:
    fast = {"SRULIGHT_CXXFLAGS": "-O0", "SRULIGHT_CACHE": str(cache)}
    done = python("-c", USE, env={**os.environ, **fast, **environment})
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]]]:
    """Returns a cache that three processes filled at once, and what each printed."""
    cache = tmp_path_factory.mktemp("cache")
    with ThreadPoolExecutor() as pool:
        return cache, list(pool.map(use, [cache] * 3))


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_build(
    built: tuple[Path, list[tuple[str, str]]],
) -> None:
    cache, outputs = built
    assert len({out for out, _ in outputs}) == 1
    assert outputs[0][0].startswith("loaded")
    assert sum("building" in err for _, err in outputs) == 1
    (library,) = cache.glob("kernels/*/*.so")
    again = use(cache)
    assert "building" not in again[1]
    os.truncate(library, 3000)  # running the rest would be a bus error
    after = use(cache)
    assert after[0] == outputs[0][0]
    assert "building" in after[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PATH": ""}, "no C++ compiler was found"),
        ({"CXX": "/bin/false"}, "/bin/false could not compile"),
        ({"SRULIGHT_CACHE": "/proc/none"}, "set SRULIGHT_CACHE=FOLDER to a writable folder"),
        ({"SRULIGHT_EXTENSION": "off"}, ""),
    ],
)
def test_without_a_build_the_reference_runs(
    built: tuple[Path, list[tuple[str, str]]],
    tmp_path: Path,
    environment: dict[str, str],
    sentence: str,
) -> None:
    out, err = use(tmp_path, **environment)
    expected = built[1][0][0].split()
    assert expected[0] == "loaded"
    assert out.split()[0] != "loaded"
    assert len(expected) == 3
    assert out.split()[-2:] == expected[1:]
    assert err.count("SRU runs on the slower PyTorch reference") == (1 if sentence else 0)
    assert sentence in err


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process forget which libraries it has loaded."""
    monkeypatch.setattr(extension, "_loaded", {})
    monkeypatch.setattr(extension, "status", {})


@pytest.mark.usefixtures("anew")
def test_switched_off_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "library", lambda device: pytest.fail("asked for a library"))
    monkeypatch.setenv("SRULIGHT_EXTENSION", "off")
    assert not extension.load("cpu")
    assert extension.status["cpu"].startswith("off (SRULIGHT_EXTENSION=off)")


@pytest.mark.usefixtures("anew")
def test_what_cannot_be_built_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def library(device: str) -> Path:
        raise build.BuildError("no compiler")

    monkeypatch.setattr(build, "library", library)
    with pytest.warns(UserWarning, match=r"slower PyTorch reference \(cpu\): no compiler; set "):
        assert not extension.load("cpu")
    assert not extension.load("cpu")  # without a second warning
    assert extension.status["cpu"] == "not available: no compiler"
