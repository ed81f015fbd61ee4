"""Reads NumPy files from untrusted sources."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.errors import InputError

_LARGEST = 1 << 30  # Arrays of at most 1 GiB may be compressed by any factor.
_RATIO = 100  # Largest factor by which a larger array may be compressed.
_DAMAGED = (
    OSError, EOFError, ValueError, TypeError, KeyError, SyntaxError, OverflowError, RecursionError,
    NotImplementedError, RuntimeError, MemoryError, tokenize.TokenError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def map_array(path: Path, remedy: str) -> NDArray[Any]:
    """Maps the array in an ``.npy`` file into memory, without running any code from the file.

    Args:
        path: Path of the file.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Raises:
        InputError: If the file is missing, is not a complete NumPy file, or contains objects.
    """
    _require(path, remedy)
    try:
        with path.open("rb") as file:
            _, _, dtype = _header(file)
        _refuse_objects(dtype, path)
        return np.lib.format.open_memmap(path, mode="r")
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path}: expected a complete NumPy file, got: {error}") from error


def read_arrays(path: Path, names: Collection[str], remedy: str) -> dict[str, NDArray[Any]]:
    """Reads arrays from an ``.npz`` file, without running any code from the file.

    Args:
        path: Path of the file.
        names: Names of the arrays. Names that the file lacks are missing in the result.
        remedy: What to do if the file is missing, as the last clause of the error message.

    Raises:
        InputError: If the file is missing, is not a complete NumPy file, or an array contains
            objects or is larger than its size in the file allows for.
    """
    _require(path, remedy)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.removesuffix(".npy"): _read(archive, member, path)
                for member in archive.namelist()
                if member.removesuffix(".npy") in names
            }
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path}: expected a complete .npz file, got: {error}") from error


def array_names(path: Path) -> Sequence[str]:
    """Returns the names of the arrays in an ``.npz`` file that ``read_arrays`` has read."""
    with zipfile.ZipFile(path) as archive:
        return [member.removesuffix(".npy") for member in archive.namelist()]


def _require(path: Path, remedy: str) -> None:
    if not path.is_file():  # Opening a pipe would wait for ever.
        raise InputError(f"{path.name} is not in {path.parent.absolute()}; {remedy}")


def _read(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    info = archive.getinfo(member)
    place = f"{path}, {member.removesuffix('.npy')}"
    # Before it decompresses anything: the member cannot be larger than its directory entry says.
    if info.file_size > max(_LARGEST, _RATIO * info.compress_size):
        raise InputError(
            f"{place}: expected an array compressed by a factor of at most {_RATIO}, got "
            f"{info.file_size:,} bytes in {info.compress_size:,}; save it with numpy.savez"
        )
    with archive.open(member) as file:
        shape, fortran, dtype = _header(file)
        _refuse_objects(dtype, place)
        size = math.prod(shape) * dtype.itemsize
        data = file.read()
    if len(data) != size:
        raise InputError(
            f"{place}: expected {size:,} bytes for the shape {shape}, got {len(data):,}; save the "
            "array again"
        )
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Reads the shape, whether the array is in Fortran's order, and the type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    # Version 3.0 exists for the names of fields, which sequences of numbers do not have.
    raise ValueError(f"version {version[0]}.{version[1]} of the format")


def _refuse_objects(dtype: np.dtype[Any], place: Path | str) -> None:
    if dtype.hasobject:
        raise InputError(
            f"{place}: expected numbers or strings, got Python objects, which can run code; "
            "convert the array to a numeric type, or to strings, and save it again"
        )
