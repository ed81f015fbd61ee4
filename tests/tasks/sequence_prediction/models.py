"""Small models of sequences, and sequences for them."""

from functools import partial
from typing import Any

import numpy as np

from srulight import CNN, GRU, LSTM, QRNN, SRU, ResidualCNN, SRUpp
from srulight.tasks.sequence_prediction.task import SequencePrediction

TARGETS: dict[str, dict[str, Any]] = {
    "class": {"counts": [3, 2, 1]},
    "labels": {"counts": [3, 2, 1], "totals": [6, 6, 6]},
    "numbers": {"mean": [0.0, 100.0, 5.0], "std": [1.0, 10.0, 2.0]},
}
ONLINE: dict[str, Any] = {
    "SRU": partial(SRU, hidden_size=8),
    "LSTM": partial(LSTM, hidden_size=8),
    "GRU": partial(GRU, hidden_size=8),
    "QRNN": partial(QRNN, hidden_size=8, kernel_size=3),
    "SRUpp": partial(SRUpp, hidden_size=8, memory_size=4),
}
OFFLINE: dict[str, Any] = {
    "bidirectional SRU": partial(SRU, hidden_size=8, bidirectional=True),
    "bidirectional LSTM": partial(LSTM, hidden_size=8, bidirectional=True),
    "CNN": partial(CNN, channels=8, widths=(3,)),
    "ResidualCNN": partial(ResidualCNN, channels=8),
}


def metadata(
    kind: str = "class", per: str = "step", intervals: bool = True, words: bool = True
) -> dict[str, Any]:
    """Metadata of a table of temperatures and pressures, on machines of two colors."""
    return {
        "features": {
            "numbers": ["temperature", "pressure"],
            "mean": [20.0, 1000.0],
            "std": [5.0, 50.0],
            "masked": [1],
            "categories": {"color": ["green", "red"]} if words else {},
            "intervals": [2.0, 1.0] if intervals else None,
        },
        "target": {"kind": kind, "names": [*"abc"], "columns": ["state"], **TARGETS[kind]},
        "per": per,
        "horizons": [0],
        "sequence_column": "machine",
        "time_column": "time",
    }


def make(data: dict[str, Any] | None = None, **options: Any) -> SequencePrediction:  # noqa: ANN401
    """A model that has not been trained."""
    task = SequencePrediction(**{"embedding_size": 3, "encoder": ONLINE["SRU"], **options})
    task.metadata = data or metadata()
    task.build(task.metadata)
    return task.eval()


def given(steps: int, seed: int = 0) -> dict[str, Any]:
    """The columns of a sequence, with missing values and an unknown color."""
    rng = np.random.default_rng([seed, steps])
    values = rng.normal([20, 1000], [5, 50], (steps, 2))
    values[rng.random((steps, 2)) < 0.3] = np.nan
    return {
        "temperature": values[:, 0],
        "pressure": values[:, 1],
        "color": rng.choice(["red", "green", "blue", ""], steps).tolist(),
        "time": np.cumsum(rng.uniform(0.5, 4, steps)),
    }
