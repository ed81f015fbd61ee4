"""Writes the tables of the files in ``configs``.

A page asks for the configurations of a task, or for those in a folder, by a comment on a line of
its own: ``<!-- configurations: TextClassification -->`` or ``<!-- configurations: encoders -->``.
"""

import inspect
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

import srulight.tasks  # noqa: F401  makes all corpora known
from srulight.data.base import Corpus
from srulight.runtime.errors import InputError
from srulight.runtime.fields import known

CONFIGS = Path(__file__).parents[2] / "configs"
_SOURCES = "https://github.com/srulight/srulight/blob/main/configs"
_COMMENT = re.compile(r"^<!-- configurations: (\S+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the comments of a page.

    Args:
        markdown: The page in Markdown.
    """
    return _COMMENT.sub(lambda asked: table(asked[1]), markdown)


def table(name: str) -> str:
    """Makes a table of configurations in Markdown.

    Args:
        name: A task, whose configurations are listed; or a folder in ``configs``.
    """
    folder = CONFIGS / name
    if folder.is_dir():
        rows = [f"| {_link(path)} | {_contents(path)} |" for path in sorted(folder.glob("*.yaml"))]
        return "\n".join(["| file | contents |", "|---|---|", *rows])
    rows = []
    for path in sorted(CONFIGS.glob("*.yaml")):
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if settings["model"]["class_path"] == name:
            files, origin = _data(settings["data"]["init_args"]["corpus"])
            rows.append(f"| {_link(path)} | {_contents(path)} | {files} | {origin} |")
    return "\n".join(["| file | contents | data files | origin |", "|---|---|---|---|", *rows])


def _link(path: Path) -> str:
    name = path.relative_to(CONFIGS).as_posix()
    return f"[`{name}`]({_SOURCES}/{name})"


def _contents(path: Path) -> str:
    """Gives the first sentence of the comment that a file begins with; without one, its class."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    if not comment:
        return f"`{lines[0].rpartition(' ')[2]}`"
    return re.split(r"(?<=[.!?])\s", " ".join(comment), maxsplit=1)[0].replace("|", r"\|")


def _data(corpus: dict[str, Any]) -> tuple[str, str]:
    """Says which files a corpus reads, and where they come from."""
    cls, arguments = known(corpus["class_path"], (Corpus,)), corpus.get("init_args", {})
    if cls is None:
        raise LookupError(f"there is no corpus {corpus['class_path']}")
    if "train_size" in inspect.signature(cls).parameters:
        return "none", "generated"
    named = [arguments.get(split) for split in ("train", "val", "test")]
    files = [name for one in named if one for name in (one if isinstance(one, list) else [one])]
    said = ", ".join(f"`{name}`" for name in files) or f"those of `{cls.__name__}`"
    return said, "download" if _downloads(cls(**arguments)) else "by hand"


class _AskedError(BaseException):
    """A corpus asked another server for a file."""


def _downloads(corpus: Corpus[Any]) -> bool:
    """Tells whether a corpus can fetch its files; stops it before it asks for one."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("urllib.request.urlopen", side_effect=_AskedError),
    ):
        try:
            corpus.fetch(Path(folder))
        except _AskedError:
            return True
        except InputError:
            return False
    return False
