"""Targets: what a model predicts for a sequence or for a step.

A target is one class, several labels at once, or one or several numbers. It provides the loss, the
metrics, the report and the answers; tasks provide the outputs of their network.
"""

from srulight.targets.base import Kind, LossSettings, Target
from srulight.targets.build import build_target
from srulight.targets.labels import Labels, LabelsAnswer
from srulight.targets.numbers import Numbers, NumbersAnswer
from srulight.targets.one_class import ClassAnswer, OneClass
from srulight.targets.report import Report

__all__ = [
    "ClassAnswer",
    "Kind",
    "Labels",
    "LabelsAnswer",
    "LossSettings",
    "Numbers",
    "NumbersAnswer",
    "OneClass",
    "Report",
    "Target",
    "build_target",
]
