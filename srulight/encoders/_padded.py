"""Running PyTorch's recurrent layers on padded batches."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from srulight.layers.masking import zero_padding


def encode_padded(rnn: nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Encodes a padded batch.

    Args:
        rnn: Layers, batch first.
        x: Steps, (B, T, F).
        lengths: Real steps in each sequence, (B,) int64; None means all T.

    Returns:
        Encoded steps, (B, T, H), zeros past each length.
    """
    steps = x.size(1)
    if steps == 0:
        x = F.pad(x, (0, 0, 0, 1))  # PyTorch's layers want one
    if lengths is None or len(x) == 0:
        y = rnn(x)[0]
    elif not rnn.bidirectional:
        # Padding lies in the future, which a causal layer cannot see: no need to pack.
        y = zero_padding(rnn(x)[0], lengths)
    else:
        # cuDNN wants the lengths on the host, and PyTorch a step of each sequence.
        real = lengths.cpu().clamp(min=1)
        packed = pack_padded_sequence(x, real, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.size(1))
        y = zero_padding(y, lengths)
    return y[:, :steps]


def nothing(
    rnn: nn.LSTM | nn.GRU, x: Tensor, state: Tensor | None, width: int
) -> tuple[Tensor, Tensor]:
    """Encodes no steps.

    Args:
        rnn: Layers in one direction.
        x: (B, 0, F).
        state: What came before, (L, B, S); None at the start.
        width: Its size, S.

    Returns:
        Outputs, (B, 0, H), and the state as it was, zeros at the start.
    """
    if state is None:
        state = x.new_zeros(rnn.num_layers, len(x), width)
    return x.new_zeros(len(x), 0, rnn.hidden_size), state
