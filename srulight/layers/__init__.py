"""Layers and functions that several tasks share."""

from srulight.layers.dropout import Dropout

__all__ = [
    "Dropout",
]
