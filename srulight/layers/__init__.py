"""What several tasks share."""

from srulight.layers.dropout import Dropout
from srulight.layers.softmax import AdaptiveSoftmax, Softmax, TokenLayers

__all__ = ["AdaptiveSoftmax", "Dropout", "Softmax", "TokenLayers"]
