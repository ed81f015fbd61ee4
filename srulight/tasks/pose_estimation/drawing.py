"""Pictures and videos with key points drawn into the frames."""

import colorsys
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from lightning_utilities.core.imports import module_available
from numpy.typing import NDArray

from srulight.runtime.atomic_io import written
from srulight.runtime.errors import InputError

_SAMPLES = 8  # Frames of each video that are drawn into pictures.
_SMALLEST = 384  # Smallest size of the larger side of a picture, in pixels.
_BESIDE = 12  # Up to this many names are beside the points; more are in a list beside the frame.
_LINE = 12  # Height of a name in pixels.
_LIST = 140  # Width of the list of names in pixels.
_RATE = 25  # Frames per second of the videos that are written.
_GIF_FRAMES = 500  # Most frames of an animated GIF, all of which are kept in memory.


class Pictures:
    """Draws the key points of videos.

    Args:
        folder: Folder to write to; created if missing.

    Raises:
        InputError: If Pillow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        _pillow()
        self.folder = folder
        self._taken: set[str] = set()

    def draw(
        self,
        path: str,
        frames: Iterable[NDArray[np.uint8]],
        points: NDArray[np.float32],
        names: Sequence[str],
    ) -> None:
        """Writes pictures of a few frames, and a video.

        Args:
            path: Path of the video, from whose name those of the files are made.
            frames: Its frames, (H, W, C) each.
            points: Key points in each frame, (T, K, 2), in pixels of the frame.
            names: Names of the key points.

        Raises:
            InputError: If a file cannot be written.
        """
        name = self._free(Path(path).stem)
        self.folder.mkdir(parents=True, exist_ok=True)
        sampled = {*np.linspace(0, len(points) - 1, _SAMPLES).round().astype(int).tolist()}
        digits = len(str(len(points) - 1))

        def drawn() -> Iterator[Any]:
            for i, (frame, own) in enumerate(zip(frames, points, strict=True)):
                image = draw_points(frame, own, names)
                if i in sampled:
                    with written(self.folder / f"{name}-{i:0{digits}}.png") as part:
                        image.save(part, format="PNG")
                yield image

        if module_available("av"):
            with written(self.folder / f"{name}.mp4") as part:
                _write_video(drawn(), part)
        else:
            with written(self.folder / f"{name}.gif") as part:
                _write_gif(drawn(), part)

    def _free(self, stem: str) -> str:
        """Returns a name for the files that no other video of this run has."""
        plain = re.sub(r"[^\w.-]", "_", stem).strip(".") or "video"
        name, count = plain, 1
        while name in self._taken:
            count += 1
            name = f"{plain}_{count}"
        self._taken.add(name)
        return name


def draw_points(frame: NDArray[np.uint8], points: NDArray[np.float32], names: Sequence[str]) -> Any:  # noqa: ANN401
    """Draws key points as disks, with their names beside them.

    Small frames are enlarged. Many names are in a list beside the frame, in the colors of the
    points.

    Args:
        frame: The frame, (H, W, C), with 1 channel for gray or 3 for RGB.
        points: x and y in pixels of the frame, (K, 2); points that are not finite are left out.
        names: Names of the points.

    Returns:
        The picture, an image of Pillow in RGB.
    """
    pillow = _pillow()
    from PIL import ImageDraw

    image = pillow.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).convert("RGB")
    listed = len(names) > _BESIDE
    needed = max(_SMALLEST, _LINE * len(names) if listed else 0)
    factor = max(1, -(-needed // max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), pillow.Resampling.BILINEAR)
    width = image.width
    if listed:
        image = image.crop((0, 0, width + _LIST, max(image.height, _LINE * len(names))))
    pen = ImageDraw.Draw(image)
    radius = max(3, max(image.size) // 128)
    for i, (name, own) in enumerate(zip(names, points.tolist(), strict=True)):
        color = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(i / len(names), 0.8, 1.0))
        text = name.encode("ascii", "replace").decode()
        if listed:
            pen.text((width + 4, _LINE * i), text, color)
        if not np.isfinite(own).all():
            continue
        x, y = own[0] * factor, own[1] * factor
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), color, "black")
        if not listed:
            pen.text((x + radius + 2, y - radius), text, color)
    return image


def _write_video(images: Iterator[Any], path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as file:
        stream: Any = None
        for image in images:
            # The usual format of colors needs an even width and height.
            even = image.crop(
                (0, 0, image.width + image.width % 2, image.height + image.height % 2)
            )
            if stream is None:
                codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
                stream = file.add_stream(codec, rate=_RATE)
                stream.width, stream.height, stream.pix_fmt = even.width, even.height, "yuv420p"
            frame: Any = av.VideoFrame.from_ndarray(np.asarray(even), format="rgb24")
            file.mux(stream.encode(frame))
        if stream is not None:
            file.mux(stream.encode())


def _write_gif(images: Iterator[Any], path: Path) -> None:
    first, *others = [image for i, image in enumerate(images) if i < _GIF_FRAMES]
    first.save(
        path, format="GIF", save_all=True, append_images=others, duration=1000 // _RATE, loop=0
    )


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(
            'drawing key points needs Pillow; install it: pip install "srulight[video]"'
        ) from error
    return Image
