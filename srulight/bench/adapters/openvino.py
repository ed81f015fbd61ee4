"""An LSTM in OpenVINO."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from srulight.bench.adapters.runtimes import Arrays, check_case, checked, lstm_and_inputs
from srulight.bench.cases import Case
from srulight.bench.contenders import Contender, SkippedError
from srulight.bench.timing import Run

SAMPLES = 8
"""Number of inputs from which NNCF derives the ranges of integers."""


@dataclass(frozen=True)
class OpenVinoLSTM(Contender):
    """An LSTM that OpenVINO runs on a CPU, in float32, in bfloat16, or in 8-bit integers.

    Attributes:
        int8: Whether NNCF quantizes the weights and the inputs of the products.
    """

    name: str
    about: str
    int8: bool
    needs: tuple[str, ...]
    floor: tuple[str, ...] = ()
    ours: bool = False

    def prepare(self, case: Case) -> Run:
        check_case(case, ("float32",) if self.int8 else ("float32", "bfloat16"))
        import openvino

        lstm, arrays = lstm_and_inputs(case)
        x, h, c = map(torch.from_numpy, arrays)
        core = openvino.Core()
        wanted = {"float32": "f32", "bfloat16": "bf16"}[case.dtype]
        capable = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if wanted == "bf16" and "BF16" not in capable:
            raise SkippedError("has no bfloat16 on this processor")
        if self.int8 and case.passing == "step":
            raise SkippedError("has no single step: NNCF quantizes a given state wrongly")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of checks of the input's shape
            model = openvino.convert_model(lstm, example_input=x if self.int8 else (x, (h, c)))
        if self.int8:
            model = _quantized(model, arrays[0].shape)
        settings = {
            "INFERENCE_PRECISION_HINT": wanted,
            "INFERENCE_NUM_THREADS": case.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(arrays: Arrays) -> np.ndarray:
            given = list(arrays[: len(model.inputs)])
            found: np.ndarray = request.infer(given, share_inputs=True, share_outputs=True)[0]
            return found

        return checked(run, lstm, arrays, "int8" if self.int8 else case.dtype)


def _quantized(model: Any, shape: tuple[int, ...]) -> Any:  # noqa: ANN401
    """Quantizes the weights and the inputs, (B, T, F), of the products of an LSTM."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    samples = nncf.Dataset([torch.randn(shape).numpy() for _ in range(SAMPLES)])
    # With the other preset, whose ranges are symmetric, the outputs are wrong.
    preset = nncf.QuantizationPreset.MIXED
    with contextlib.redirect_stdout(io.StringIO()):  # a progress bar
        return nncf.quantize(model, samples, preset=preset, subset_size=SAMPLES)
