"""Train simple recurrent units (SRU) and other sequence encoders with PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srulight.checkpoint import load as load
    from srulight.encoders import CNN as CNN
    from srulight.encoders import GRU as GRU
    from srulight.encoders import LSTM as LSTM
    from srulight.encoders import QRNN as QRNN
    from srulight.encoders import SRU as SRU
    from srulight.encoders import ConvLSTM as ConvLSTM
    from srulight.encoders import ConvSRU as ConvSRU
    from srulight.encoders import ResidualCNN as ResidualCNN
    from srulight.encoders import SRUpp as SRUpp

__version__ = "0.1.0"

_HOME = {
    "load": "srulight.checkpoint",
    **dict.fromkeys(
        ("CNN", "ConvLSTM", "ConvSRU", "GRU", "LSTM", "QRNN", "ResidualCNN", "SRU", "SRUpp"),
        "srulight.encoders",
    ),
}


def __getattr__(name: str) -> object:
    # Imported on first use, so that ``train.py --help`` does not wait for torch.
    if name not in _HOME:
        raise AttributeError(f"module 'srulight' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*(name for name in globals() if name.startswith("__")), *_HOME])
