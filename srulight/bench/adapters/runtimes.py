"""What the LSTMs of inference runtimes share: weights, inputs, and a check of their outputs."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from srulight.bench.cases import Case
from srulight.bench.contenders import SkippedError
from srulight.bench.timing import Run

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Steps, (B, T, F), and the state and cell before the first one, (1, B, F), all float32."""

TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2, "int8": 5e-2}
"""Largest difference of an output, which is between -1 and 1, from that of ``nn.LSTM``."""


def check_case(case: Case, dtypes: tuple[str, ...]) -> None:
    """Raises SkippedError for what a runtime cannot do.

    Args:
        case: What is to run.
        dtypes: Dtypes that the runtime supports.
    """
    if case.passing == "training":
        raise SkippedError("inference only")
    if case.device_type != "cpu":
        raise SkippedError(f"is not measured on {case.device_type}")
    if case.compiled:
        raise SkippedError("is not compiled")
    if case.dtype not in dtypes:
        raise SkippedError(f"supports {' and '.join(dtypes)} only")


def lstm_and_inputs(case: Case) -> tuple[nn.LSTM, Arrays]:
    """Creates an LSTM and an input with a state of zeros."""
    lstm = nn.LSTM(case.width, case.width, batch_first=True).eval()
    x = torch.randn(case.batch, case.length, case.width)
    zeros = torch.zeros(2, 1, case.batch, case.width)
    return lstm, (x.numpy(), zeros[0].numpy(), zeros[1].numpy())


def checked(
    run: Callable[[Arrays], np.ndarray], lstm: nn.LSTM, arrays: Arrays, precision: str
) -> Run:
    """Creates the run of a runtime, once its outputs are known to be those of the LSTM.

    Args:
        run: Computes outputs, (B, T, F).
        lstm: The LSTM that the runtime imitates.
        arrays: The input and the state.
        precision: Key of ``TOLERANCES``.

    Raises:
        SkippedError: If an output differs by more than the tolerance.
    """
    x, h, c = map(torch.from_numpy, arrays)
    with torch.no_grad():
        expected = lstm(x, (h, c))[0].numpy()
    largest = float(np.abs(run(arrays) - expected).max())
    if not largest <= TOLERANCES[precision]:
        raise SkippedError(f"computes outputs that differ by {largest:.2g} from those of nn.LSTM")
    return lambda: run(arrays)
