"""Downloads are complete and verified, or leave nothing behind."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import resource
import signal
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from srulight.data.download import Source, download, download_tar, download_zip
from srulight.runtime.errors import InputError
from srulight.tasks.text_classification.corpora import flat_files, stanford_trees
from srulight.tasks.text_classification.corpora.flat_files import FlatFiles
from srulight.tasks.text_classification.corpora.grammar import Grammar
from srulight.tasks.text_classification.corpora.stanford_trees import StanfordTrees
from srulight.tasks.text_classification.corpora.tables import Tables


def source(path: Path) -> Source:
    return Source(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limits the size of files, which has the effect of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and declares .gz files as compressed content, as some servers do."""

    def end_headers(self) -> None:
        if self.path.endswith(".gz"):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_comes_over_http_with_its_progress_shown(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "served" / "a").write_text("content")
    known = source(tmp_path / "served" / "a")
    download(Source(f"{server}/a", known.sha256), tmp_path / "target")
    assert (tmp_path / "target").read_text() == "content"
    shown = capsys.readouterr()
    assert "7/7 bytes" in shown.err
    assert shown.out == ""


def test_a_file_stays_as_compressed_as_it_is(tmp_path: Path, server: str) -> None:
    packed = gzip.compress(b"content")
    (tmp_path / "served" / "a.gz").write_bytes(packed)
    known = source(tmp_path / "served" / "a.gz")
    download(Source(f"{server}/a.gz", known.sha256), tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == packed


def test_others_may_read_what_was_fetched_as_the_umask_says(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.write_text("content")
    before = os.umask(0o022)
    try:
        download(source(origin), tmp_path / "target")
    finally:
        os.umask(before)
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o644


def test_a_page_that_is_gone_is_one_sentence(tmp_path: Path, server: str) -> None:
    with pytest.raises(InputError, match=r"/gone cannot be downloaded \(HTTP Error 404"):
        download(Source(f"{server}/gone", ""), tmp_path / "target")


def test_a_file_arrives_under_its_name_alone(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.write_text("content")
    download(source(origin), tmp_path / "new" / "target")
    assert (tmp_path / "new" / "target").read_text() == "content"
    assert files(tmp_path / "new") == {"target"}


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.write_text("changed")
    with pytest.raises(InputError, match=r"expected a file with SHA-256 0000, got [0-9a-f]{64}"):
        download(Source(origin.as_uri(), "0000"), tmp_path / "new" / "target")
    assert files(tmp_path / "new") == set()


def test_no_network_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # Nothing listens on port 9 of this machine.
    with pytest.raises(InputError, match=r"cannot be downloaded .* by hand"):
        download(Source("http://127.0.0.1:9/x", ""), tmp_path / "target")
    assert files(tmp_path) == set()


def test_an_archive_gives_the_members_named_and_no_other(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("in/wanted", "yes")
        opened.writestr("../evil", "no")
    download_zip(source(archive), {"in/wanted": tmp_path / "new" / "wanted.txt"})
    assert (tmp_path / "new" / "wanted.txt").read_text() == "yes"
    assert files(tmp_path / "new") == {"wanted.txt"}
    assert files(tmp_path) == {"a.zip", "new"}


def pack(archive: Path, **links: str) -> Source:
    """Makes an archive of ``in/dev/a``, ``in/other`` and links; ``to__b`` means ``to/b``."""
    with tarfile.open(archive, "w:gz") as opened:
        for name, text in {"in/dev/a": b"yes", "in/other": b"no"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            opened.addfile(info, io.BytesIO(text))
        for name, target in links.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            opened.addfile(info)
    return source(archive)


def test_a_tar_archive_gives_the_folder_named_and_no_other(tmp_path: Path) -> None:
    download_tar(pack(tmp_path / "a.tar.gz"), "in/dev", tmp_path / "new")
    assert (tmp_path / "new" / "in" / "dev" / "a").read_text() == "yes"
    assert files(tmp_path / "new") == {"in"}
    assert files(tmp_path / "new" / "in") == {"dev"}


@pytest.mark.parametrize(
    ("name", "target"),
    [("in__dev__b", "../../../evil"), ("in__dev__b", "/etc/passwd"), ("..__..__evil", "in")],
)
def test_a_tar_archive_that_reaches_outside_is_refused_and_leaves_nothing_behind(
    name: str, target: str, tmp_path: Path
) -> None:
    known = pack(tmp_path / "a.tar.gz", **{name: target})
    with pytest.raises(InputError, match=r"a.tar.gz cannot be unpacked in .* (outside|absolute)"):
        download_tar(known, "in/dev", tmp_path / "new")
    assert files(tmp_path / "new") == set()
    assert files(tmp_path) == {"a.tar.gz", "new"}


def test_a_file_of_an_archive_that_would_be_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as opened:
        opened.addfile(tarfile.TarInfo("in/dev/a"))
        opened.addfile(tarfile.TarInfo("in/../../evil"))
    with pytest.raises(InputError, match="cannot be unpacked"):
        download_tar(source(tmp_path / "a.tar.gz"), "in/dev", tmp_path / "new")
    assert files(tmp_path / "new") == set()
    assert files(tmp_path) == {"a.tar.gz", "new"}


def test_a_tar_archive_without_the_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.tar.gz cannot be unpacked .*'.*/in/test'"):
        download_tar(pack(tmp_path / "a.tar.gz"), "in/test", tmp_path / "new")
    assert not (tmp_path / "new" / "in" / "test").exists()


def test_a_kill_while_unpacking_leaves_no_folder_that_looks_whole(tmp_path: Path) -> None:
    known = pack(tmp_path / "a.tar.gz")
    child = os.fork()
    if child == 0:
        seen = tarfile.TarFile.makefile

        def die(*args: object) -> None:
            seen(*args)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGKILL)

        tarfile.TarFile.makefile = die  # type: ignore[method-assign, assignment]
        try:
            download_tar(known, "in/dev", tmp_path / "new")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert all(name.startswith(".") for name in files(tmp_path / "new"))
    download_tar(known, "in/dev", tmp_path / "new")
    assert files(tmp_path / "new" / "in" / "dev") == {"a"}


def test_a_folder_that_another_process_unpacked_first_is_kept(tmp_path: Path) -> None:
    known = pack(tmp_path / "a.tar.gz")
    download_tar(known, "in/dev", tmp_path / "new")
    (tmp_path / "new" / "in" / "dev" / "mine").touch()
    download_tar(known, "in/dev", tmp_path / "new")
    assert files(tmp_path / "new" / "in" / "dev") == {"a", "mine"}
    assert files(tmp_path / "new") == {"in"}


def test_trees_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("train", "dev", "test"):
            opened.writestr(f"trees/{name}.txt", "(3 fun)")
    monkeypatch.setattr(stanford_trees, "_SOURCE", source(archive))
    root = tmp_path / "root"
    StanfordTrees().fetch(root)
    assert files(root) == {"train.txt", "dev.txt", "test.txt"}
    assert StanfordTrees().read(root).train == [("fun", 1)]
    archive.unlink()
    StanfordTrees().fetch(root)


def test_flat_files_fetch_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = tmp_path / "origin"
    origin.write_text("0 from afar")
    monkeypatch.setattr(flat_files, "_SOURCES", {"a": source(origin), "b": source(origin)})
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("0 at home")
    FlatFiles("a", ["x"], test="b").fetch(root)
    assert (root / "a").read_text() == "0 at home"
    assert (root / "b").read_text() == "0 from afar"


def test_corpora_without_a_source_fetch_nothing(tmp_path: Path) -> None:
    Grammar().fetch(tmp_path)
    Tables().fetch(tmp_path)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("kind", ["file", "zip", "tar"])
def test_what_cannot_be_kept_is_a_sentence_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(os.urandom(200_000))
    archive = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(tmp_path / "content", "a")
    else:
        with tarfile.open(archive, "w") as opened:
            opened.add(tmp_path / "content", "folder/a")
    target = tmp_path / "target"

    def fetch(folder: Path) -> None:
        if kind == "file":
            download(source(tmp_path / "content"), folder / "a")
        elif kind == "zip":
            download_zip(source(archive), {"a": folder / "a"})
        else:
            download_tar(source(archive), "folder", folder)

    with full_disk(100_000), pytest.raises(InputError, match=r"room|space"):
        fetch(target)
    assert files(target) == set()
    with pytest.raises(InputError, match=f"{archive} is a file"):
        fetch(archive)
