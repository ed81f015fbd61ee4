"""Converts modules of the published ``sru`` package to those of srulight."""

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from srulight.encoders import SRU, Recurrent, SRUpp
from srulight.encoders.base import check_steps

if TYPE_CHECKING:
    import sru


_Encoder = TypeVar("_Encoder", SRU, SRUpp)


class Projected(Recurrent):
    """An SRU with a linear projection of its input, an option of the published package.

    Args:
        projection: Linear layer without bias, from the input's features to those of ``encoder``.
        encoder: SRU or SRU++ that encodes the projected input.
    """

    def __init__(self, projection: nn.Linear, encoder: SRU | SRUpp) -> None:
        super().__init__()
        self.input_size = projection.in_features
        self.output_size = encoder.output_size
        self.bidirectional = encoder.bidirectional
        self.projection = projection
        self.encoder = encoder

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        check_steps(self, x, lengths)
        return self.encoder(self.projection(x), lengths)

    def forward_with_state(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_steps(self, x)
        return self.encoder.forward_with_state(self.projection(x), state)


def from_sru(module: "sru.SRU") -> SRU | Projected:
    """Converts an SRU of the published package, version 2.6.

    Outputs and gradients stay the same, but the interface differs:

    - The batch is the first dimension.
    - ``lengths`` replaces ``mask_pad``; padding is on the right.
    - ``forward_with_state`` takes and returns the state, of shape (L, B, D). It equals ``c0`` and
      ``c`` of the package with ``nn_rnn_compatible_return=False``.

    Args:
        module: An ``sru.SRU``, trained or not.

    Returns:
        An SRU with copies of the weights, on the same device and in the same dtype and mode. If
        ``module`` projects its input (``proj_input_to_hidden_first``), a ``Projected`` SRU.

    Raises:
        ValueError: If ``module`` has a ``custom_m``, which replaces the matrix product by the
            caller's code.
    """
    cells = list(module.rnn_lst)
    first = cells[0]
    if any(cell.custom_m is not None for cell in cells):
        raise ValueError(
            "module must not have a custom_m, whose code replaces the matrix product and cannot be "
            "converted"
        )
    norm = "none"
    if module.use_layer_norm:
        norm = "post" if first.normalize_after else "pre"
    encoder = SRU(
        first.input_size,
        module.hidden_size,
        module.num_layers,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
        input_dropout=module.rnn_dropout,
        projection_size=module.projection_size,
        activation=first.activation.replace("none", "identity"),
        peephole=not first.v1,
        skip=module.has_skip_term,
        highway_bias=first.highway_bias,
        rescale=first.rescale,
        layer_norm=norm,  # type: ignore[arg-type]
    )
    encoder.to(first.weight)
    for layer, cell in zip(encoder.layers, cells, strict=True):
        if cell.rescale:  # use the module's own factor, which is rounded
            layer.scale = cell.scale_x.item()
        # Columns of the package are (direction, unit, gate); rows here are (gate, direction, unit).
        weight = cell.weight.detach().unflatten(1, (-1, cell.num_matrices))
        weights = {
            "weight": weight.permute(2, 1, 0).flatten(0, 1),
            "bias": cell.bias.detach().reshape(2, -1),
        }
        if not cell.v1:
            weights["peephole"] = cell.weight_c.detach().reshape(2, -1)
        if cell.weight_proj is not None:
            weights["projection"] = cell.weight_proj.detach().T
        if cell.layer_norm is not None:
            weights |= {f"norm.{k}": w for k, w in cell.layer_norm.state_dict().items()}
        layer.load_state_dict(weights)
    return _behind_projection(encoder.train(module.training), module.input_to_hidden)


def from_srupp(module: Any, memory_size: int) -> SRUpp | Projected:  # noqa: ANN401
    """Converts an SRU++ of the published package, version 3.0.0.dev6.

    Outputs and gradients are those of the module with a mask by which each step attends to itself
    and the ``memory_size`` steps before it ("same_length" in the package). The interface differs:

    - The batch is the first dimension.
    - ``lengths`` replaces ``mask_pad``; padding is on the right.
    - A single state contains ``c`` and the memory.

    Args:
        module: An ``sru.SRUpp``, trained or not.
        memory_size: Number of preceding steps that a step attends to. The published module receives
            the memory with each call.

    Returns:
        An SRU++ with copies of the weights, on the same device and in the same dtype and mode. If
        ``module`` projects its input (``proj_input_to_hidden_first``), a ``Projected`` SRU++.

    Raises:
        ValueError: If ``module`` normalizes whole layers (``layer_norm``), or its attention is not
            in every k-th layer (``attention_last_n_layers``).
    """
    cells = list(module.rnn_lst)
    first, maps = cells[0], [cell.transform_module for cell in cells]
    if module.use_layer_norm:
        raise ValueError("module must not use layer_norm, which srulight does not support")
    attends = [hasattr(m, "linear3") for m in maps]
    every = _attention_every(attends)
    encoder = SRUpp(
        first.input_size,
        module.hidden_size,
        module.num_layers,
        projection_size=module.proj_size,
        num_heads=module.num_heads,
        memory_size=memory_size,
        attention_every=every,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
        attention_dropout=next((m.attn_dropout for m in maps if hasattr(m, "linear3")), 0.0),
        highway_bias=first.highway_bias,
        rescale=first.rescale,
        layer_norm=maps[0].layer_norm is not None,
    )
    encoder.to(first.weight_c)
    for layer, cell, m, attention in zip(encoder.layers, cells, maps, attends, strict=True):
        if cell.rescale:
            layer.scale = cell.scale_x.item()
        # Rows of the package are (direction, unit, gate); rows here are (gate, direction, unit).
        rows = (m.linear3 if attention else m.linear2).weight.detach()
        weights = {
            "projection": m.linear1.weight.detach(),
            "weight": rows.unflatten(0, (-1, cell.num_matrices)).transpose(0, 1).flatten(0, 1),
            "bias": cell.bias.detach().reshape(2, -1),
            "peephole": cell.weight_c.detach().reshape(2, -1),
        }
        if m.layer_norm is not None:
            weights |= {f"norm.{k}": w for k, w in m.layer_norm.state_dict().items()}
        if attention:
            weights["attention.weight"] = m.linear2.weight.detach()
            weights["attention.alpha"] = m.alpha.detach()
        layer.load_state_dict(weights)
    return _behind_projection(encoder.train(module.training), module.input_to_hidden)


def _attention_every(attends: list[bool]) -> int:
    every = attends.index(True) + 1 if any(attends) else len(attends) + 1
    if attends != [(i + 1) % every == 0 for i in range(len(attends))]:
        layers = [i for i, attention in enumerate(attends) if attention]
        raise ValueError(f"module must have attention in every k-th layer, got layers {layers}")
    return every


def _behind_projection(encoder: _Encoder, source: nn.Linear | None) -> _Encoder | Projected:
    if source is None:
        return encoder
    with torch.device("meta"):
        projection = nn.Linear(source.in_features, source.out_features, bias=False)
    projection.load_state_dict({"weight": source.weight.detach().clone()}, assign=True)
    return Projected(projection, encoder)
