"""Quantization: tasks whose matrices are stored, and multiplied, as 8-bit integers."""

from srulight.quantization.calibration import calibrate
from srulight.quantization.matrix import QuantizedEmbedding, QuantizedLinear, QuantizedMatrix
from srulight.quantization.recurrent import QuantizedRNN
from srulight.quantization.replace import quantize
from srulight.quantization.stored import Settings, restore_structure, with_floats

__all__ = [
    "QuantizedEmbedding",
    "QuantizedLinear",
    "QuantizedMatrix",
    "QuantizedRNN",
    "Settings",
    "calibrate",
    "quantize",
    "restore_structure",
    "with_floats",
]
