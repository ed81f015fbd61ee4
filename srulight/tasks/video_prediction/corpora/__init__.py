"""Corpora of video prediction. A configuration can name each without its module."""

from srulight.tasks.video_prediction.corpora.fly_labels import FlyLabels
from srulight.tasks.video_prediction.corpora.synthetic_tools import SyntheticTools
from srulight.tasks.video_prediction.corpora.video_tables import VideoTables

__all__ = ["FlyLabels", "SyntheticTools", "VideoTables"]
