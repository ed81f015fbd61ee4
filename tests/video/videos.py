"""Makes small videos for tests."""

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def moving_square(length: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Returns frames of a square that moves over a changing background, (T, H, W, 3)."""
    frames = np.empty((length, height, width, 3), dtype=np.uint8)
    for i in range(length):
        frames[i] = i * 37 % 200
        x = i % (width - 8)
        frames[i, 4:12, x : x + 8] = (255, 40, 40)
    return frames


def encode(
    path: Path,
    frames: NDArray[np.uint8],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> None:
    """Writes frames, (T, H, W, 3) uint8, as a video file with a key frame every 10 frames."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=10, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.gop_size = pixels, 10
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
