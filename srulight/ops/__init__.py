"""The recurrence: reference, compiled kernels, public operator."""

from srulight.ops.layer import sru_layer
from srulight.ops.reference import ACTIVATIONS
from srulight.ops.sru import sru

__all__ = ["ACTIVATIONS", "sru", "sru_layer"]
