"""The encoders. A configuration names each class imported here without its module path."""

from srulight.encoders.base import Encoder, EncoderFactory, Recurrent, RecurrentFactory
from srulight.encoders.cnn import CNN
from srulight.encoders.conv_lstm import ConvLSTM
from srulight.encoders.conv_sru import ConvSRU
from srulight.encoders.gru import GRU
from srulight.encoders.lstm import LSTM
from srulight.encoders.map_base import MapEncoder, MapEncoderFactory
from srulight.encoders.qrnn import QRNN
from srulight.encoders.residual_cnn import ResidualCNN
from srulight.encoders.sru import SRU
from srulight.encoders.srupp import SRUpp

__all__ = [
    "CNN",
    "GRU",
    "LSTM",
    "QRNN",
    "SRU",
    "ConvLSTM",
    "ConvSRU",
    "Encoder",
    "EncoderFactory",
    "MapEncoder",
    "MapEncoderFactory",
    "Recurrent",
    "RecurrentFactory",
    "ResidualCNN",
    "SRUpp",
]
