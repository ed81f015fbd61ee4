"""Codebooks by k-means, against exhaustive search and numbers worked out by hand."""

import pytest
import torch

from srulight.ops.codebook import groups
from srulight.quantization.clustering import cluster


def test_sixteen_numbers_are_kept() -> None:
    # At equal distances from -127 to 127, rounded: where the centers begin.
    numbers = torch.tensor([round(-127 + 254 * i / 15) for i in range(16)]).float()
    weight = numbers.repeat(2)[None] * torch.tensor([[0.5], [-2.0], [0.0]])
    indices, codebook, scale = cluster(weight)
    assert scale.tolist() == [0.5, 2.0, 0.0]
    assert codebook[0].tolist() == numbers.tolist()
    assert indices[0].tolist() == [*range(16)] * 2
    assert indices[1].tolist() == [*range(15, -1, -1)] * 2
    assert torch.equal(codebook.gather(1, indices.long()) * scale[:, None], weight)


def test_numbers_close_to_each_other_have_their_mean() -> None:
    # The center that begins at 127 - 2 * 254 / 15 = 93.13 gets 91 three times and 95 once.
    weight = torch.tensor([[127.0, -127, 91, 91, 91, 95, 110] + [8.0] * 10])
    indices, codebook, _ = cluster(weight)
    found = codebook[0][indices[0].long()].tolist()
    assert found == [127, -127, 92, 92, 92, 92, 110] + [8] * 10


@pytest.mark.parametrize("codebook_rows", [1, 3, 10, 99])
def test_each_number_has_the_nearest_entry(codebook_rows: int) -> None:
    weight = torch.randn(10, 41) * torch.logspace(-3, 3, 10)[:, None]
    indices, codebook, scale = cluster(weight, codebook_rows)
    assert len(codebook) == -(-10 // codebook_rows)
    assert torch.equal(cluster(weight, codebook_rows)[1], codebook)
    group = groups(10, len(codebook), weight.device)
    values = weight / scale[:, None]
    distance = (values[..., None] - codebook[group][:, None]).abs()
    nearest = distance.amin(-1)
    chosen = distance.gather(-1, indices.long()[..., None])[..., 0]
    torch.testing.assert_close(chosen, nearest)
    # Centers at equal distances, with which the algorithm begins, have a larger error.
    equal = values.amin() + (values.amax() - values.amin()) / 15 * torch.arange(16)
    assert nearest.square().sum() < (values[..., None] - equal).abs().amin(-1).square().sum()


def test_entries_are_means() -> None:
    weight = torch.randn(1, 4000)
    indices, codebook, scale = cluster(weight)
    for i in range(16):
        mean = (weight / scale[:, None])[indices == i].mean()
        # The borders belong to rounded centers, which moves the means a little.
        assert mean == pytest.approx(float(codebook[0, i]), abs=1.0)
