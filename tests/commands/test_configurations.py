"""Configurations are read like other text files, and their size is limited."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from srulight.commands.configurations import load_yaml, read_config
from srulight.commands.training import build
from srulight.runtime.errors import InputError

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize("text", [LAUGHS, "a: &a [*a]", "a: &a {b: *a}"])
def test_what_grows_without_end_is_refused_at_once(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(yaml.YAMLError, match="expected at most 100,000 values, got more"):
        load_yaml(text)
    with pytest.raises(InputError, match=r"a.yaml: expected at most 100,000 values"):
        read_config(path)
    assert time.process_time() - start < 1


def test_the_command_line_refuses_it_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(LAUGHS)
    with pytest.raises(SystemExit):
        build([f"--config={tmp_path / 'a.yaml'}"], run=False)
    assert capsys.readouterr().err.splitlines() == [
        "error: Problems parsing config: expected at most 100,000 values, got more"
    ]


def test_anchors_may_be_used() -> None:
    assert load_yaml("a: &a [1, 2]\nb: [*a, *a]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a: caf\xe9", "a.yaml:1: byte 0xe9 is not UTF-8"),
        ("a: 1".encode("utf-16"), "a.yaml: expected UTF-8 text, got UTF-16"),
        (b"[" * 100_000, "a.yaml: while increasing flow level exceeded maximum nesting depth"),
        (b"a: 'b", "a.yaml: while scanning a quoted scalar"),
    ],
)
def test_what_is_no_configuration_is_one_sentence(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(InputError, match=why) as error:
        read_config(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "model: TextClassification\ndata:\n  class_path: TextClassificationData\n"
        "  init_args: {corpus: {class_path: Tables, init_args: {text: gr\u00f6\u00dfe \u4e2d}}}\n",
        encoding="utf-8",
    )
    code = (
        "import sys; from srulight.cli import main; from srulight.commands.training import build\n"
        "main(['--version'])\n"
        "print(build(['--config', sys.argv[1]], run=False).datamodule.corpus.text)"
    )
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(command, capture_output=True, env=os.environ | locale)
    assert run.stdout.decode().endswith("gr\u00f6\u00dfe \u4e2d\n"), run.stderr
