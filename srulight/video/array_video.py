"""Arrays of frames, in memory or in NumPy files, as videos."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.cache import cache_key, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.files import file_checksum
from srulight.video.sources import REPLACE, VideoSource, check_frame_size, file_states

ARRAYS = (".npy", ".npz")
"""File extensions of arrays."""

_VERSION = 1  # Version of the cached checksums; raise it when their content changes.
_DAMAGED = (
    OSError, EOFError, ValueError, TypeError, KeyError, SyntaxError, OverflowError, RecursionError,
    NotImplementedError, RuntimeError, MemoryError, tokenize.TokenError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


class ArrayVideo(VideoSource):
    """Frames in memory.

    Args:
        frames: The frames, (T, H, W) in gray, or (T, H, W, C) with C = 1 for gray or 3 for RGB,
            uint8.
        name: Name of the video for messages.

    Raises:
        InputError: If the array has another shape or type.
    """

    def __init__(self, frames: NDArray[np.uint8], name: str = "the array") -> None:
        self.name = name
        shape = _checked(name, frames.shape, frames.dtype)
        self.length, self.height, self.width, _ = shape
        self._frames = frames.reshape(shape)

    def key(self) -> Any:  # noqa: ANN401
        return None

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        yield from self._frames[first : self.stop(first, length)]


class ArrayFile(VideoSource):
    """Frames in a ``.npy`` file, or in an array of an ``.npz`` file, read one by one.

    The array has the shape and type that ``ArrayVideo`` takes. Nothing in the file can run code.

    Args:
        path: Path of the file.
        array: Name of the array in an ``.npz`` file; if None, the only one that fits.

    Raises:
        InputError: If the file is missing, or is not a NumPy file with such an array.
    """

    def __init__(self, path: Path, array: str | None = None) -> None:
        self._path = path
        if not path.is_file():  # Opening a pipe would wait forever.
            raise InputError(f"{path.name} is not in {path.parent.absolute()}")
        self._array = _named(path, array) if path.suffix == ".npz" else None
        self.name = str(path) if self._array is None else f"{path}, {self._array}"
        with _opened(path, self._array, self.name) as file:
            shape, fortran, dtype = _header(file)
            if fortran:
                raise InputError(
                    f"{self.name}: expected an array in C order, got one in Fortran's order; save "
                    "numpy.ascontiguousarray of it"
                )
            self._shape = _checked(self.name, shape, dtype)
        self.length, self.height, self.width, _ = self._shape
        key = cache_key(_VERSION, "array", file_states([path]))
        self._sha256 = cached_json("videos", key, lambda: file_checksum(path))

    def key(self) -> Any:  # noqa: ANN401
        return [self._sha256, self._array]

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        stop = self.stop(first, length)
        size = math.prod(self._shape[1:])
        with _opened(self._path, self._array, self.name) as file:
            _header(file)
            file.seek(first * size, 1)
            for index in range(first, stop):
                data = file.read(size)
                if len(data) < size:
                    raise InputError(
                        f"{self.name}, frame {index}: expected {size:,} bytes, got {len(data):,}: "
                        f"the file is truncated; {REPLACE}"
                    )
                yield np.frombuffer(data, np.uint8).reshape(self._shape[1:])


def _checked(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, int, int, int]:
    """Returns the shape with channels."""
    wanted = "an array of frames, (T, H, W) or (T, H, W, C) uint8 with 1 or 3 channels"
    full = (*shape, 1) if len(shape) == 3 else shape
    if len(full) != 4 or full[3] not in (1, 3) or dtype != np.uint8:
        raise InputError(f"{name}: expected {wanted}, got {dtype} of shape {shape}; convert it")
    if full[0] < 1:
        raise InputError(f"{name}: expected at least one frame, got the shape {shape}")
    check_frame_size(name, full[1], full[2])
    return full[0], full[1], full[2], full[3]


def _named(path: Path, array: str | None) -> str:
    """Returns the name of the array of frames in an ``.npz`` file."""
    with _guarded(str(path)), zipfile.ZipFile(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
    if array is not None and array in names:
        return array
    found = [] if array is not None else [name for name in names if _fits(path, name)]
    if len(found) == 1:
        return found[0]
    wanted = "an array of frames" if array is None else f"an array {array!r}"
    raise InputError(
        f"{path}: expected {wanted}, got the arrays {', '.join(found or names)}; pass the "
        "name of one of them, or convert the file"
    )


def _fits(path: Path, array: str) -> bool:
    try:
        with _opened(path, array, "") as file:
            shape, _, dtype = _header(file)
        _checked("", shape, dtype)
    except InputError:
        return False
    return True


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Turns the many errors that damaged files raise into InputError."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"{name}: expected a complete NumPy file, got: {error}; {REPLACE}"
        ) from error


@contextmanager
def _opened(path: Path, array: str | None, name: str) -> Iterator[IO[bytes]]:
    """Opens an array, which is decompressed while it is read."""
    with _guarded(name):
        if array is None:
            with path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as member:
                yield member


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads the shape, whether the array is in Fortran's order, and the type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version[0]}.{version[1]} of the format")
