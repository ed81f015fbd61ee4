"""Encoders of frames, one per file."""

from srulight.video.frame_encoders.base import (
    FrameEncoder,
    FrameEncoderFactory,
    encode_frames,
    frame_maps,
)
from srulight.video.frame_encoders.resnet import ResNet

__all__ = ["FrameEncoder", "FrameEncoderFactory", "ResNet", "encode_frames", "frame_maps"]
