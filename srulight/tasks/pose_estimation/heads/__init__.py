"""Heads. A configuration can name each without its module."""

from srulight.tasks.pose_estimation.heads.base import HeadFactory, HeadSizes, PoseHead
from srulight.tasks.pose_estimation.heads.heat_maps import HeatMapHead
from srulight.tasks.pose_estimation.heads.regression import RegressionHead

__all__ = ["HeadFactory", "HeadSizes", "HeatMapHead", "PoseHead", "RegressionHead"]
