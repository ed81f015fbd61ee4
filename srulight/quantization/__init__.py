"""Quantization: tasks whose matrices are stored as 8-bit integers or as 4-bit indices."""

from srulight.quantization.calibration import calibrate
from srulight.quantization.codebook_matrix import CodebookMatrix
from srulight.quantization.int8_matrix import Int8Matrix
from srulight.quantization.matrix import QuantizedEmbedding, QuantizedLinear, QuantizedMatrix
from srulight.quantization.recurrent import QuantizedRNN
from srulight.quantization.replace import quantize
from srulight.quantization.stored import Settings, restore_structure, with_floats

__all__ = [
    "CodebookMatrix",
    "Int8Matrix",
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
