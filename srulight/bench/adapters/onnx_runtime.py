"""An LSTM in ONNX Runtime."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from srulight.bench.adapters.runtimes import Arrays, check_case, checked, lstm_and_inputs
from srulight.bench.cases import Case
from srulight.bench.contenders import Contender
from srulight.bench.timing import Run

OPSET, IR = 17, 9
"""Versions of the operators and of the file format, which every ONNX Runtime since 1.14 reads."""


@dataclass(frozen=True)
class OnnxLSTM(Contender):
    """An LSTM that ONNX Runtime runs on a CPU, in float32 or with weights of 8 bits.

    Attributes:
        int8: Whether ``quantize_dynamic`` converts the weights to 7 bits (the 8th would overflow on
            processors without VNNI), so that the products are of integers.
    """

    name: str
    about: str
    int8: bool
    needs: tuple[str, ...] = ("onnxruntime", "onnx")
    floor: tuple[str, ...] = ()
    ours: bool = False

    def prepare(self, case: Case) -> Run:
        check_case(case, ("float32",))
        import onnxruntime

        lstm, arrays = lstm_and_inputs(case)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        # Threads that wait actively would slow down the next contender.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = _quantized(_model(lstm)) if self.int8 else _model(lstm)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

        def run(arrays: Arrays) -> np.ndarray:
            found: np.ndarray = session.run(None, dict(zip("xhc", arrays, strict=True)))[0]
            return found

        return checked(run, lstm, arrays, "int8" if self.int8 else "float32")


def _model(lstm: nn.LSTM) -> Any:  # noqa: ANN401
    """Writes an LSTM as an ONNX model that maps x, h and c to the outputs and the last state."""
    from onnx import TensorProto, helper, numpy_helper

    parts = [
        [_reordered(getattr(lstm, f"{name}_{side}_l0")) for side in ("ih", "hh")]
        for name in ("weight", "bias")
    ]
    (w, r), biases = parts
    arrays = {"w": w, "r": r, "b": np.concatenate(biases, 1), "one": np.array([1])}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["steps", "w", "r", "b", "", "h", "c"], ["all", "h_out", "c_out"],
            hidden_size=lstm.hidden_size,
        ),
        helper.make_node("Squeeze", ["all", "one"], ["squeezed"]),
        helper.make_node("Transpose", ["squeezed"], ["y"], perm=[1, 0, 2]),
    ]  # fmt: skip

    def values(names: list[str], first: str) -> list[Any]:
        shapes: dict[str, list[str | int | None]] = {
            name: [first, "T", "F"] if name in "xy" else [1, "B", "F"] for name in names
        }
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    graph = helper.make_graph(
        nodes, "lstm", values(["x", "h", "c"], "B"), values(["y", "h_out", "c_out"], "B"),
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _reordered(weight: Tensor) -> np.ndarray:
    """Orders gates as ONNX does, input, output, forget and cell, and adds a direction."""
    i, f, g, o = weight.detach().numpy().reshape(4, -1, *weight.shape[1:])
    return np.concatenate([i, o, f, g])[None]


def _quantized(model: Any) -> Any:  # noqa: ANN401
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a step that an LSTM does not need
        try:
            quantize_dynamic(
                model, path, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"],
                reduce_range=True,
            )  # fmt: skip
        finally:
            logging.root.setLevel(level)
        return onnx.load(path)
