"""Translates matrix products, normalization, convolution, pooling and attention to ONNX."""

import math

import numpy as np
import torch

from srulight.export.onnx_graph import Name
from srulight.export.translation import Call, translates


@translates("linear")
def _linear(c: Call) -> Name:
    x, weight, bias = c.get(0), c.get(1), c.get(2)
    if c.meta(0).dim() == 2:
        return c.g.op("Gemm", x, weight, *([bias] if bias else []), transB=1)
    y = c.g.op("MatMul", x, c.g.op("Transpose", weight, perm=[1, 0]))
    return c.g.op("Add", y, bias) if bias else y


@translates("matmul", "bmm", "mm")
def _matmul(c: Call) -> Name:
    return c.g.op("MatMul", c.get(0), c.get(1))


@translates("addmm")
def _addmm(c: Call) -> Name:
    return c.g.op("Add", c.g.op("MatMul", c.get(1), c.get(2)), c.get(0))


@translates("embedding")
def _embedding(c: Call) -> Name:
    return c.g.op("Gather", c.get(0), c.get(1), axis=0)


@translates("layer_norm")
def _layer_norm(c: Call) -> Name:
    x, shape, weight, bias = (c.get(i) for i in range(4))
    if weight is None:
        weight = c.g.constant(np.ones(shape), np.float32)
    inputs = [x, weight, *([bias] if bias else [])]
    return c.g.op("LayerNormalization", *inputs, axis=-len(shape), epsilon=float(c.get(4)))


@translates("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(c: Call) -> Name:
    x = c.cast(c.get(0), c.meta(0).dtype, c.meta().dtype)
    kind = "LogSoftmax" if "log" in str(c.node.target) else "Softmax"
    return c.g.op(kind, x, axis=c.axis(1))


@translates("conv1d", "conv2d", "conv3d")
def _convolution(c: Call) -> Name:
    rank = c.meta(0).dim() - 2

    def each(place: int) -> list[int]:
        value = c.get(place)
        value = [value] if isinstance(value, int) else list(value)
        return value * rank if len(value) == 1 else value

    if isinstance(c.get(4), str):  # "same" or "valid"
        reach = [d * (k - 1) for d, k in zip(each(5), c.meta(1).shape[2:], strict=True)]
        reach = reach if c.get(4) == "same" else [0] * rank
        pads = [*(one // 2 for one in reach), *(one - one // 2 for one in reach)]
    else:
        pads = [*each(4), *each(4)]
    inputs = [c.get(0), c.get(1), *([c.get(2)] if c.get(2) else [])]
    return c.g.op(
        "Conv", *inputs, strides=each(3), pads=pads, dilations=each(5), group=int(c.get(6))
    )


@translates("group_norm")
def _group_norm(c: Call) -> Name:
    x, groups, weight, bias = (c.get(i) for i in range(4))
    shape = c.meta(0).shape
    # GroupNormalization of this version of the operators has no scale for each channel.
    ones, zeros = (c.g.constant(np.full(groups, value), np.float32) for value in (1, 0))
    parts = c.g.reshape(x, (shape[0], groups, shape[1] // groups * math.prod(shape[2:])))
    parts = c.g.op("InstanceNormalization", parts, ones, zeros, epsilon=float(c.get(4)))
    y = c.g.reshape(parts, shape)
    spread = c.g.constant([shape[1], *[1] * (len(shape) - 2)])
    if weight is not None:
        y = c.g.op("Mul", y, c.g.op("Reshape", weight, spread))
    return y if bias is None else c.g.op("Add", y, c.g.op("Reshape", bias, spread))


@translates("batch_norm")
def _batch_norm(c: Call) -> Name:
    x, weight, bias, mean, variance = (c.get(i) for i in range(5))
    return c.g.op("BatchNormalization", x, weight, bias, mean, variance, epsilon=float(c.get(7)))


@translates("max_pool2d")
def _max_pool(c: Call) -> Name:
    kernel, stride, padding = (c.get(i) for i in (1, 2, 3))
    pair = [[one, one] if isinstance(one, int) else list(one) for one in (kernel, stride, padding)]
    pair = [one * 2 if len(one) == 1 else one for one in pair]
    kernel, stride, padding = pair
    return c.g.op("MaxPool", c.get(0), kernel_shape=kernel, strides=stride or kernel,
                  pads=[*padding, *padding], ceil_mode=int(c.get(5)))  # fmt: skip


@translates("adaptive_avg_pool2d")
def _adaptive(c: Call) -> Name:
    if list(c.get(1)) != [1, 1]:
        raise NotImplementedError
    return c.g.op("GlobalAveragePool", c.get(0))


@translates("scaled_dot_product_attention")
def _attention(c: Call) -> Name:
    q, k, v, mask = (c.get(i) for i in range(4))
    scale = c.get(6)
    size = c.meta(0).shape[-1]
    scale = size**-0.5 if scale is None else scale
    g = c.g
    q = g.op("Mul", q, g.constant(scale, np.float32))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    if c.get(5):  # causal
        rows, columns = (
            g.op("Range", g.constant(0), g.size(c.meta(i).shape[-2]), g.constant(1)) for i in (0, 1)
        )
        mask = g.op("LessOrEqual", columns, g.op("Unsqueeze", rows, g.constant([1])))
    if mask is not None and not c.get(5) and c.meta(3).dtype != torch.bool:
        scores = g.op("Add", scores, mask)
    elif mask is not None:
        scores = g.op("Where", mask, scores, g.constant(-np.inf, np.float32))
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
