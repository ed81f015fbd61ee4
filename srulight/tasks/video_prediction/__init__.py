"""Video prediction: targets of videos, or of their frames."""

from srulight.tasks.video_prediction.boosting import BoostedVideoPrediction
from srulight.tasks.video_prediction.corpora import FlyLabels, SyntheticTools, VideoTables
from srulight.tasks.video_prediction.data import VideoPredictionData
from srulight.tasks.video_prediction.task import VideoPrediction

__all__ = [
    "BoostedVideoPrediction",
    "FlyLabels",
    "SyntheticTools",
    "VideoPrediction",
    "VideoPredictionData",
    "VideoTables",
]
