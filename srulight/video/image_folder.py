"""Folders of images, and single images, as videos."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srulight.runtime.cache import cache_key, cached_json
from srulight.runtime.errors import InputError
from srulight.runtime.files import file_checksum
from srulight.video.sources import REPLACE, VideoSource, check_frame_size, file_states

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""File extensions of images."""

_VERSION = 1  # Version of the cached summaries; raise it when their content changes.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_GRAY = ("1", "L", "LA", "La")
_DEEP = ("I", "F")  # Modes that begin with these have more than 8 bits per pixel.


class _Summary(NamedTuple):
    """What the headers of the images say.

    Attributes:
        sums: Checksum of each image.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        color: Whether any image has colors.
    """

    sums: list[str]
    height: int
    width: int
    color: bool


class ImageVideo(VideoSource):
    """Images of one size, one per frame. Metadata that tell a viewer to rotate them have no effect.

    Args:
        name: Path of the folder or of the only image.
        paths: Paths of the images in the order of the frames, at least one.

    Raises:
        InputError: If Pillow is not installed, or a file is not such an image.
    """

    def __init__(self, name: Path, paths: list[Path]) -> None:
        self.name = str(name)
        self._paths = paths
        key = cache_key(_VERSION, "images", file_states(paths))
        summary = _Summary(*cached_json("videos", key, lambda: _summarize(paths)))
        self._sums = summary.sums
        self.length = len(paths)
        self.height = summary.height
        self.width = summary.width
        self._color = summary.color

    def key(self) -> Any:  # noqa: ANN401
        names = [path.name for path in self._paths]
        sizes = [path.stat().st_size for path in self._paths]
        return [names, sizes, self._sums]

    def frames(self, first: int = 0, length: int | None = None) -> Iterator[NDArray[np.uint8]]:
        for path in self._paths[first : self.stop(first, length)]:
            with _opened(path) as image:
                _check_size(path, image, self.height, self.width)
                pixels = _pixels(path, image, "RGB" if self._color else "L")
            yield pixels.reshape(self.height, self.width, -1)


def image_folder(folder: Path) -> ImageVideo:
    """Returns the images of a folder as a video.

    The order of the frames is that of the file names, in which numbers count as numbers: ``2.png``
    comes before ``10.png``. Files with other extensions, and hidden files, are left out.

    Args:
        folder: Path of the folder.

    Raises:
        InputError: If the folder has no images, or they have different sizes.
    """
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGES and not path.name.startswith(".")
        ]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        raise InputError(
            f"{folder}: expected images ({', '.join(IMAGES)}) in the folder, got none; correct "
            "the name of the folder"
        )
    return ImageVideo(folder, sorted(found, key=lambda path: natural_order(path.name)))


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Returns what sorts names so that numbers count as numbers.

    Args:
        name: A name.
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    # Numbers come before texts, as in the alphabet; equal numbers may have different zeros.
    return [
        (0, int(p[:4000]), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in parts
    ], name


def _summarize(paths: list[Path]) -> _Summary:
    height = width = 0
    color = False
    sums: list[str] = []
    for path in paths:
        with _opened(path) as image:
            if not sums:
                height, width = image.height, image.width
            _check_size(path, image, height, width)
            if image.mode.startswith(_DEEP):
                raise InputError(
                    f"{path}: expected an image with 8 bits per channel, got the mode "
                    f"{image.mode!r} of Pillow; convert it"
                )
            color = color or image.mode not in _GRAY
        sums.append(file_checksum(path))
    return _Summary(sums, height, width, color)


def _opened(path: Path) -> "Image":
    """Opens an image, of which only the header is read."""
    pillow = _imported()
    if not path.is_file():  # Opening a pipe would wait forever.
        raise InputError(f"{path.name} is not in {path.parent.absolute()}")
    try:
        image: Image = pillow.open(path, formats=_FORMATS)
    except Exception as error:  # A damaged header raises errors of many kinds.
        raise InputError(
            f"{path}: expected an image ({', '.join(_FORMATS)}), got a file that Pillow cannot "
            f"read; {REPLACE}"
        ) from error
    return image


def _check_size(path: Path, image: "Image", height: int, width: int) -> None:
    check_frame_size(str(path), image.height, image.width)
    if (image.height, image.width) != (height, width):
        raise InputError(
            f"{path}: expected an image of {width} x {height} pixels, as those before, got "
            f"{image.width} x {image.height}; resize it"
        )


def _pixels(path: Path, image: "Image", mode: str) -> NDArray[np.uint8]:
    try:
        return np.asarray(image.convert(mode))
    except Exception as error:  # Damaged contents raise errors of many kinds.
        raise InputError(
            f"{path}: expected a complete image, got a damaged one ({error}); {REPLACE}"
        ) from error


def _imported() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(
            'reading images needs Pillow; install it: pip install "srulight[video]"'
        ) from error
    return Image
