"""Corpora of pose estimation. A configuration can name each without its module."""

from srulight.tasks.pose_estimation.corpora.deep_lab_cut import DeepLabCut
from srulight.tasks.pose_estimation.corpora.fly_points import FlyPoints
from srulight.tasks.pose_estimation.corpora.key_point_tables import KeyPointTables
from srulight.tasks.pose_estimation.corpora.synthetic_poses import SyntheticPoses

__all__ = ["DeepLabCut", "FlyPoints", "KeyPointTables", "SyntheticPoses"]
