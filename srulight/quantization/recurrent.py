"""A quantized LSTM or GRU."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from srulight.ops.sru import is_exporting
from srulight.quantization.integer import levels
from srulight.quantization.matrix import QuantizedMatrix

_ENGINES = ("fbgemm", "x86")


class QuantizedRNN(nn.Module):
    """A quantized ``torch.nn.LSTM`` or ``torch.nn.GRU``, with the same inputs and outputs.

    On a CPU it runs on torch's operators ``quantized_lstm`` and ``quantized_gru``. They round the
    input of all steps at once, and the output of each step before the next one, each time to 8 bits
    and the range of the whole batch. Gates and states are float32. On other devices, in exported
    programs and while its matrices are being fine-tuned, it runs with the floats that the integers
    stand for.

    Args:
        rnn: The module to replace, batch first and with biases.
        weights: Its quantized matrices by name, such as ``weight_ih_l0``.
    """

    def __init__(self, rnn: nn.LSTM | nn.GRU, weights: Mapping[str, QuantizedMatrix]) -> None:
        super().__init__()
        self.is_lstm = isinstance(rnn, nn.LSTM)
        self.input_size, self.hidden_size = rnn.input_size, rnn.hidden_size
        self.num_layers, self.bidirectional = rnn.num_layers, rnn.bidirectional
        self._names = [names_of(rnn, i) for i in range(len(rnn.all_weights))]
        for matrix_names, bias_names in self._names:
            for name in matrix_names:
                self.add_module(name, weights[name])
            for name in bias_names:
                self.register_parameter(name, rnn.get_parameter(name))
        self._cells: list[Any] = []

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,  # noqa: ANN401
    ) -> tuple[Any, Any]:
        """Does what the replaced module does.

        Args:
            x: Steps, (B, T, F), or a packed sequence, which must have no ``state``.
            state: The state h, (L, B, H), of a GRU, or the pair of h and c of an LSTM; zeros if
                None.

        Returns:
            Outputs, (B, T, H), or a packed sequence, and the state after the last step.
        """
        sizes = None
        if isinstance(x, PackedSequence):
            if state is not None:
                raise ValueError("state must be None for a packed sequence, got a state")
            data, sizes = x.data, x.batch_sizes
            batch = int(sizes[0])
        else:
            data, batch = x, len(x)
        # The operators know no other type, and do not support autocast.
        with torch.autocast(data.device.type, enabled=False):
            y, last = self._run(data.float(), sizes, self._state(state, data, batch))
        y = y.to(data.dtype)
        if isinstance(x, PackedSequence):
            return PackedSequence(y, *x[1:]), last
        return y, last

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The floats that the replaced module would have as ``all_weights``."""
        return [
            [
                *(self.get_submodule(name).dense() for name in matrices),  # type: ignore[operator]
                *(self.get_parameter(name) for name in biases),
            ]
            for matrices, biases in self._names
        ]

    def extra_repr(self) -> str:
        kind = "LSTM" if self.is_lstm else "GRU"
        return f"{kind}, {self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"

    def _state(self, state: Any, like: Tensor, batch: int) -> Any:  # noqa: ANN401
        if state is None:
            layers = len(self._names)
            zeros = like.new_zeros(layers, batch, self.hidden_size, dtype=torch.float32)
            return (zeros, zeros) if self.is_lstm else zeros
        return tuple(s.float() for s in state) if self.is_lstm else state.float()

    def _run(self, x: Tensor, sizes: Tensor | None, state: Any) -> tuple[Tensor, Any]:  # noqa: ANN401
        inputs = (x, state) if sizes is None else (x, sizes, state)
        batch_first = (True,) if sizes is None else ()
        options = (True, self.num_layers, 0.0, False, self.bidirectional, *batch_first)
        if self._with_integers(x):
            params = self._cells = self._cells or self._packed_cells()
            if self.is_lstm:
                y, h, c = torch.quantized_lstm(
                    *inputs, params, *options, dtype=torch.qint8, use_dynamic=True
                )
                return y, (h, c)
            y, h = torch.quantized_gru(*inputs, params, *options)
            return y, h
        weights = [weight for group in self.all_weights for weight in group]
        if self.is_lstm:
            y, h, c = torch.lstm(*inputs, weights, *options)  # type: ignore[call-overload]
            return y, (h, c)
        y, h = torch.gru(*inputs, weights, *options)  # type: ignore[call-overload]
        return y, h

    def _with_integers(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and not is_exporting()
            and torch.backends.quantized.engine in _ENGINES
            and all(m.trained is None for m in self.children() if isinstance(m, QuantizedMatrix))
            and levels() > 0
        )

    def _packed_cells(self) -> list[Any]:
        """Packs the matrices of each layer and direction for torch's operators."""
        cells = []
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            # The operators take no other type of tensors than the one that torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message=".*deprecated")
            for matrices, biases in self._names:
                packs = []
                for name, bias in zip(matrices, biases, strict=True):
                    matrix: Any = self.get_submodule(name)
                    values, scale = matrix.integers, matrix.scale.double()
                    # A row of zeros has the scale 0, by which the operators would divide.
                    scale = torch.where(scale > 0, scale, 1)
                    zeros = torch.zeros(len(scale), dtype=torch.int64)
                    weight = torch._make_per_channel_quantized_tensor(values, scale, zeros, 0)
                    packed = torch.ops.quantized.linear_prepack(
                        weight, self.get_parameter(bias).float()
                    )
                    packs.append(packed)
                given = [self.get_parameter(bias).float() for bias in biases]
                cells.append(
                    torch.ops.quantized.make_quantized_cell_params_dynamic(
                        *packs, *given, levels() < 127
                    )
                )
        return cells

    def forget(self) -> None:
        """Drops what was computed from the matrices, because they change."""
        self._cells = []

    def _apply(self, *args: Any, **kwargs: Any) -> "QuantizedRNN":  # noqa: ANN401
        self.forget()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.forget()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cells": []}  # packed weights can be neither copied nor pickled


def names_of(rnn: nn.LSTM | nn.GRU, index: int) -> tuple[list[str], list[str]]:
    """Returns the names of the matrices and of the biases of a layer and direction.

    Args:
        rnn: The module.
        index: Index of the layer and the direction, as in ``rnn.all_weights``.
    """
    layer, reverse = divmod(index, 2 if rnn.bidirectional else 1)
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    return (
        [f"weight_ih{suffix}", f"weight_hh{suffix}"],
        [f"bias_ih{suffix}", f"bias_hh{suffix}"],
    )
