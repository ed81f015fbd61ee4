"""Videos: decoding, frames in the cache, clips, and the encoders of frames."""

from srulight.video.array_video import ArrayVideo
from srulight.video.open_video import open_video, open_videos
from srulight.video.sources import VideoSource

__all__ = ["ArrayVideo", "VideoSource", "open_video", "open_videos"]
