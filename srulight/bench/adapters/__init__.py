"""Contenders from other packages, each of which is measured if it is installed."""

from srulight.bench.adapters.min_gru import MIN_GRU
from srulight.bench.adapters.mlstm import MLSTM
from srulight.bench.adapters.onnx_runtime import OnnxLSTM
from srulight.bench.adapters.openvino import OpenVinoLSTM
from srulight.bench.adapters.published import PUBLISHED
from srulight.bench.contenders import Contender

OTHERS: tuple[Contender, ...] = (
    PUBLISHED,
    MIN_GRU,
    MLSTM,
    OnnxLSTM("ONNX-LSTM", "LSTM in ONNX Runtime", int8=False),
    OnnxLSTM("ONNX-LSTM-int8", "LSTM in ONNX Runtime with 8-bit integers", int8=True),
    OpenVinoLSTM("OpenVINO-LSTM", "LSTM in OpenVINO", int8=False, needs=("openvino",)),
    OpenVinoLSTM(
        "OpenVINO-LSTM-int8", "LSTM in OpenVINO with 8-bit integers", int8=True,
        needs=("openvino", "nncf"),
    ),
)  # fmt: skip
"""In the order of the tables."""
