"""Downloads that are verified, and that appear under their name only when they are complete.

pooch is unsuitable. It decompresses a response whose compression the server declares, so that the
checksums of archives are wrong. With Python 3.11, links in an archive can make it write outside its
folder.
"""

import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import rich.console
import rich.progress

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError

_TIMEOUT = 30  # Seconds without a response.


class Source(NamedTuple):
    """A file to download.

    Attributes:
        url: URL of the file.
        sha256: SHA-256 checksum of the file in hexadecimal digits.
    """

    url: str
    sha256: str


def download(source: Source, target: Path) -> None:
    """Downloads a file; the target appears only if the checksum is correct.

    Args:
        source: File to download.
        target: Path to write to; its folder is created if missing.

    Raises:
        InputError: If the download fails or the checksum is wrong.
    """
    with written(target) as part:
        try:
            _fetch(source.url, part)
        except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
            raise InputError(
                f"{source.url} cannot be downloaded ({e}); get it by hand, put it in "
                f"{target.parent.absolute()} (unpacked if it is an archive) and remove "
                "--data.download"
            ) from e
        with part.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
        if found != source.sha256:
            raise InputError(
                f"{source.url}: expected a file with SHA-256 {source.sha256}, got {found}; nothing "
                "was saved; try again, or get the original file by hand"
            )


def _fetch(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0))
        console = rich.console.Console(stderr=True)
        with rich.progress.wrap_file(response, size, description=url, console=console) as shown:
            shutil.copyfileobj(shown, file)


@contextmanager
def _archive(source: Source, folder: Path) -> Iterator[tuple[Path, Path]]:
    """Provides an archive, and a path beside it to unpack to; deletes both at the end."""
    # The process id keeps runs that share the folder from writing into the same files.
    archive = folder / f".{source.url.rsplit('/', 1)[-1]}.{os.getpid()}.part"
    unpacked = archive.with_suffix(".unpacked")
    try:
        download(source, archive)
        yield archive, unpacked
    finally:
        with suppress(OSError):
            archive.unlink()
        shutil.rmtree(unpacked, ignore_errors=True)


def download_zip(source: Source, members: Mapping[str, Path]) -> None:
    """Downloads a ZIP archive, unpacks some of its files, and deletes the archive.

    The archive itself cannot determine where a file is written.

    Args:
        source: Archive to download.
        members: Path to write to, for each name in the archive.

    Raises:
        InputError: If the download fails or the checksum is wrong.
    """
    folder = next(iter(members.values())).parent
    with _archive(source, folder) as (archive, _), zipfile.ZipFile(archive) as opened:
        for member, target in members.items():
            with written(target) as part:
                part.write_bytes(opened.read(member))


def download_tar(source: Source, member: str, folder: Path) -> None:
    """Downloads a tar archive, unpacks one of its folders, and deletes the archive.

    The archive can neither write to another folder nor link to one.

    Args:
        source: Archive to download.
        member: Name of the folder in the archive. The folder must not exist yet; it appears
            only when it is complete.
        folder: Folder that will contain ``member``.

    Raises:
        InputError: If the download fails, the checksum is wrong or the archive cannot be unpacked.
    """
    target = folder / member
    try:
        with _archive(source, folder) as (archive, unpacked):
            with tarfile.open(archive) as opened:
                opened.extractall(unpacked, filter="data")
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(unpacked / member, target)
    except (tarfile.TarError, OSError) as error:
        if target.is_dir():
            return  # another process was first
        raise InputError(
            f"{source.url} cannot be unpacked in {folder.absolute()}: {error}; nothing was saved"
        ) from error
