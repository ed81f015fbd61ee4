"""The recurrence: reference, compiled kernels, public operator."""

from srulight.ops.reference import ACTIVATIONS
from srulight.ops.sru import sru, sru_layer

__all__ = ["ACTIVATIONS", "sru", "sru_layer"]
