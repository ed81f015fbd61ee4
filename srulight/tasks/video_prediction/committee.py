"""The weak networks of a boosted model, and the order in which they are trained."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from srulight.encoders.base import Encoder, Recurrent
from srulight.video.frame_encoders import FrameEncoder, frame_maps

_PIECE = 256  # Frames that are encoded together where no gradients are needed.


class FrameNetwork(nn.Module):
    """A weak CNN: the outputs of a frame depend on this frame alone.

    Args:
        frame_encoder: Encodes frames; its features are averaged over the frame.
        output_size: Number of outputs per frame, K.
    """

    def __init__(self, frame_encoder: FrameEncoder, output_size: int) -> None:
        super().__init__()
        self.frame_encoder = frame_encoder
        self.head = nn.Linear(frame_encoder.output_size, output_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Computes the outputs, (N, K), of standardized frames, (N, C, H, W)."""
        if torch.is_grad_enabled() and self.head.bias.requires_grad:
            return self._outputs(frames)
        with torch.no_grad():
            return torch.cat([self._outputs(piece) for piece in frames.split(_PIECE)])

    def _outputs(self, frames: Tensor) -> Tensor:
        return self.head(frame_maps(self.frame_encoder, frames).mean((2, 3)))


class SequenceNetwork(nn.Module):
    """A weak RNN, which reads the summed outputs of the CNNs.

    Args:
        encoder: Encodes the outputs of all frames.
        output_size: Number of outputs per frame, K.
    """

    def __init__(self, encoder: Encoder, output_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.output_size, output_size)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Computes the outputs, (B, T, K), from those of the CNNs, (B, T, K)."""
        return self.head(self.encoder(x, lengths))

    def forward_with_state(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Does the same for the next frames, and returns the state after them as well."""
        assert isinstance(self.encoder, Recurrent)
        encoded, state = self.encoder.forward_with_state(x, state)
        return self.head(encoded), state


class Phase(NamedTuple):
    """What is trained in an epoch.

    Attributes:
        kind: Kind of the network that is trained.
        number: Its index among the networks of its kind.
        is_search: Whether its weight in the sum is searched, while no network changes.
        is_last: Whether the next epoch trains another network.
    """

    kind: Literal["cnn", "rnn"]
    number: int
    is_search: bool
    is_last: bool


def phases(cnns: int, rnns: int, epochs: int) -> list[Phase]:
    """Returns what is trained in each epoch: CNNs and RNNs in turn.

    The first CNN and the first RNN have the weight 1. For each other one, the weight is searched in
    its last epoch.

    Args:
        cnns: Number of CNNs.
        rnns: Number of RNNs.
        epochs: Number of epochs for each, at least 2.
    """
    found = []
    for i in range(max(cnns, rnns)):
        kinds: list[tuple[Literal["cnn", "rnn"], int]] = [("cnn", cnns), ("rnn", rnns)]
        for kind, count in kinds:
            if i < count:
                for epoch in range(epochs):
                    is_last = epoch == epochs - 1
                    found.append(Phase(kind, i, is_last and i > 0, is_last))
    return found


def weighted_sum(weights: Tensor, networks: nn.ModuleList, run: Callable[[Any], Tensor]) -> Tensor:
    """Sums the weighted outputs of networks, and runs only those whose weight is not 0.

    Args:
        weights: Weight of each network, at least one of them not 0.
        networks: The networks.
        run: Computes the outputs of a network.
    """
    pairs = zip(weights.tolist(), networks, strict=True)
    found = [weight * run(network) for weight, network in pairs if weight]
    return torch.stack(found).sum(0) if len(found) > 1 else found[0]
