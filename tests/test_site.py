"""The documentation site builds, its pages display well, and the reference is complete.

The slow tests build the site and open each page in a headless Chromium. To renew the outputs of the
notebook, run ``jupyter execute --inplace docs/tutorials/quickstart.ipynb``.
"""

import functools
import http.server
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from torch.optim.lr_scheduler import LRScheduler

from srulight import tasks
from srulight.data.base import Corpus, TaskData
from srulight.encoders import Encoder
from srulight.tasks.prediction import Generator, Predictor
from srulight.tasks.speech_recognition.layers import Subsampling
from srulight.tasks.translation import Translator
from srulight.text.tokenizers import Tokenizer
from tests.documents import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(DOCS) for kind in ("md", "ipynb") for path in DOCS.rglob(f"*.{kind}")
)
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for path in sorted((ROOT / "srulight").rglob("__init__.py"))
]
PUBLIC = [
    f"{package}.{name}"
    for package in PACKAGES
    for name in getattr(import_module(package), "__all__", ())
] + [f"srulight.{name}" for name in dir(import_module("srulight")) if not name.startswith("__")]
"""Names that the packages export, with their packages."""

LOOK = """() => {
    const article = document.querySelector("article");
    const text = article.cloneNode(true);
    text.querySelectorAll("code, pre, script, style, annotation, .clipboard-copy-txt").forEach(
        (part) => part.remove());
    return {
        heading: article.querySelector("h1")?.innerText ?? "",
        length: article.innerText.length,
        math: text.textContent.match(/\\$[^$\\n]+\\$|\\\\[([]/)?.[0],
        pictures: [...article.querySelectorAll("img")].filter(
            (img) => !(img.complete && img.naturalWidth > 0)).map((img) => img.src),
        equations: [...article.querySelectorAll("math")].filter(
            (math) => math.getBoundingClientRect().width === 0).length,
        width: document.documentElement.scrollWidth,
        links: [...document.querySelectorAll("a[href]")].map((a) => a.href),
    };
}"""
"""JavaScript that reports what a page displays."""


def hook(name: str) -> ModuleType:
    """Imports one of the site's hooks, as mkdocs does."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def classes(base: type) -> Iterator[type]:
    """Yields the classes of srulight that an option of the given type accepts."""
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        if cls.__module__.startswith("srulight.") and not cls.__name__.startswith("_"):
            if not inspect.isabstract(cls) and "compat" not in cls.__module__:
                yield cls
            yield from classes(cls)


def resolved(name: str) -> tuple[ModuleType, str]:
    package, _, last = name.rpartition(".")
    return import_module(package), last


def test_every_variable_is_described() -> None:
    page = (DOCS / "reference" / "environment.md").read_text()
    files = [
        *(ROOT / "srulight").rglob("*.py"),
        *(ROOT / "csrc").rglob("*.*"),
        ROOT / "hatch_build.py",
    ]
    read = {name for path in files for name in re.findall(r"SRULIGHT_[A-Z]+", path.read_text())}
    assert len(read) >= 8
    assert read == set(re.findall(r"SRULIGHT_[A-Z]+", page))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_described(name: str) -> None:
    value: Any = getattr(*resolved(name))
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip()


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for base in (tasks.Task, TaskData, Corpus, Encoder, Translator, Subsampling, Tokenizer)
        for cls in classes(base)
    ]
    + [cls for base in (LRScheduler, Predictor, Generator) for cls in classes(base)],
)
def test_the_options_of_every_class_are_listed(cls: type) -> None:
    page = (DOCS / "reference" / "options.md").read_text()
    assert re.search(rf"^<!-- options: .*\.{cls.__name__} -->$", page, re.MULTILINE)


def test_options_are_those_of_the_command_line() -> None:
    listed = hook("options").options_of("srulight.encoders.SRU", "model.encoder")
    assert "`--model.encoder.hidden_size` <small>integer, default `128`</small>" in listed
    assert "input_size" not in listed
    data = hook("options").options_of("srulight.tasks.translation.TranslationData", "data")
    assert "`--data.filters.max_length` <small>integer or `null`" in data


def test_every_configuration_is_listed_once() -> None:
    table = hook("configurations").table
    page = (DOCS / "reference" / "configurations.md").read_text()
    names = re.findall(r"^<!-- configurations: (\S+) -->$", page, re.MULTILINE)
    links = [link for name in names for link in re.findall(r"\(\S+/main/(\S+)\)", table(name))]
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")]
    assert sorted(links) == sorted(files)
    assert "| `train-v1.1.json`, `dev-v1.1.json` | download |" in table("QuestionAnswering")
    assert "| `mpqa.all` | by hand |" in table("TextClassification")


@pytest.mark.parametrize(
    "tex", [r"\sigma(W_f x_t)", r"\begin{aligned}a &= b \\ c &= d\end{aligned}"]
)
def test_equations_become_mathml(tex: str) -> None:
    html = with_equation(tex)
    assert "</math>" in html
    assert not set("\\$") & set(html)


def test_an_equation_that_cannot_be_shown_stops_the_build() -> None:
    with pytest.raises(Exception, match=r"page.md: latex2mathml does not know '\\\\foo'"):
        with_equation(r"\foo x")


def with_equation(tex: str) -> str:
    """Returns the HTML of a page with an equation after ``docs/hooks/equations.py``."""
    page = SimpleNamespace(file=SimpleNamespace(src_uri="page.md"))
    marked = rf'<p><span class="arithmatex">\({escape(tex)}\)</span></p>'
    html: str = hook("equations").on_page_content(marked, page)
    return html


def build(folder: Path) -> None:
    """Builds the site, without a warning."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.fixture(scope="session")
