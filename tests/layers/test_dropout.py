"""Dropout drops the right share, scales the rest, and is reproducible with the same seed."""

import pytest
import torch

from srulight.layers.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_and_scale(p: float) -> None:
    y = Dropout(p)(torch.ones(400, 500))
    dropped = y == 0
    # Five standard deviations of the share of 200,000 draws: of all, of each lane and of each row.
    for share, draws in ((dropped, 200_000), *((dropped[:, i::4], 50_000) for i in range(4))):
        assert abs(share.float().mean() - p) < 5 * (p * (1 - p) / draws) ** 0.5
    torch.testing.assert_close(y[~dropped], torch.full((), 1 / (1 - p)).expand(y[~dropped].shape),
                               rtol=1e-4, atol=0)  # fmt: skip


def test_neighbours_are_independent() -> None:
    dropped = (Dropout(0.5)(torch.ones(200_001)) == 0).float()
    for distance in (1, 2, 3, 4):
        both = (dropped[distance:] * dropped[:-distance]).mean()
        assert abs(both - 0.25) < 0.01


def test_the_same_seed_drops_the_same() -> None:
    layer, x = Dropout(0.3), torch.ones(1001)
    torch.manual_seed(5)
    first = layer(x)
    assert not torch.equal(first, layer(x))
    torch.manual_seed(5)
    assert torch.equal(first, layer(x))


def test_gradient_passes_where_the_value_did() -> None:
    x = torch.ones(100, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_nothing_happens_when_not_training_or_never() -> None:
    x = torch.ones(3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert not Dropout(1.0)(x).any()


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"dropout must be 0 to 1, got 1\.5"):
        Dropout(1.5)
