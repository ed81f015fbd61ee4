"""What several tasks share."""

from srulight.layers.dropout import Dropout
from srulight.layers.multi_head_attention import CrossAttention, SelfAttention
from srulight.layers.positions import sinusoidal_positions
from srulight.layers.softmax import AdaptiveSoftmax, Softmax, TokenLayers
from srulight.layers.spec_augment import SpecAugment
from srulight.layers.subsampling import Convolutions, Stacking, Subsampling, SubsamplingFactory

__all__ = [
    "AdaptiveSoftmax",
    "Convolutions",
    "CrossAttention",
    "Dropout",
    "SelfAttention",
    "Softmax",
    "SpecAugment",
    "Stacking",
    "Subsampling",
    "SubsamplingFactory",
    "TokenLayers",
    "sinusoidal_positions",
]
