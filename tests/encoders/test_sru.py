"""Properties of SRU that other encoders do not share."""

import pytest
import torch
from torch.export import Dim

from srulight import SRU


def test_has_the_parameters_of_the_paper() -> None:
    # Table 1 of the paper: 2 layers of 128 on 300 features are 204 thousand parameters with a
    # classifier of two classes.
    encoder = SRU(300, hidden_size=128, num_layers=2)
    assert sum(p.numel() for p in encoder.parameters()) + 2 * 128 + 2 == 204_034


def test_exports_with_any_batch_and_length() -> None:
    encoder = SRU(5, hidden_size=4, bidirectional=True).eval()
    program = torch.export.export(
        encoder, (torch.randn(3, 7, 5),), dynamic_shapes={"x": {0: Dim("batch"), 1: Dim("steps")}}
    )
    x = torch.randn(4, 9, 5)
    torch.testing.assert_close(program.module()(x), encoder(x))


def test_one_mask_serves_a_whole_sequence() -> None:
    encoder = SRU(4, hidden_size=4, num_layers=2, dropout=0.5)
    encoder.layers[1] = torch.nn.Module()
    y, _ = encoder.layers[0](torch.ones(50, 6, 4))
    # All inputs are 1, so a dropped unit outputs the factor of the skip.
    passed_on = torch.isclose(y, torch.tensor(encoder.layers[0].scale))
    assert torch.equal(passed_on.all(1), passed_on.any(1))
    assert 0.3 < passed_on.float().mean() < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"input_dropout": -0.1}, "input_dropout must be at least 0"),
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"layer_norm": "both"}, "layer_norm must be none, pre or post, got 'both'"),
        ({"activation": "selu"}, "activation must be identity, tanh or relu, got 'selu'"),
    ],
)
def test_says_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SRU(5, **options)  # type: ignore[arg-type]
