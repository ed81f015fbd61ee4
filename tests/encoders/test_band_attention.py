"""The contract of attention within a band."""

import pytest
import torch
from torch import Tensor, nn

from srulight import SRUpp
from srulight.encoders import band_attention as attention
from srulight.encoders.band_attention import BandAttention


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("steps", [4, 9])
def test_a_step_sees_no_further_than_the_memory(bidirectional: bool, steps: int) -> None:
    attend = BandAttention(8, 2, 3, bidirectional, 0.0).double()
    nn.init.ones_(attend.alpha)
    for changed in range(steps):
        z = torch.randn(1, steps, 8, dtype=torch.float64)
        other = z.clone()
        other[:, changed] += 1
        differs = (attend(z, None, None, None) != attend(other, None, None, None)).any(2)[0]
        first = changed - 3 if bidirectional else changed
        assert differs.tolist() == [first <= t <= changed + 3 for t in range(steps)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("remembers", [False, True])
def test_long_sequences_are_read_in_pieces(
    bidirectional: bool, remembers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = BandAttention(8, 2, 3, bidirectional, 0.0).double()
    nn.init.ones_(attend.alpha)
    z, past = torch.randn(2, 17, 8).double(), torch.randn(2, 3, 8).double()
    memory = (past, torch.tensor([3.0, 1.0])) if remembers else (None, None)
    lengths = torch.tensor([17, 8])
    whole = attend(z, *memory, lengths)
    for block in (1, 4, 16):
        monkeypatch.setattr(attention, "_BLOCK", block)
        torch.testing.assert_close(attend(z, *memory, lengths), whole)


def test_no_step_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []

    def attend(q: Tensor, *_: Tensor, attn_mask: Tensor, dropout_p: float) -> Tensor:
        masks.append(attn_mask)
        return q

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", attend)
    encoder = SRUpp(5, memory_size=2, bidirectional=True).double()
    encoder(torch.randn(2, 9, 5, dtype=torch.float64), torch.tensor([9, 1]))
    assert all(mask.any(-1).all() for mask in masks)
    assert len(masks) == 2
