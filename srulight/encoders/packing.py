"""Running PyTorch's recurrent layers on padded batches."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from srulight.masking import zero_padding


def encode_padded(rnn: nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Encodes a padded batch.

    Args:
        rnn: Layers, batch first.
        x: Steps, (B, T, F).
        lengths: Real steps in each sequence, (B,) int64; None means all T.

    Returns:
        Encoded steps, (B, T, H), zeros past each length.
    """
    if lengths is None:
        return rnn(x)[0]
    if not rnn.bidirectional:
        # Padding lies in the future, which a causal layer cannot see: no need to pack.
        return zero_padding(rnn(x)[0], lengths)
    # cuDNN wants the lengths on the host.
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    y, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.size(1))
    return y
