"""A sixth task, taken from docs/how_to/add_a_task.md alone, works like the built-in tasks."""

import os
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from tests.documents import ROOT
from tests.python import python

PAGE = (ROOT / "docs" / "how_to" / "add_a_task.md").read_text(encoding="utf-8")
EXPORT = "from srulight.tasks.tagging import Tagging as Tagging\n"
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def blocks() -> dict[str, str]:
    """Returns the files of the page, by name."""
    found = re.findall(r"```\w+\n# (\S+/\S+|pyproject\.toml)\n(.*?)```", PAGE, re.DOTALL)
    return dict(found)


FILES = blocks()
CODE = {name: text for name, text in FILES.items() if name.endswith(".py")}
CONFIG = FILES["configs/tagging.yaml"]


def write(folder: Path) -> None:
    for name, text in CODE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def run(*args: str, path: Path, cwd: Path) -> str:
    """Runs the command line with a folder first on Python's path."""
    environment = {"SRULIGHT_EXTENSION": "off", **os.environ, "PYTHONPATH": f"{path}:{ROOT}"}
    words = "the old duck saw the watch\n"
    done = python("-m", "srulight", *args, cwd=cwd, env=environment, stdin=words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies srulight, and adds the folder of the task and one line that imports it."""
    root = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "srulight", root / "srulight", ignore=ignored)
    shutil.copytree(ROOT / "csrc", root / "csrc")
    write(root / "srulight" / "tasks")
    with (root / "srulight" / "tasks" / "__init__.py").open("a") as file:
        file.write(EXPORT)
    (root / "tagging.yaml").write_text(CONFIG)
    return root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creates a folder with the task as an installed package next to srulight."""
    site = tmp_path_factory.mktemp("site")
    write(site)
    info = site / "tagging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tagging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[srulight.plugins]\ntagging = tagging\n")
    return site


def test_it_is_short_and_the_page_has_all_of_it() -> None:
    assert sorted(CODE) == ["tagging/__init__.py", "tagging/data.py", "tagging/task.py"]
    assert sum(text.count("\n") for text in CODE.values()) < 150
    assert EXPORT in PAGE
    assert 'tagging = "tagging"' in FILES["pyproject.toml"]


def test_imports_are_held_to_the_rule_of_all_tasks(tree: Path) -> None:
    # Outside the tree, whose pytest settings would put its own srulight first.
    shutil.copy(ROOT / "tests" / "test_imports.py", tree)

    def check() -> CompletedProcess[str]:
        return python(
            "-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.",
            "test_imports.py::test_imports_point_down",
            cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        )  # fmt: skip

    good = check()
    assert good.returncode == 0, good.stdout
    data = tree / "srulight" / "tasks" / "tagging" / "data.py"
    text = data.read_text()
    try:
        data.write_text(f"{text}\nimport srulight.tasks.translation.batch\n")
        bad = check()
    finally:
        data.write_text(text)
    assert "tagging must not import srulight.tasks.translation.batch" in bad.stdout


@pytest.mark.slow
def test_it_trains_resumes_exactly_and_predicts_as_a_folder(tree: Path, tmp_path: Path) -> None:
    fit = ["fit", "--config=tagging.yaml", *QUIET]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(*fit, f"--trainer.default_root_dir={whole}", path=tree, cwd=tree)
    stop = ["--trainer.max_steps=21", f"--trainer.default_root_dir={parts}"]
    run(*fit, *stop, path=tree, cwd=tree)
    last = parts / "version_0" / "checkpoints" / "last.ckpt"
    on = [f"--ckpt_path={last}", "--trainer.max_steps=-1"]
    run("fit", *on, *QUIET, path=tree, cwd=tree)
    lasts = [folder / "version_0/checkpoints/last.ckpt" for folder in (whole, parts)]
    ends = [torch.load(path, weights_only=True) for path in lasts]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 64
    for name, weight in ends[0]["state_dict"].items():
        assert torch.equal(weight, ends[1]["state_dict"][name]), name
    assert ends[0]["task"] == "srulight.tasks.Tagging"
    best = f"--ckpt_path={whole / 'version_0/checkpoints/best.ckpt'}"
    accuracy = re.search(r"test/accuracy ([\d.]+)", run("test", best, *QUIET, path=tree, cwd=tree))
    assert accuracy is not None
    assert float(accuracy[1]) > 0.95
    said = run("predict", best, path=tree, cwd=tree)
    assert said == "DET ADJ NOUN VERB DET NOUN\tthe old duck saw the watch\n"
    assert "--batch_size" in run("predict", best, "--help", path=tree, cwd=tree)


@pytest.mark.slow
def test_it_works_as_an_installed_package(site: Path, tmp_path: Path) -> None:
    (tmp_path / "tagging.yaml").write_text(CONFIG)
    run("fit", "--config=tagging.yaml", *QUIET, path=site, cwd=tmp_path)
    said = run("predict", "--ckpt_path=best", path=site, cwd=tmp_path)
    assert said == "DET ADJ NOUN VERB DET NOUN\tthe old duck saw the watch\n"
    code = "import srulight, sys; print(srulight.load(sys.argv[1]).predict('the fish'))"
    best = next((tmp_path / "runs").rglob("best.ckpt"))
    loaded = python("-c", code, best, env={**os.environ, "PYTHONPATH": f"{site}:{ROOT}"})
    assert loaded.stdout == "[Tags(tags='DET NOUN')]\n", loaded.stderr
