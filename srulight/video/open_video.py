"""Opens a video of any kind."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from srulight.runtime.devices import usable_cores
from srulight.runtime.errors import InputError
from srulight.runtime.progress import progress
from srulight.video.array_video import ARRAYS, ArrayFile
from srulight.video.image_folder import IMAGES, ImageVideo, image_folder
from srulight.video.sources import VideoSource
from srulight.video.video_file import VIDEO_FILES, VideoFile

_TOGETHER = 8  # Most videos that are decoded together; each has its own threads and memory.
_FEW = 100  # Up to this many videos need no progress bar.


def open_video(path: Path | str, array: str | None = None) -> VideoSource:
    """Opens a video file, a folder of images, an image, or an array of frames.

    Video files and images require the packages of ``srulight[video]``.

    Args:
        path: Path of a video file (``.mp4``, ``.avi``, ``.mov``, ``.mkv``, ``.webm``, ``.gif`` and
            others); of a folder of images, which are ordered by their names, as 2.png and 10.png;
            of an image (``.png``, ``.jpg``, ``.bmp``, ``.tif``), which is a video of one frame; or
            of an array of frames (``.npy``, ``.npz``), (T, H, W) or (T, H, W, C) uint8.
        array: Name of the array in an ``.npz`` file; if None, the only one that can be a video.

    Raises:
        InputError: If the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        return image_folder(path)
    ending = path.suffix.lower()
    if ending in VIDEO_FILES:
        return VideoFile(path)
    if ending in IMAGES:
        return ImageVideo(path, [path])
    if ending in ARRAYS:
        return ArrayFile(path, array)
    if not path.exists():
        raise InputError(f"{path.name} is not in {path.parent.absolute()}")
    endings = ", ".join((*VIDEO_FILES, *IMAGES, *ARRAYS))
    raise InputError(
        f"{path}: expected a folder of images, or a name ending in {endings}; rename or convert "
        "the file"
    )


def open_videos(
    paths: Iterable[Path], array: str | None = None
) -> dict[Path, VideoSource | InputError]:
    """Opens many videos, several at a time.

    Args:
        paths: Paths of the videos, as ``open_video`` takes them.
        array: Name of the array in ``.npz`` files.

    Returns:
        Each video, or why it cannot be opened, by its path.
    """

    def opened(path: Path) -> VideoSource | InputError:
        try:
            return open_video(path, array)
        except InputError as error:
            return error

    files = list(dict.fromkeys(paths))
    # Threads suffice: FFmpeg and hashlib release the global interpreter lock.
    with ThreadPoolExecutor(min(_TOGETHER, usable_cores())) as threads:
        found = threads.map(opened, files)
        return dict(
            zip(files, progress(found, "reading the videos", len(files), _FEW), strict=True)
        )
