"""The SRU recurrence: the reference, the compiled kernels and the public operator."""

from srulight.ops.layer import sru_layer
from srulight.ops.reference import ACTIVATIONS, state_jacobian
from srulight.ops.sparse import SparseProducts, SparseSettings, sparse_linear
from srulight.ops.sru import sru
from srulight.ops.stack import sru_stack

__all__ = [
    "ACTIVATIONS",
    "SparseProducts",
    "SparseSettings",
    "sparse_linear",
    "sru",
    "sru_layer",
    "sru_stack",
    "state_jacobian",
]
