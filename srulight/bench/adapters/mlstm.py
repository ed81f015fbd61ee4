"""The matrix LSTM (mLSTM) of the package ``mlstm_kernels``."""

from functools import partial

import torch
from torch import Tensor, nn

from srulight.bench.contenders import Layer

HEADS = 4
CHUNK = 64
"""Number of steps that the kernel processes in parallel."""


class MatrixLSTM(nn.Module):
    """The mLSTM layer of xLSTM 7B, without its normalization: projections, kernel, output gate.

    Beck et al. (2025), xLSTM 7B: A Recurrent LLM for Fast and Efficient Inference
    (arXiv 2503.13427), equations 3 to 8. Queries and keys have half as many features as values.

    Args:
        size: Number of features of the input and of the output, a multiple of 8.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.split = [size // 2, size // 2, size, size, HEADS, HEADS]
        self.inward = nn.Linear(size, sum(self.split))
        self.outward = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        from mlstm_kernels.torch import get_mlstm_kernel
        from mlstm_kernels.torch.kernel_wrappers import wrap_chunkwise__pad_zeros

        q, k, v, gate, i, f = self.inward(x).split(self.split, -1)
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        kernel = partial(
            get_mlstm_kernel("chunkwise--native_autograd"), chunk_size=min(CHUNK, x.size(1))
        )
        h: Tensor = wrap_chunkwise__pad_zeros(
            mlstm_chunkwise_kernel=kernel, q=q, k=k, v=v, i=i.transpose(1, 2), f=f.transpose(1, 2)
        )  # (B, heads, T, F)
        return self.outward(torch.sigmoid(gate) * h.transpose(1, 2).flatten(2))


MLSTM = Layer(
    "mLSTM",
    "mLSTM with 4 heads, with the kernels of mlstm_kernels that are written in PyTorch",
    MatrixLSTM,
    needs=("mlstm_kernels",),
    dtypes=("float32",),
    devices=("cpu",),
    compiles=False,
)
"""On a GPU, the package has faster kernels, which this does not use."""
