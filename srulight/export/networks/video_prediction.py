"""Exports video prediction, and boosted video prediction."""

from typing import Any

import torch
from torch import Tensor, nn

from srulight.encoders import Recurrent
from srulight.export.networks.base import Shape, Tensors, initial_state
from srulight.export.networks.frames import FramesNetwork, encode_padded
from srulight.tasks.video_prediction.boosting import BoostedVideoPrediction
from srulight.tasks.video_prediction.committee import FrameNetwork, SequenceNetwork
from srulight.tasks.video_prediction.corpora import SyntheticTools
from srulight.tasks.video_prediction.task import VideoPrediction

_ANSWERS = {
    "class": 'print(target["names"][row.argmax()])',
    "labels": 'print(dict(zip(target["names"], 1 / (1 + np.exp(-row)))))',
    "numbers": 'print(row * target["std"] + target["mean"])',
}
_LINES = """target = metadata["target"]
for row in outputs.reshape(-1, outputs.shape[-1]):
    {}
"""
_ABOUT = "the outputs of the target"


def _corpus() -> SyntheticTools:
    return SyntheticTools(train_size=3, val_size=1, test_size=1, frames=20)


def _mean(maps: Tensor) -> Tensor:
    """Averages maps of features, (N, F, h, w), over each frame."""
    return maps.mean((2, 3))


class _Whole(nn.Module):
    def __init__(self, task: VideoPrediction) -> None:
        super().__init__()
        self.task = task

    def encode(self, frames: Tensor) -> Tensor:
        return _mean(self.task.frame_encoder(self.task.standardize(frames)))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        features = encode_padded(self.encode, frames, lengths)
        outputs: Tensor = self.task(features, lengths)
        return outputs


class _Step(nn.Module):
    def __init__(self, task: VideoPrediction) -> None:
        super().__init__()
        self.task = task

    def forward(self, frames: Tensor, state: Tensor) -> Tensors:
        features = _mean(self.task.frame_encoder(self.task.standardize(frames[:, 0])))
        assert isinstance(self.task.encoder, Recurrent)
        x, state = self.task.encoder.forward_with_state(features.unsqueeze(1), state)
        return self.task.head(x)[:, 0], state


class VideoNetwork(FramesNetwork[VideoPrediction]):
    """Targets of clips, or of their frames."""

    def __init__(self, task: VideoPrediction) -> None:
        super().__init__(task)
        self.per_frame = task.per_frame

    def whole(self) -> nn.Module:
        return _Whole(self.task)

    def step(self) -> nn.Module | None:
        takes_last = self.per_frame or self.task.pooling in ("auto", "last")
        return _Step(self.task) if self.task.is_online and takes_last else None

    def state_size(self) -> tuple[int, int]:
        assert isinstance(self.task.encoder, Recurrent)
        layers, _, width = initial_state(self.task.encoder).shape
        return layers, width

    def output(self) -> tuple[str, str, Shape]:
        return "outputs", _ABOUT, (self.task.head.out_features,)

    def corpus(self) -> SyntheticTools:
        return _corpus()

    def answer(self) -> str:
        return _LINES.format(_ANSWERS[self.task.target.kind])


class _Weighted(nn.Module):
    """Networks whose weight in a sum is not 0, and their weights."""

    def __init__(self, weights: Tensor, networks: nn.ModuleList) -> None:
        super().__init__()
        pairs = [(w, one) for w, one in zip(weights.tolist(), networks, strict=True) if w]
        self.weights = [weight for weight, _ in pairs]
        self.networks = nn.ModuleList(one for _, one in pairs)

    def sum(self, outputs: list[Tensor]) -> Tensor:
        """Sums the weighted outputs of the networks."""
        found = [weight * one for weight, one in zip(self.weights, outputs, strict=True)]
        return torch.stack(found).sum(0) if len(found) > 1 else found[0]


class _Boosted(nn.Module):
    """The networks of a boosted model that its answers depend on."""

    def __init__(self, task: BoostedVideoPrediction) -> None:
        super().__init__()
        self.standardize = task.standardize
        self.cnns = _Weighted(task.alpha, task.frame_networks)
        self.rnns = _Weighted(task.beta, task.sequence_networks)

    def frame_outputs(self, frames: Tensor) -> Tensor:
        """Computes the summed outputs of the CNNs, (N, K), of frames, (N, C, H, W) uint8."""
        x, found = self.standardize(frames), []
        for cnn in self.cnns.networks:
            assert isinstance(cnn, FrameNetwork)
            found.append(cnn.head(_mean(cnn.frame_encoder(x))))
        return self.cnns.sum(found)


class _BoostedWhole(_Boosted):
    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        x = encode_padded(self.frame_outputs, frames, lengths)
        outputs = [rnn(x, lengths) for rnn in self.rnns.networks]
        return self.rnns.sum(outputs) if outputs else x


class _BoostedStep(_Boosted):
    def forward(self, frames: Tensor, state: Tensor) -> Tensors:
        x = self.frame_outputs(frames[:, 0]).unsqueeze(1)
        outputs, states = [], []
        parts = state.chunk(len(self.rnns.networks), 0)
        for rnn, own in zip(self.rnns.networks, parts, strict=True):
            assert isinstance(rnn, SequenceNetwork)
            y, after = rnn.forward_with_state(x, own)
            outputs.append(y)
            states.append(after)
        return self.rnns.sum(outputs)[:, 0], torch.cat(states)


class BoostedNetwork(FramesNetwork[BoostedVideoPrediction]):
    """Labels of frames; the state joins those of all RNNs."""

    def whole(self) -> nn.Module:
        return _BoostedWhole(self.task)

    def step(self) -> nn.Module | None:
        has_state = self.task.is_online and bool(self.task.beta.any())
        return _BoostedStep(self.task) if has_state else None

    def state_size(self) -> tuple[int, int]:
        first: Any = self.task.sequence_networks[0]
        layers, _, width = initial_state(first.encoder).shape
        return layers * int((self.task.beta != 0).sum()), width

    def output(self) -> tuple[str, str, Shape]:
        return "outputs", _ABOUT, (self.task.target.output_size,)

    def corpus(self) -> SyntheticTools:
        return _corpus()

    def answer(self) -> str:
        return _LINES.format(_ANSWERS["labels"])
