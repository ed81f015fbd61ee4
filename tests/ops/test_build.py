"""Tests of building the libraries of kernels."""

import ctypes
import os
import shutil
from pathlib import Path

import pytest
import torch

from srulight.ops import build


@pytest.mark.slow
def test_cuda_sources_compile(tmp_path: Path) -> None:
    try:
        recipe = build.cuda(build.sources(), "9.0")
    except build.BuildError as error:
        pytest.skip(str(error))
    library = tmp_path / "sru-cuda.so"
    build.compile_library(recipe, library)
    assert b"sm_90" in library.read_bytes()
    assert list(tmp_path.iterdir()) == [library]


def test_compute_capabilities_become_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "nvcc", lambda: "nvcc")
    recipe = build.cuda(build.sources(), "8.0 9.0a;12.0+PTX")
    flags = [flag for flag in recipe.compile.split() if flag.startswith("-gencode")]
    assert flags == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]


def test_says_what_is_missing_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "nvcc", lambda: "nvcc")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv(build.ARCHITECTURES, raising=False)
    with pytest.raises(build.BuildError, match="no GPU is visible to compile for; set TORCH_CUDA"):
        build.cuda(build.sources())
    with pytest.raises(build.BuildError, match=r"must look like 8\.0;9\.0\+PTX, got 'Hopper'"):
        build.cuda(build.sources(), "Hopper")


def test_says_that_nvcc_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "nvcc" else name)
    with pytest.raises(build.BuildError, match="no nvcc was found; install the CUDA toolkit"):
        build.cuda(build.sources(), "9.0")


def test_a_library_of_the_wheel_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "_PACKAGE", tmp_path)
    ready = tmp_path / "lib" / "sru-cpu.so"
    ready.parent.mkdir()
    ready.touch()
    assert build.library("cpu") == ready


def test_a_library_of_a_named_folder_is_taken_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready = tmp_path / "sru-cpu.so"
    ready.touch()
    monkeypatch.setenv(build.PREBUILT, str(tmp_path))
    assert build.library("cpu") == ready


def test_a_prebuilt_library_is_current_while_its_sources_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    csrc = shutil.copytree(build.sources(), tmp_path / "csrc")
    monkeypatch.setattr(build, "sources", lambda: csrc)
    monkeypatch.setattr(build, "cuda", lambda *_: None)
    monkeypatch.setattr(build, "compile_library", lambda _, path: path.touch())
    assert not build.is_current(tmp_path, "cuda")
    build.prebuild(tmp_path)
    assert build.is_current(tmp_path, "cuda")
    with (csrc / "cuda" / "tile.h").open("a") as file:
        file.write("// changed\n")
    assert not build.is_current(tmp_path, "cuda")
    assert build.is_current(tmp_path, "cpu")


def test_paths_may_hold_any_character(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = tmp_path / 'a b$c:d\'é "f"'
    odd.mkdir()
    (odd / "include").mkdir()
    (odd / "include" / "number.h").write_text("#define NUMBER 7\n")
    (odd / "seven.cpp").write_text(
        '#include <number.h>\nextern "C" int seven() { return NUMBER; }\n'
    )
    (odd / "c++").symlink_to(build.host_compiler())
    monkeypatch.setattr(build, "_TORCH", odd)
    recipe = build.Recipe(
        str(odd / "c++"), f"-fPIC -I{build.quoted(odd)}", "", [(odd / "seven.cpp", "")]
    )
    build.compile_library(recipe, odd / "seven.so")
    assert ctypes.CDLL(str(odd / "seven.so")).seven() == 7


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Creates a cache that contains a library."""
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(build.PREBUILT, raising=False)
    monkeypatch.setattr(build, "compile_library", lambda _recipe, path, _log: path.touch(0o600))
    before = os.umask(0)
    build.library("cpu")
    os.umask(before)
    return tmp_path / "cache"


PLACES = ["", "kernels", "kernels/*", "kernels/*/*.so"]


def test_a_cache_is_its_owner_s_alone(cache: Path) -> None:
    for place in (cache, *cache.glob("kernels"), *cache.glob("kernels/cpu*[!k]")):
        assert place.stat().st_mode & 0o777 == 0o700, place


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("place", PLACES)
def test_what_others_can_write_is_refused(cache: Path, place: str, mode: int) -> None:
    path = place_in(cache, place)
    path.chmod(mode)
    with pytest.raises(build.BuildError, match="is writable by other users, who could put code"):
        build.library("cpu")
    path.chmod(0o700)
    build.library("cpu")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_others_is_refused(cache: Path, place: str) -> None:
    os.chown(place_in(cache, place), 1234, 1234)
    with pytest.raises(build.BuildError, match="belongs to other users, who could put code"):
        build.library("cpu")


def test_a_cache_in_a_folder_that_everyone_can_write_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "link"))
    build.library("cpu")
    tmp_path.chmod(0o777)
    with pytest.raises(build.BuildError, match=f"{tmp_path} is writable by other users"):
        build.library("cpu")
    tmp_path.chmod(0o1777)  # only owners can rename files here, as in /tmp
    build.library("cpu")


def place_in(cache: Path, pattern: str) -> Path:
    return next(p for p in cache.glob(pattern) if p.suffix != ".lock") if pattern else cache
