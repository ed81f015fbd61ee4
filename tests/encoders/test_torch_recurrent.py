"""LSTM and GRU on processors for which oneDNN has no kernels in half precision."""

import pytest
import torch

from srulight.encoders import GRU, LSTM, _torch_recurrent


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_runs_in_the_type_of_the_weights(
    kind: type[LSTM | GRU], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_torch_recurrent, "SLOW_TYPES", (torch.bfloat16,))
    encoder = kind(3, 4).to(dtype)
    x, lengths = torch.randn(2, 5, 3, dtype=dtype), torch.tensor([5, 2])
    expected, (y, state) = encoder(x, lengths), encoder.forward_with_state(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(x, lengths), expected)
        begun, middle = encoder.forward_with_state(x[:, :2])
        ended, last = encoder.forward_with_state(x[:, 2:].bfloat16().to(dtype), middle)
        whole, final = encoder.forward_with_state(x)
    assert begun.dtype == ended.dtype == dtype
    assert torch.equal(whole, y)
    assert torch.equal(final, state)
    torch.testing.assert_close(last, state, atol=1e-2, rtol=0)
