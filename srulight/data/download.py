"""Files from the network: checked, and in place only when whole.

pooch would not do: it undoes a compression that the server declares, whereupon the checksums of
archives are wrong, and under Python 3.11 archives write outside their folder through links.
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

_TIMEOUT = 30  # Seconds without an answer.


class Source(NamedTuple):
    """Where a file comes from.

    Attributes:
        url: Its address.
        sha256: Checksum of its bytes, in hexadecimal.
    """

    url: str
    sha256: str


def download(source: Source, target: Path) -> None:
    """Downloads one file; the target appears only if the checksum is right.

    Args:
        source: Where the file comes from.
        target: Where it goes; its folder is made if missing.

    Raises:
        InputError: If the network fails or the checksum is wrong.
    """
    with written(target) as part:
        try:
            _fetch(source.url, part)
        except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
            raise InputError(
                f"{source.url} could not be downloaded ({e}); fetch it by hand, put it in "
                f"{target.parent.absolute()} (unpacked, if it is an archive) and unset "
                "--data.download"
            ) from e
        with part.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
        if found != source.sha256:
            raise InputError(
                f"{source.url} is not the file expected: sha256 {source.sha256} expected, got "
                f"{found}; nothing was kept"
            )


def _fetch(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0))
        console = rich.console.Console(stderr=True)
        with rich.progress.wrap_file(response, size, description=url, console=console) as shown:
            shutil.copyfileobj(shown, file)


@contextmanager
def _archive(source: Source, folder: Path) -> Iterator[tuple[Path, Path]]:
    """Downloads an archive into a folder, and gives a place beside it too; both go afterwards."""
    # Two runs that share a folder must not write into the same files.
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
    """Downloads an archive and unpacks some of its files; the archive is not kept.

    Args:
        source: Where the archive comes from.
        members: Names inside the archive and the file each becomes. Where a file goes is ours to
            say: nothing in the archive can write elsewhere.

    Raises:
        InputError: If the network fails or the checksum is wrong.
    """
    folder = next(iter(members.values())).parent
    with _archive(source, folder) as (archive, _), zipfile.ZipFile(archive) as opened:
        for member, target in members.items():
            with written(target) as part:
                part.write_bytes(opened.read(member))


def download_tar(source: Source, member: str, folder: Path) -> None:
    """Downloads an archive and unpacks one folder of it; the archive is not kept.

    Nothing in the archive can write elsewhere or link to what is elsewhere.

    Args:
        source: Where the archive comes from.
        member: The folder inside the archive, which must not be there yet: it appears whole, or
            not at all.
        folder: What ``member`` lies in afterwards.

    Raises:
        InputError: If the network fails, the checksum is wrong or the archive cannot be unpacked.
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
            return  # another process was faster
        raise InputError(
            f"{source.url} could not be unpacked in {folder.absolute()}: {error}; nothing was kept"
        ) from error
