"""Residual networks of basic blocks."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from srulight.runtime.errors import InputError, check_range
from srulight.video.frame_encoders.base import FrameEncoder

_CHANNELS_PER_GROUP = 8
_MOST_GROUPS = 32


class ResNet(FrameEncoder):
    """A residual network of basic blocks, of any width and depth.

    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv 1512.03385. With
    ``width=64``, ``norm=batch`` and ``stem=large``, it is the ResNet-18 of their Table 1, and
    ``blocks=[3,4,6,3]`` makes it their ResNet-34. Its weights then have the names of those that
    torchvision publishes.

    Args:
        input_size: Number of channels of a frame, C: 1 or 3.
        width: Number of channels of the first stage. Each further stage has twice as many.
        blocks: Number of blocks of each stage. Each further stage halves the height and the width
            of the map. A block has two convolutions of 3 x 3 pixels and a shortcut (Eq. 1 and 2).
        norm: Normalization after each convolution: "group" normalizes each frame alone (Wu & He
            2018, arXiv 1803.08494); "batch" uses statistics of all frames of a batch in training,
            and running means in evaluation, and suits pretrained weights.
        stem: First layer: "small" is a convolution of 3 x 3 pixels that keeps the size, for small
            frames; "large" is a convolution of 7 x 7 pixels and a maximum over 3 x 3 places, which
            both halve the height and the width.
        zero_init: Whether the last normalization of each block starts with the scale 0, so that
            the block starts as its shortcut (Goyal et al. 2017, arXiv 1706.02677, Section 5.1).

    Raises:
        InputError: If a size is below 1, or there are no ``blocks``.
    """

    def __init__(
        self,
        input_size: int,
        width: int = 16,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        norm: Literal["group", "batch"] = "group",
        stem: Literal["small", "large"] = "small",
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        check_range(1, input_size=input_size, width=width)
        if not blocks or min(blocks) < 1:
            raise InputError(f"blocks must be a list of numbers of at least 1, got {list(blocks)}")
        make_norm = _BatchNorm if norm == "batch" else _group_norm
        widths = [width * 2**i for i in range(len(blocks))]
        self.input_size = input_size
        self.output_size = widths[-1]
        self.stride = (4 if stem == "large" else 1) * 2 ** (len(blocks) - 1)
        # The names of the modules are those of torchvision, so that its files of weights fit.
        size, step = (7, 2) if stem == "large" else (3, 1)
        self.conv1 = nn.Conv2d(input_size, width, size, step, size // 2, bias=False)
        self.bn1 = make_norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "large" else nn.Identity()
        self.stages = [f"layer{i + 1}" for i in range(len(blocks))]
        sizes = pairwise([width, *widths])
        for i, (name, count, (before, after)) in enumerate(
            zip(self.stages, blocks, sizes, strict=True)
        ):
            stage = [_BasicBlock(before, after, 1 if i == 0 else 2, make_norm)]
            stage += [_BasicBlock(after, after, 1, make_norm) for _ in range(count - 1)]
            self.add_module(name, nn.Sequential(*stage))
        self._initialize(zero_init)

    def _initialize(self, zero_init: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _BasicBlock) and zero_init:
                nn.init.zeros_(module.bn2.weight)  # type: ignore[arg-type]

    def forward(self, frames: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return x


class _BasicBlock(nn.Module):
    """Two convolutions with a shortcut around them.

    Args:
        before: Number of channels of the input.
        after: Number of channels of the output.
        stride: Distance of two outputs in places of the input.
        norm: Makes a normalization from a number of channels.
    """

    def __init__(
        self, before: int, after: int, stride: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
        self.conv1 = convolution(before, after, stride=stride)
        self.bn1 = norm(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = convolution(after, after)
        self.bn2 = norm(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            shortcut = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm(after))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class _BatchNorm(nn.BatchNorm2d):
    """Uses the running statistics for at most one value per channel, which has no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.numel() > x.size(1):
            return super().forward(x)
        running = (self.running_mean, self.running_var)
        return F.batch_norm(x, *running, self.weight, self.bias, eps=self.eps)


def _group_norm(channels: int) -> nn.Module:
    most = min(_MOST_GROUPS, max(1, channels // _CHANNELS_PER_GROUP))
    return nn.GroupNorm(math.gcd(channels, most), channels)