def site(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return once("site", build)


@pytest.mark.slow
def test_every_public_name_is_in_the_inventory(site: Path) -> None:
    inventory = pytest.importorskip("mkdocstrings").Inventory
    with (site / "objects.inv").open("rb") as file:
        known = set(inventory.parse_sphinx(file))
    missing = []
    for name in PUBLIC:
        value, last = getattr(*resolved(name)), name.rpartition(".")[2]
        module = getattr(value, "__module__", "")
        if not {name, f"{module}.{last}"} & known:
            missing.append(name)
    assert not missing


@pytest.fixture(scope="module")
def view(chromium: Callable[..., Any]) -> Iterator[Any]:
    """A page of a headless Chromium."""
    browser = chromium()
    yield browser.new_page(viewport={"width": 400, "height": 800})
    browser.close()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without logging."""

    def log_message(self, *_: object) -> None:
        """Discards the message."""


class Server(http.server.ThreadingHTTPServer):
    """A server whose browser may close a connection before it has read the answer."""

    def handle_error(self, *_: object) -> None:
        """Discards the error; a page that lacks something fails its test."""


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The address of the site on this machine."""
    handler = functools.partial(Handler, directory=str(site))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_shows_what_it_should(page: Path, site: Path, address: str, view: Any) -> None:  # noqa: ANN401
    name = page.with_suffix("").as_posix()
    place = f"{name.removesuffix('index')}".rstrip("/")
    said: list[str] = []
    asked: list[str] = []
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: said.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: said.append(str(error)),
        "request": lambda request: asked.append(request.url),
    }
    for event, listener in listeners.items():
        view.on(event, listener)
    view.goto(f"{address}{place}/" if place else address, wait_until="load")
    seen = view.evaluate(LOOK)
    for event, listener in listeners.items():
        view.remove_listener(event, listener)
    assert seen["heading"]
    assert seen["length"] > len(seen["heading"]) + 80
    assert not seen.get("math")
    assert not seen["pictures"]
    assert not seen["equations"]
    assert seen["width"] <= 400
    assert not [text for text in said if "error" in text.lower()]
    assert not [url for url in asked if not url.startswith((address, "data:"))]
    for link in seen["links"]:
        if link.startswith(address):
            path = site / link.removeprefix(address).partition("#")[0]
            assert (path / "index.html" if path.is_dir() else path).is_file(), link


@pytest.mark.slow(minutes=1)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(
        cell.outputs or "print" not in cell.source for cell in code
    )  # the outputs are stored
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    for cell in code:  # the first training, without a trainer, runs in full
        cell.source = re.sub(r"max_epochs=\d+", "max_epochs=1", cell.source)
    check = "print(sum(losses[:20]) / 20, sum(losses[-20:]) / 20)"
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()
    first, last = map(float, notebook.cells[-1].outputs[0].text.split())
    assert last < first / 2
