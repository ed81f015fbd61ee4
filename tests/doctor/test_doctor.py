"""The command doctor finds what is wrong with an installation, and leaks nothing."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from torch import Tensor

from srulight import cli, ops
from srulight.commands import doctor
from srulight.doctor import comparison, hardware, isolation, kernels, surroundings, versions
from srulight.doctor.findings import Finding, guarded, ok, tidied
from srulight.doctor.report import CHECKS
from srulight.ops import build
from srulight.runtime import cache, machine
from tests.documents import ROOT

RIGHT = ops.sru


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs the checks in the process of the test, where it can break what they call."""

    def call(function: Callable[..., Any], *args: Any, **_: object) -> Any:  # noqa: ANN401
        try:
            return function(*args)
        except Exception as error:
            raise isolation.IsolatedError(f"{type(error).__name__}: {error}") from error

    monkeypatch.setattr(isolation, "call", call)
    probed = kernels.probed
    probed.cache_clear()
    own = kernels.probed("cpu")["level"]
    monkeypatch.setattr(kernels, "levels", lambda: [own])
    monkeypatch.setattr(kernels, "processor_flags", lambda: frozenset(["avx2"]))
    for name in ("CXX", "SRULIGHT_CPU", "SRULIGHT_PREBUILT", "SRULIGHT_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    yield
    probed.cache_clear()


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_healthy_installation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    cli.main(["doctor", "--seconds=0", f"--output={file}"])  # does not exit
    out = capsys.readouterr().out
    for title, _, _ in CHECKS:
        assert f"\n{title}\n" in out
    assert re.search(r"\nno errors and (no|\d+) warnings?; to report a problem", out)
    assert re.search(r"ok       CPU, \w+: 4 cases \(float32, bfloat16, float16, float64\)", out)
    report = json.loads(file.read_text())
    assert report["errors"] == 0
    assert [section["title"] for section in report["sections"]] == [title for title, *_ in CHECKS]
    assert report["machine"]["cores"] == os.cpu_count()
    marks = {f["mark"] for section in report["sections"] for f in section["findings"]}
    assert marks <= {"ok", "warning", "error"}
    texts = [f["text"] for section in report["sections"] for f in section["findings"]]
    assert f"{torch.__version__}, with" in " ".join(texts)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives a function that leaves out all checks but those with the given titles."""

    def only(*titles: str) -> None:
        kept = tuple(check for check in CHECKS if check[0] in titles)
        monkeypatch.setattr("srulight.doctor.report.CHECKS", kept)

    return only


def test_a_wrong_kernel_is_an_error(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sru(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        h, last = RIGHT(*args, **options)
        return h * 1.01, last

    monkeypatch.setattr(ops, "sru", sru)
    only("Comparison with the reference")
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.main(["doctor", "--seconds=0", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["errors"] == 1
    (found,) = report["sections"][0]["findings"]
    assert "which is wrong: the output" in found["text"]
    assert "differs from the reference by" in found["text"]
    assert "SRULIGHT_EXTENSION=off" in found["advice"]
    assert found["facts"]["worst"] > 1


def test_a_comparison_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.probed("cpu")

    def die(*args: object, **options: object) -> None:
        raise isolation.IsolatedError("the process was killed by SIGILL")

    monkeypatch.setattr(isolation, "call", die)
    (found,) = comparison.check(0)
    assert found.mark == "error"
    assert "was killed by SIGILL" in found.text


def test_no_compiler_is_a_warning_and_prebuilt_kernels_need_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(kernels.check_compilers())["C++ compiler"]
    assert found.mark == "warning"
    assert found.text.startswith("no C++ compiler was found; SRU runs on the PyTorch reference")
    assert found.advice == "install g++ or clang++, or set CXX to a compiler"
    (tmp_path / "sru-cpu.so").touch()
    monkeypatch.setenv("SRULIGHT_PREBUILT", str(tmp_path))
    found = by_name(kernels.check_compilers())["C++ compiler"]
    assert found.mark == "ok"


def library(status: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    answer = {"loaded": status.startswith("loaded"), "status": status, "level": "avx2"}
    monkeypatch.setattr(kernels, "probed", lambda device: answer)
    return by_name(kernels.check_libraries())["CPU kernels"]


def test_how_the_kernels_were_built_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "_PACKAGE", tmp_path)
    kept = tmp_path / "sru.so"
    kept.touch()
    assert library(f"loaded from {kept}, for avx2", monkeypatch).text == f"{kept}: compiled now"
    os.utime(kept, (1, 1))
    assert library(f"loaded from {kept}, for avx2", monkeypatch).text == f"{kept}: compiled earlier"
    monkeypatch.setenv("SRULIGHT_PREBUILT", str(tmp_path))
    found = library(f"loaded from {kept}, for avx2", monkeypatch)
    assert (found.mark, "has no sru-cpu.so" in found.text) == ("warning", True)
    planted = tmp_path / "sru-cpu.so"
    planted.touch()
    found = library(f"loaded from {planted}, for avx2", monkeypatch)
    assert (found.mark, found.text) == ("ok", f"{planted}: prebuilt, from SRULIGHT_PREBUILT")
    planted.with_suffix(".sha256").write_text("other sources")
    monkeypatch.setattr(build, "sources", lambda: ROOT / "csrc")
    assert library(f"loaded from {planted}, for avx2", monkeypatch).mark == "warning"


def test_why_the_kernels_were_not_built_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "cpu-1.log"
    log.write_text("[1/9] cc\nsru.cpp:3:1: error: unknown flag -q\nerror: more\n")
    status = f"not available: /bin/c++ could not compile the kernels; see {log}"
    found = library(status, monkeypatch)
    assert found.mark == "error"
    assert "; sru.cpp:3:1: error: unknown flag -q" in found.text
    assert f"read {log}" in found.advice
    found = library("off (SRULIGHT_EXTENSION=off): the PyTorch reference runs", monkeypatch)
    assert (found.mark, "unset SRULIGHT_EXTENSION" in found.advice) == ("warning", True)
    (tmp_path / "sru-cpu.so").touch()
    monkeypatch.setenv("SRULIGHT_PREBUILT", str(tmp_path))
    found = library("not available: the process was killed by SIGBUS", monkeypatch)
    assert found.mark == "error"
    assert "is damaged" in found.text
    assert "unset SRULIGHT_PREBUILT" in found.advice


def test_instruction_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(used: str, asked: str | None) -> Finding:
        monkeypatch.setattr(kernels, "probed", lambda device: {"level": used})
        monkeypatch.setattr(kernels, "levels", lambda: ["baseline", "avx2"])
        monkeypatch.delenv("SRULIGHT_CPU", raising=False)
        if asked:
            monkeypatch.setenv("SRULIGHT_CPU", asked)
        return next(kernels.check_instruction_set())

    assert found("avx2", None).mark == "ok"
    assert found("", None).mark == "ok"
    lower = found("baseline", "baseline")
    assert (lower.mark, lower.advice) == ("warning", "unset SRULIGHT_CPU")
    assert "SRULIGHT_CPU must be one of baseline, avx2" in found("avx2", "axv2").text


def test_a_version_that_is_too_old_or_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    required = [Requirement("torch>=99"), Requirement("no-such-package<2"), Requirement("numpy")]
    extras = {"sound": [Requirement("no-such-package")], "dev": [Requirement("pytest")]}
    monkeypatch.setattr(
        versions, "declared", lambda: versions.Requirements(">=3.99", required, extras)
    )
    found = by_name(versions.check())
    torch_ = found["torch"]
    assert torch_.mark == "error"
    assert torch_.text == f"expected >=99, got {torch.__version__}"
    assert torch_.advice == 'run pip install "torch>=99"'
    assert found["no-such-package"].text == "not installed"
    assert found["numpy"].text == metadata.version("numpy")
    assert found["Python"].text.startswith("expected >=3.99, got 3.")
    assert found["extra sound"].mark == "ok"
    assert found["extra sound"].text.endswith('run pip install "srulight[sound]"')
    assert "extra dev" not in found


def packages(folder: Path, **requirements: list[str]) -> None:
    """Installs empty packages, version 1.0, in a folder."""
    for name, lines in requirements.items():
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in lines)
        extra = "Requires-Python: >=3.11\nProvides-Extra: sound\n"
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n{extra}{needs}")


def test_a_conflict_between_packages_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages(tmp_path, aa=["bb>=1"], bb=["cc<1", "dd; extra == 'sound'"], cc=[])
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = versions._conflicts([Requirement("aa")])
    assert (found.mark, found.text) == ("warning", "bb expects cc<1, got 1.0")
    assert found.advice == 'run pip install "cc<1", or another version of bb'


def test_requirements_are_those_of_the_checkout_or_of_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert any(one.name == "torch" for one in versions.declared().always)
    assert {"speech", "video"} <= set(versions.declared().extras)
    packages(tmp_path, srulight=["aa>=2", "ee; python_version < '3'", "bb; extra == 'sound'"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(versions, "_PACKAGE", tmp_path / "srulight")
    found = versions.declared()
    assert [str(one) for one in found.always] == ["aa>=2"]
    assert [one.name for one in found.extras["sound"]] == ["bb"]
    assert found.python == ">=3.11"


def test_a_package_that_cannot_be_imported_is_an_error() -> None:
    failures = versions.import_failures({"a": "json", "b": "no_such_module", "c": ""})
    assert failures == {"b": "ModuleNotFoundError: No module named 'no_such_module'"}
    found = versions._package(Requirement("numpy"), failures["b"])
    assert found.mark == "error"
    assert found.advice == "run pip install --force-reinstall numpy"


def test_a_cache_that_cannot_be_written_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path / "file"))
    (found,) = surroundings.check_cache()
    assert found.mark == "error"
    assert "is not writable" in found.text
    assert found.advice.startswith("set SRULIGHT_CACHE=FOLDER")
    monkeypatch.delenv("SRULIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_temporary", lambda: tmp_path / "srulight-0")
    found, *_ = surroundings.check_cache()
    assert (found.mark, "not writable" in found.text) == ("warning", True)


def test_the_size_of_the_cache_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kernels" / "a").mkdir(parents=True)
    (tmp_path / "kernels" / "a" / "x").write_bytes(bytes(1500))
    (tmp_path / "kernels" / "y").write_bytes(bytes(500))
    monkeypatch.setenv("SRULIGHT_CACHE", str(tmp_path))
    found = by_name(surroundings.check_cache())
    assert found["folder"].mark == "ok"
    assert found["kernels"].text == "2 files, 2.0 kB"


def test_no_secret_is_in_the_report(
    only: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter1")
    monkeypatch.setenv("SRULIGHT_PASSWORD", "hunter2")
    monkeypatch.setenv("CXX", f"{tmp_path}/bin/c++")
    monkeypatch.setenv("SRULIGHT_CACHE", f"{tmp_path}/my cache")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    only("Environment variables", "Cache")
    cli.main(["doctor", "--json"])
    out = capsys.readouterr().out
    assert "hunter" not in out
    assert str(tmp_path) not in out
    (variables, cached) = json.loads(out)["sections"]
    found = {one["name"]: one for one in variables["findings"]}
    assert found["CXX"]["text"] == "~/bin/c++"
    assert found["OMP_NUM_THREADS"]["text"] == "1"
    assert found["SRULIGHT_PASSWORD"]["mark"] == "warning"
    assert cached["findings"][0]["text"].startswith("~/my cache")


def test_texts_are_tidied() -> None:
    found = tidied({"a": ["/home/ann/x, /home/anna/y /home/ann"], "b": float("inf")}, "/home/ann")
    assert found == {"a": ["~/x, /home/anna/y ~"], "b": "inf"}
    assert tidied("see https://ann:pw@host/x") == "see https://...@host/x"


def test_all_variables_of_srulight_are_known() -> None:
    files = [*(ROOT / "srulight").rglob("*.py"), *(ROOT / "csrc").rglob("*.*")]
    texts = [path.read_text() for path in files if path.suffix in (".py", ".cpp", ".h", ".cu")]
    named = set(re.findall(r"\bSRULIGHT_[A-Z]+\b", " ".join(texts)))
    assert named == set(surroundings.OWN)
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    assert all(f"`{name}`" in page for name in surroundings.OWN)


def test_a_misspelled_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_CASHE", "x")
    found = by_name(surroundings.check_environment())["SRULIGHT_CASHE"]
    assert (found.mark, found.advice) == ("warning", "did you mean SRULIGHT_CACHE?")


def test_a_plugin_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRULIGHT_PLUGINS", "json, no_such_plugin")
    found = by_name(surroundings.check_plugins())
    assert found["json"].mark == "ok"
    assert found["no_such_plugin"].mark == "error"
    assert "No module named 'no_such_plugin'" in found["no_such_plugin"].text
    surroundings.import_plugin("json:JSONDecoder.decode")
    with pytest.raises(AttributeError, match="nothing"):
        surroundings.import_plugin("json:nothing")


def test_more_threads_than_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 4)
    monkeypatch.setattr(machine, "core_limit", lambda: 1.5)
    found = by_name(hardware.check_threads())["torch threads"]
    assert (found.mark, found.advice) == ("warning", "set OMP_NUM_THREADS=2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert by_name(hardware.check_threads())["torch threads"].mark == "ok"
    assert hardware._ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


def test_little_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (64 << 20, 0, 64 << 20))
    found = by_name(hardware.check_memory())
    assert found[str(tmp_path)].mark == "warning"
    assert "--shm-size" in found[str(tmp_path)].advice
    assert found["disk, working directory"].mark == "warning"


def test_a_driver_without_cuda_in_torch_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "driver", lambda: "550.1")
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = by_name(hardware.check_devices())["GPU"]
    assert (found.mark, "this torch has no CUDA" in found.text) == ("warning", True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert by_name(hardware.check_devices())["GPU"].mark == "ok"


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"name": "G", "compute_capability": "9.0", "memory_bytes": 2**31, "driver": "580.1"}
    monkeypatch.setattr(machine, "gpus", lambda: [gpu])
    found = by_name(hardware.check_devices())["GPU 0"]
    assert found.text == "G, compute capability 9.0, 2.1 GB, driver 580.1"
    assert found.facts == gpu


def test_a_check_that_fails_itself_is_an_error() -> None:
    def check() -> Iterator[Finding]:
        yield ok("a", "fine")
        raise KeyError("gone")

    first, second = guarded("Things", check)
    assert first.mark == "ok"
    assert (second.mark, second.text) == ("error", "this check failed: KeyError: 'gone'")

    def imports() -> Iterator[Finding]:
        raise ImportError("libx.so: no such file")
        yield

    (found,) = guarded("Things", imports)
    assert found.advice == "fix the errors under Versions first"


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["--second=1"], 2, "error: unrecognized arguments: --second=1"),
        (["--seconds=-1"], "error: --seconds must be 0 to 3600, got -1.0", ""),
        (["--output=."], "error: --output must be a file, got the folder .", ""),
        ([f"--output={__file__}/x"], f"error: --output: {__file__}/x cannot be written; pass", ""),
    ],
)
def test_bad_options_are_refused_at_once(
    args: list[str],
    code: int | str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda seconds: pytest.fail("began to check"))
    with pytest.raises(SystemExit) as leaving:
        cli.main(["doctor", *args])
    assert str(leaving.value.code).startswith(str(code))
    assert sentence in capsys.readouterr().err
