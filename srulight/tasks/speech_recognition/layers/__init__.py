"""Layers that only speech recognition needs."""

from srulight.tasks.speech_recognition.layers.spec_augment import SpecAugment, SpecAugmentSettings
from srulight.tasks.speech_recognition.layers.subsampling import (
    Convolutions,
    Stacking,
    Subsampling,
    SubsamplingFactory,
)

__all__ = [
    "Convolutions",
    "SpecAugment",
    "SpecAugmentSettings",
    "Stacking",
    "Subsampling",
    "SubsamplingFactory",
]
