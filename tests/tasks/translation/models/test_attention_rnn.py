"""Tests of AttentionRNN: values computed by hand, and the contract of translators."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from srulight.encoders import GRU, LSTM, QRNN, SRU, Recurrent, SRUpp
from srulight.tasks.translation.models.attention import Scoring, attention_weights, get_attention
from srulight.tasks.translation.models.attention_rnn import AttentionRNN
from srulight.tasks.translation.models.base import select_state

LENGTHS = torch.tensor([5, 3])


def translator(
    decoder: Callable[..., Recurrent] = SRU, attention: Scoring = "general", feeding: bool = False
) -> AttentionRNN:
    torch.manual_seed(0)
    return AttentionRNN(
        4,
        encoder=partial(SRU, hidden_size=3, num_layers=1, bidirectional=True),
        decoder=partial(decoder, hidden_size=6, num_layers=2),
        attention=attention,
        input_feeding=feeding,
        dropout=0.0,
    ).double()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


every_kind = pytest.mark.parametrize(
    ("decoder", "attention", "feeding"),
    [
        *((decoder, "general", False) for decoder in (SRU, LSTM, GRU, QRNN, SRUpp)),
        (SRU, "dot", False),
        (SRU, "additive", False),
        (SRU, "general", True),
        (LSTM, "additive", True),
    ],
)


@every_kind
def test_pieces_of_a_translation_are_the_whole(
    decoder: type[Recurrent], attention: Scoring, feeding: bool
) -> None:
    model = translator(decoder, attention, feeding)
    memory = model.encode(random(2, 5, 4), LENGTHS)
    target = random(2, 7, 4)
    whole = model.decode(target, memory)
    state, features, looks = None, [], []
    for piece in target.split([1, 1, 3, 2], 1):
        decoded = model.decode(piece, memory, state)
        state = decoded.state
        features.append(decoded.features)
        looks.append(decoded.attention)
    torch.testing.assert_close(torch.cat(features, 1), whole.features)
    torch.testing.assert_close(torch.cat(looks, 1), whole.attention)


@every_kind
def test_translations_side_by_side_are_those_alone(
    decoder: type[Recurrent], attention: Scoring, feeding: bool
) -> None:
    model = translator(decoder, attention, feeding)
    source, target = random(2, 5, 4), random(6, 4, 4)
    source[1, 3:] = 9.0  # padding
    both = model.decode(target, model.encode(source, LENGTHS))
    for i, length in enumerate(LENGTHS.tolist()):
        memory = model.encode(source[i : i + 1, :length], LENGTHS[i : i + 1])
        for row in range(3 * i, 3 * i + 3):
            alone = model.decode(target[row : row + 1], memory)
            torch.testing.assert_close(both.features[row], alone.features[0])
            torch.testing.assert_close(both.attention[row, :, :length], alone.attention[0])
    assert (both.attention[3:, :, 3:] == 0).all()


@every_kind
def test_reordered_translations_go_on(
    decoder: type[Recurrent], attention: Scoring, feeding: bool
) -> None:
    model = translator(decoder, attention, feeding)
    memory = model.encode(random(2, 5, 4), LENGTHS)
    begun = model.decode(random(4, 2, 4), memory)
    rows = torch.tensor([1, 1, 3, 2])
    after = random(4, 1, 4)
    expected = model.decode(after, memory, begun.state).features
    # Rows 1 and 1 of the first sentence; 3 and 2 of the second.
    got = model.decode(after[rows], memory, select_state(begun.state, rows)).features
    torch.testing.assert_close(got, expected[rows])


def test_gradients_reach_everything() -> None:
    model = translator(feeding=True)
    decoded = model.decode(random(2, 3, 4), model.encode(random(2, 5, 4), LENGTHS))
    decoded.features.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_scores_are_those_worked_by_hand() -> None:
    queries = torch.tensor([[[1.0, 2.0]]])
    encoded = torch.tensor([[[3.0, 0.0], [0.0, -1.0]]])
    dot = get_attention("dot", 2, 2)
    assert dot(queries, dot.keys(encoded)).tolist() == [[[3.0, -2.0]]]
    general = get_attention("general", 2, 2)
    general.load_state_dict({"weight.weight": torch.tensor([[0.0, 1.0], [1.0, 0.0]])})
    assert general(queries, general.keys(encoded)).tolist() == [[[6.0, -1.0]]]
    additive = get_attention("additive", 2, 2)
    weights = {"key.weight": torch.eye(2), "key.bias": torch.tensor([0.0, 1.0])}
    weights |= {"query.weight": torch.eye(2), "score.weight": torch.tensor([[1.0, 2.0]])}
    additive.load_state_dict(weights)
    # tanh(1 + 3) + 2 tanh(2 + 0 + 1); tanh(1 + 0) + 2 tanh(2 - 1 + 1)
    expected = [0.9993293 + 2 * 0.9950548, 0.7615942 + 2 * 0.9640276]
    assert additive(queries, additive.keys(encoded))[0, 0].tolist() == pytest.approx(expected)


def test_weights_are_a_softmax_of_what_is_real() -> None:
    scores = torch.tensor([[[0.0, 0.6931472, 5.0]]])
    weights = attention_weights(scores, torch.tensor([[True, True, False]]))
    assert weights.tolist() == [[[pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0]]]


def test_output_is_tanh_of_context_and_query() -> None:
    model = translator()
    memory = model.encode(random(1, 5, 4), torch.tensor([5]))
    decoded = model.decode(random(1, 2, 4), memory)
    context = decoded.attention @ memory.encoded[..., :6]
    first = model.bridge(memory.encoded[..., :6].mean(1))
    hidden, _ = model.decoder.forward_with_state(
        random(1, 2, 4) + first * torch.tensor([[[1.0], [0.0]]])
    )
    expected = model.output(torch.cat((context, hidden), -1)).tanh()
    torch.testing.assert_close(decoded.features, expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decoder, got 6 and 5; .*attention=general"):
        get_attention("dot", 5, 6)
    with pytest.raises(ValueError, match="attention must be dot, general or additive, got 'x'"):
        get_attention("x", 5, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a bidirectional LSTM needs whole sequences"):
        AttentionRNN(4, decoder=partial(LSTM, bidirectional=True))
