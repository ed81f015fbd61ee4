"""Where a measurement comes from."""

import re
import subprocess
from pathlib import Path

import pytest
import torch

from srulight.runtime import provenance
from tests.documents import ROOT


def test_versions_are_those_of_the_installed_packages() -> None:
    found = provenance.versions("numpy", "no-such-package")
    assert found["torch"] == torch.__version__
    assert list(found) == ["srulight", "python", "torch", "numpy"]


def test_the_commit_is_that_of_the_checkout() -> None:
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True)
    found = provenance.commit()
    if done.returncode:
        assert found is None
    else:
        assert found is not None
        assert found.rstrip("+") == done.stdout.strip()


def test_an_installed_package_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "srulight" / "runtime" / "x.py"))
    assert provenance.commit() is None


def test_a_date_has_ten_digits_and_dashes() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", provenance.today())
