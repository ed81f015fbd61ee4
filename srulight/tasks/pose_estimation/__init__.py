"""Pose estimation: key points at each frame of a video."""

from srulight.tasks.pose_estimation.corpora import (
    DeepLabCut,
    FlyPoints,
    KeyPointTables,
    SyntheticPoses,
)
from srulight.tasks.pose_estimation.data import PoseEstimationData
from srulight.tasks.pose_estimation.heads import HeatMapHead, PoseHead, RegressionHead
from srulight.tasks.pose_estimation.task import PoseEstimation

__all__ = [
    "DeepLabCut",
    "FlyPoints",
    "HeatMapHead",
    "KeyPointTables",
    "PoseEstimation",
    "PoseEstimationData",
    "PoseHead",
    "RegressionHead",
    "SyntheticPoses",
]
