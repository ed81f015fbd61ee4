"""The embedding and the softmax: full and adaptive, with tied and separate weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from srulight.tasks.language_modeling.softmax import AdaptiveSoftmax, Softmax, TokenLayers

V, E, H = 40, 16, 12
CUTOFFS = [5, 20]

every = pytest.mark.parametrize(
    "make",
    [
        lambda tied, size: Softmax(V, E, size, tied),
        lambda tied, size: AdaptiveSoftmax(V, E, size, tied, CUTOFFS),
    ],
    ids=["full", "adaptive"],
)
Make = Callable[[bool, int], TokenLayers]


@every
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [E, H])
def test_losses_are_the_log_probabilities_of_a_distribution(
    make: Make, tied: bool, size: int
) -> None:
    layers = make(tied, size).double()
    features = torch.randn(7, size, dtype=torch.float64)
    scores = layers(features)
    assert scores.shape == (7, V)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(7, dtype=torch.float64))
    targets = torch.tensor([0, 4, 5, 19, 20, 39, 7])
    expected = -scores[torch.arange(7), targets]
    torch.testing.assert_close(layers.losses(features, targets), expected)
    some = targets.index_fill(0, torch.tensor([1, 5]), -100)
    zeros = expected.index_fill(0, torch.tensor([1, 5]), 0)
    torch.testing.assert_close(layers.losses(features, some), zeros)
    assert not layers.losses(features, torch.full_like(targets, -100)).any()
    # One token of each cluster.
    for i in range(7):
        one = layers.losses(features[i : i + 1], targets[i : i + 1])
        torch.testing.assert_close(one, expected[i : i + 1])


@every
@pytest.mark.parametrize("tied", [True, False])
def test_every_token_has_features_of_its_own(make: Make, tied: bool) -> None:
    layers = make(tied, H)
    features = layers.embed(torch.arange(V).view(2, -1))
    assert features.shape == (2, V // 2, E)
    assert len(features.flatten(0, 1).unique(dim=0)) == V


@every
def test_tied_weights_serve_both(make: Make) -> None:
    def gradients(layers: TokenLayers, use: Callable[[TokenLayers], Tensor]) -> list[bool]:
        layers.zero_grad()
        use(layers).sum().backward()
        return [p.grad is not None and bool(p.grad.any()) for p in layers.parameters()]

    def read(layers: TokenLayers) -> Tensor:
        return layers.embed(torch.arange(V)).square()

    def write(layers: TokenLayers) -> Tensor:
        return layers.losses(torch.ones(V, E), torch.arange(V)).square()

    tied, untied = make(True, E), make(False, E)
    both = zip(gradients(tied, read), gradients(tied, write), strict=True)
    assert any(r and w for r, w in both)
    both = zip(gradients(untied, read), gradients(untied, write), strict=True)
    assert not any(r and w for r, w in both)
    assert sum(map(Tensor.numel, tied.parameters())) < sum(map(Tensor.numel, untied.parameters()))


def test_the_adaptive_embedding_of_baevski_and_auli() -> None:
    layers = AdaptiveSoftmax(V, E, E, True, CUTOFFS)
    table, (first, second) = layers.softmax.head.weight, layers.softmax.tail
    expected = {
        3: table[3],
        7: first[1].weight[2] @ first[0].weight,  # type: ignore[index]
        39: second[1].weight[19] @ second[0].weight,  # type: ignore[index]
    }
    for token, features in expected.items():
        torch.testing.assert_close(layers.embed(torch.tensor(token)), features)


def test_adaptive_losses_are_those_of_torch() -> None:
    layers = AdaptiveSoftmax(V, E, E, True, CUTOFFS)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(E, V, CUTOFFS)
    theirs.load_state_dict(layers.softmax.state_dict())
    features, targets = torch.randn(9, E), torch.randint(V, (9,))
    expected = -theirs(features, targets).output
    torch.testing.assert_close(layers.losses(features, targets), expected)


@every
def test_runs_under_autocast_with_full_precision_losses(make: Make) -> None:
    layers = make(True, H)
    features, targets = torch.randn(9, H), torch.randint(V, (9,))
    exact = layers.losses(features, targets)
    with torch.autocast("cpu", torch.bfloat16):
        losses = layers.losses(features.bfloat16(), targets)
        scores = layers(features.bfloat16())
    assert losses.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(losses, exact, atol=0.05, rtol=0.02)


@pytest.mark.parametrize("cutoffs", [[], [0], [5, 5], [9, 5], [40]])
def test_says_which_cutoffs_it_wants(cutoffs: list[int]) -> None:
    with pytest.raises(ValueError, match=r"cutoffs must increase .* vocabulary \(40\)"):
        AdaptiveSoftmax(V, E, H, True, cutoffs)
    with pytest.raises(
        ValueError, match="embedding_size must be at least 64 with 3 cutoffs, got 16"
    ):
        AdaptiveSoftmax(V, E, H, True, [5, 10, 20])
