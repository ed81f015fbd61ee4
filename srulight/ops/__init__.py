"""The SRU recurrence: the reference, the compiled kernels and the public operator."""

from srulight.ops.layer import sru_layer
from srulight.ops.reference import ACTIVATIONS, state_jacobian
from srulight.ops.sparse import SparseProducts, SparseSettings, sparse_linear
from srulight.ops.sru import sru

__all__ = [
    "ACTIVATIONS",
    "SparseProducts",
    "SparseSettings",
    "sparse_linear",
    "sru",
    "sru_layer",
    "state_jacobian",
]
