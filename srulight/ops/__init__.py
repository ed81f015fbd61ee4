"""The recurrence: reference, compiled kernels, public operator."""

from srulight.ops.layer import sru_layer
from srulight.ops.reference import ACTIVATIONS, slopes
from srulight.ops.sru import sru

__all__ = ["ACTIVATIONS", "slopes", "sru", "sru_layer"]
