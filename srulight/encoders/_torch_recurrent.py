"""The base class of encoders that wrap PyTorch's recurrent layers."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from srulight.encoders import _sparse_recurrent
from srulight.encoders._exported_recurrent import torch_recurrent
from srulight.encoders.base import Recurrent, check_steps, refuse_bidirectional
from srulight.layers.masking import zero_padding
from srulight.ops import SparseProducts, SparseSettings
from srulight.ops.product import SLOW_TYPES
from srulight.ops.sru import is_exporting


class TorchRecurrent(Recurrent):
    """Wraps one of PyTorch's recurrent modules as an encoder.

    Attributes:
        rnn: The PyTorch module, batch first.
        sparse: Sparse backward products of each layer; none if gradients are dense.
        states: Number of vectors of ``hidden_size`` features in the state of a layer.
    """

    rnn: nn.LSTM | nn.GRU
    states: int

    def build(
        self,
        kind: type[nn.LSTM | nn.GRU],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        sparse_backward: SparseSettings,
    ) -> None:
        """Creates the layers. All arguments but the PyTorch class ``kind`` are the encoder's."""
        self.input_size = input_size
        self.output_size = hidden_size * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.rnn = kind(
            input_size,
            hidden_size,
            num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
            batch_first=True,
        )
        products = (SparseProducts.of(sparse_backward) for _ in range(num_layers))
        self.sparse = nn.ModuleList(one for one in products if one is not None)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        if _lacks_kernels(x):
            with torch.autocast("cpu", enabled=False):
                return self(x.to(self._dtype), lengths)
        if is_exporting():
            real = lengths.clamp(min=1) if self.bidirectional and lengths is not None else None
            y, _ = self._exported(x, None, real)
            return y if lengths is None else zero_padding(y, lengths)
        steps = x.size(1)
        if steps == 0:
            x = F.pad(x, (0, 0, 0, 1))  # PyTorch's layers refuse an empty sequence
        elif self._is_sparse(x):
            reverses = self.bidirectional and lengths is not None
            y, _, _ = self._run_sparse(x, None, None, lengths if reverses else None)
            return y if lengths is None else zero_padding(y, lengths)
        if lengths is None or len(x) == 0:
            y = self.rnn(x)[0]
        elif not self.bidirectional:
            # A causal layer never sees the padding, which follows the real steps: no need to pack.
            y = zero_padding(self.rnn(x)[0], lengths)
        else:
            # cuDNN needs the lengths on the host, and PyTorch at least one step per sequence.
            real = lengths.cpu().clamp(min=1)
            packed = pack_padded_sequence(x, real, batch_first=True, enforce_sorted=False)
            y, _ = pad_packed_sequence(
                self.rnn(packed)[0], batch_first=True, total_length=x.size(1)
            )
            y = zero_padding(y, lengths)
        return y[:, :steps]

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        refuse_bidirectional(self)
        check_steps(self, x)
        if _lacks_kernels(x):
            with torch.autocast("cpu", enabled=False):
                before = None if state is None else state.to(self._dtype)
                return self.forward_with_state(x.to(self._dtype), before)
        if is_exporting():
            return self._exported(x, state, None)
        if x.size(1) > 0 and self._is_sparse(x, state):
            h0 = c0 = None
            if state is not None:
                h0, c0 = state.chunk(2, dim=-1) if self.states == 2 else (state, None)
            y, h, c = self._run_sparse(x, h0, c0, None)
            return y, h if c is None else torch.cat((h, c), dim=-1)
        if x.size(1) > 0:
            return self._continue(x, state)
        if state is None:
            state = x.new_zeros(self.rnn.num_layers, len(x), self.states * self.rnn.hidden_size)
        return x.new_zeros(len(x), 0, self.rnn.hidden_size), state

    def _exported(
        self, x: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Runs the layers as one operator, for ``torch.export``."""
        layers, size = self.rnn.num_layers, self.rnn.hidden_size
        if state is None:
            rows = layers * (2 if self.bidirectional else 1)
            state = x.new_zeros(rows, x.size(0), self.states * size)
        h0, c0 = state.chunk(2, dim=-1) if self.states == 2 else (state, None)
        weights = [one for group in self.rnn.all_weights for one in group]
        y, h, c = torch_recurrent(x, lengths, h0, c0, weights, layers, self.bidirectional)
        return y, h if c0 is None else torch.cat((h, c), dim=-1)

    def _is_sparse(self, x: Tensor, state: Tensor | None = None) -> bool:
        if not self.sparse:
            return False
        weights = [one for group in self.rnn.all_weights for one in group]
        return all(one.applies(x, state, *weights) for one in self.sparse)  # type: ignore[operator]

    def _run_sparse(
        self, x: Tensor, h0: Tensor | None, c0: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return _sparse_recurrent.run(self.rnn, x, h0, c0, lengths, list(self.sparse))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.rnn.parameters()).dtype

    @abstractmethod
    def _continue(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Does what ``forward_with_state`` does, for at least one step."""


def _lacks_kernels(x: Tensor) -> bool:
    """Returns whether autocast asks for a type that oneDNN cannot run an LSTM in on this CPU.

    PyTorch then raises an error instead of using its own kernels. Such a processor has no
    instructions for the type either, so the type of the weights is at least as fast.
    """
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    return torch.get_autocast_dtype("cpu") in SLOW_TYPES
