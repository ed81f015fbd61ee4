"""The Transformer equals that of torch, with positions, and keeps the contract of translators."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from srulight.encoders import LSTM, SRU, RecurrentFactory, SRUpp
from srulight.tasks.translation.models.base import Memory, select_state
from srulight.tasks.translation.models.multi_head_attention import CrossAttention
from srulight.tasks.translation.models.transformer import Transformer
from srulight.tasks.translation.models.transformer_layers import Norm

E, HIDDEN, LAYERS, HEADS = 6, 10, 2, 3
LENGTHS = torch.tensor([5, 3])
KINDS: dict[str, tuple[RecurrentFactory | None, Norm]] = {
    "pre": (None, "pre"),
    "post": (None, "post"),
    "SRU": (partial(SRU, hidden_size=7, num_layers=1, skip=False), "pre"),
    "2 SRU": (partial(SRU, hidden_size=5), "post"),
    "LSTM": (partial(LSTM, hidden_size=5, num_layers=1), "pre"),
    "SRUpp": (partial(SRUpp, hidden_size=8, num_layers=1, memory_size=3), "pre"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def translator(kind: str = "pre", dropout: float = 0.0) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(E, HIDDEN, LAYERS, HEADS, dropout, 0.0, *KINDS[kind]).double()
    for parameter in model.parameters():  # ones and zeros would hide what they multiply
        nn.init.normal_(parameter, std=0.4)
    return model


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def placed(x: Tensor) -> Tensor:
    """Computes the input of the first layer by hand."""
    rows = []
    for t in range(x.size(1)):
        row = []
        for i in range(0, E, 2):
            angle = t / 10_000 ** (i / E)
            row += [math.sin(angle), math.cos(angle)]
        rows.append(row)
    return x * math.sqrt(E) + torch.tensor(rows, dtype=x.dtype)


def renamed(model: Transformer) -> dict[str, Tensor]:
    """Renames the weights of a model to those of torch.nn.Transformer."""
    new = {
        "around_attention.norm": "norm1",
        "around_cross.norm": "norm2",
        "attention.project.": "self_attn.in_proj_",
        "attention.output": "self_attn.out_proj",
        "cross.output": "multihead_attn.out_proj",
        "network.inner": "linear1",
        "network.output": "linear2",
        "encoder_norm": "encoder.norm",
        "decoder_norm": "decoder.norm",
        "encoder.": "encoder.layers.",
        "decoder.": "decoder.layers.",
    }
    weights = {}
    for name, value in model.state_dict().items():
        last = "norm3" if name.startswith("decoder.") else "norm2"
        name = name.replace("around_network.norm", last)
        for own, other in new.items():
            name = name.replace(own, other)
        weights[name.replace("layers.norm", "norm")] = value
    for kind in ("weight", "bias"):
        for i, rows in enumerate(weights.pop(f"memory.{kind}").chunk(LAYERS)):
            layer = f"decoder.layers.{i}"
            query = weights.pop(f"{layer}.cross.query.{kind}")
            weights[f"{layer}.multihead_attn.in_proj_{kind}"] = torch.cat((query, rows))
    return weights


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_is_the_transformer_of_torch(norm: Norm) -> None:
    model = translator(norm)
    given = (E, HEADS, HIDDEN, 0.0, "relu", 1e-5, True, norm == "pre")
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(*given),
        LAYERS,
        nn.LayerNorm(E) if norm == "pre" else None,
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(*given), LAYERS, nn.LayerNorm(E) if norm == "pre" else None
    )
    other = nn.Transformer(E, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
    other.double().load_state_dict(renamed(model))
    source, target = random(2, 5, E), random(2, 4, E)
    padding = torch.arange(5) >= LENGTHS.unsqueeze(1)
    expected = other(
        placed(source),
        placed(target),
        tgt_mask=torch.ones(4, 4, dtype=torch.bool).triu(1),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    got = model.decode(target, model.encode(source, LENGTHS))
    torch.testing.assert_close(got.features, expected)


def test_looks_where_torch_looks() -> None:
    cross = CrossAttention(E, HEADS).double()
    other = nn.MultiheadAttention(E, HEADS, batch_first=True).double()
    with torch.no_grad():
        nn.init.normal_(other.in_proj_bias)
        cross.query.weight.copy_(other.in_proj_weight[:E])
        cross.query.bias.copy_(other.in_proj_bias[:E])
        cross.output.load_state_dict(other.out_proj.state_dict())
    x, source = random(2, 4, E), random(2, 5, E)
    keys_values = source @ other.in_proj_weight[E:].mT + other.in_proj_bias[E:]
    valid = torch.arange(5) < LENGTHS.unsqueeze(1)
    expected, where = other(x, source, source, key_padding_mask=~valid)
    attended, attention = cross.forward_with_weights(x, keys_values, valid)
    torch.testing.assert_close(attended, expected)
    torch.testing.assert_close(attention, where)
    torch.testing.assert_close(cross(x, keys_values, valid), expected)


@every_kind
def test_pieces_of_a_translation_are_the_whole(kind: str) -> None:
    model = translator(kind)
    memory = model.encode(random(2, 5, E), LENGTHS)
    target = random(4, 6, E)
    whole = model.decode(target, memory)
    for pieces in ([1, 2, 1, 2], [4, 1, 1]):
        state, features, looks = None, [], []
        for piece in target.split(pieces, 1):
            decoded = model.decode(piece, memory, state)
            state = decoded.state
            features.append(decoded.features)
            looks.append(decoded.attention)
        torch.testing.assert_close(torch.cat(features, 1), whole.features)
        torch.testing.assert_close(torch.cat(looks, 1), whole.attention)
        assert all(part.size(1) == 4 for part in decoded.state)


@every_kind
def test_translations_of_a_sentence_are_those_of_copies_of_it(kind: str) -> None:
    model = translator(kind)
    memory = model.encode(random(2, 5, E), LENGTHS)
    copies = Memory(*(part.repeat_interleave(3, 0) for part in memory))
    target = random(6, 4, E)
    got, expected = model.decode(target, memory), model.decode(target, copies)
    torch.testing.assert_close(got.features, expected.features)
    torch.testing.assert_close(got.attention, expected.attention)


@every_kind
def test_padding_of_the_source_changes_nothing(kind: str) -> None:
    model = translator(kind)
    source, target = random(2, 5, E), random(2, 4, E)
    source[1, 3:] = 9.0
    both = model.decode(target, model.encode(source, LENGTHS))
    alone = model.decode(target[1:], model.encode(source[1:, :3], LENGTHS[1:]))
    torch.testing.assert_close(both.features[1], alone.features[0])
    torch.testing.assert_close(both.attention[1, :, :3], alone.attention[0])
    assert (both.attention[1, :, 3:] == 0).all()
    torch.testing.assert_close(both.attention.sum(-1), torch.ones(2, 4, dtype=torch.float64))


@every_kind
def test_a_later_token_changes_nothing_before(kind: str) -> None:
    model = translator(kind)
    memory = model.encode(random(2, 5, E), LENGTHS)
    target = random(2, 5, E)
    before = model.decode(target, memory)
    target[:, 3, 0] += 1
    after = model.decode(target, memory)
    torch.testing.assert_close(after.features[:, :3], before.features[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(after.attention[:, :3], before.attention[:, :3], rtol=0, atol=0)
    assert ((after.features - before.features)[:, 3:].abs().amax(-1) > 1e-6).all()


@every_kind
def test_reordered_translations_go_on(kind: str) -> None:
    model = translator(kind)
    memory = model.encode(random(2, 5, E), LENGTHS)
    begun = model.decode(random(4, 2, E), memory)
    rows = torch.tensor([1, 1, 3, 2])
    after = random(4, 1, E)
    expected = model.decode(after, memory, begun.state).features
    got = model.decode(after[rows], memory, select_state(begun.state, rows)).features
    torch.testing.assert_close(got, expected[rows])


@every_kind
def test_gradients_reach_everything(kind: str) -> None:
    model = translator(kind)
    decoded = model.decode(random(2, 3, E), model.encode(random(2, 5, E), LENGTHS))
    decoded.features.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_a_translation_asks_the_encoder_once() -> None:
    model = translator()
    memory = model.encode(random(2, 5, E), LENGTHS)
    assert memory.encoded.shape == (2, 5, LAYERS * 2 * E)
    del model.encoder, model.memory
    model.decode(random(2, 3, E), memory)


def test_is_as_large_as_published() -> None:
    attention, norm = 4 * (512 * 512 + 512), 2 * 512
    network = 512 * 2048 + 2048 + 2048 * 512 + 512
    layers = 6 * (attention + network + 2 * norm) + 6 * (2 * attention + network + 3 * norm)
    for kind, expected in (("post", layers), ("pre", layers + 2 * norm)):
        with torch.device("meta"):
            model = Transformer(512, norm=kind)  # type: ignore[arg-type]
        assert sum(p.numel() for p in model.parameters()) == expected
    assert layers + 2 * norm == 44_140_544  # torch.nn.Transformer(), which has these norms, too


def test_recurrent_layers_have_sizes_of_their_own() -> None:
    wide = Transformer(E, 10, 1, 1, feed_forward=partial(SRU, hidden_size=8, num_layers=1))
    other = Transformer(E, 99, 1, 1, feed_forward=partial(SRU, hidden_size=8, num_layers=1))
    sizes = [[p.shape for p in model.parameters()] for model in (wide, other)]
    assert sizes[0] == sizes[1]


def test_weights_start_as_those_of_torch() -> None:
    model = Transformer(40, 60, 2, 4)
    third, square = math.sqrt(6 / 160), math.sqrt(6 / 80)  # Glorot, of (120, 40) and (40, 40)
    cross = model.decoder[1].get_submodule("cross.query")
    for linear, bound in (
        (model.encoder[0].get_submodule("attention.project"), third),
        (cross, third),
        (model.memory, third),
        (model.encoder[0].get_submodule("attention.output"), square),
        (model.decoder[0].get_submodule("cross.output"), square),
        (model.decoder[0].get_submodule("network.inner"), math.sqrt(6 / 100)),
        (model.decoder[0].get_submodule("network.output"), math.sqrt(6 / 100)),
    ):
        assert isinstance(linear, nn.Linear)
        assert 0.98 * bound < linear.weight.abs().max() <= bound
        assert not linear.bias.any()


def test_what_is_dropped_adds_nothing() -> None:
    model = translator(dropout=1.0)
    memory = model.encode(random(2, 5, E), LENGTHS)
    x = model.encoder_norm.get_parameter("bias")
    torch.testing.assert_close(memory.encoded, model.memory(x).expand(2, 5, -1))
    features = model.decode(random(2, 3, E), memory).features
    torch.testing.assert_close(features, model.decoder_norm.get_parameter("bias").expand(2, 3, -1))


def test_attention_is_told_before_dropout() -> None:
    cross = CrossAttention(E, HEADS, dropout=0.5).double()
    given = random(1, 40, E), random(1, 5, 2 * E), torch.ones(1, 5, dtype=torch.bool)
    attended, attention = cross.forward_with_weights(*given)
    dropped = cross(*given)
    cross.eval()
    expected, where = cross.forward_with_weights(*given)
    torch.testing.assert_close(attention, where)
    assert not torch.allclose(attended, expected)
    assert not torch.allclose(dropped, expected)
    torch.testing.assert_close(cross(*given), expected)


def test_attention_is_dropped_in_training_only() -> None:
    model = Transformer(E, HIDDEN, 1, HEADS, 0.0, attention_dropout=0.5)
    source, target = random(2, 5, E).float(), random(2, 4, E).float()
    memory = model.encode(source, LENGTHS)
    assert not torch.equal(memory.encoded, model.encode(source, LENGTHS).encoded)
    looks = [model.decode(target, memory).attention for _ in range(2)]
    assert not torch.equal(*looks)  # the queries have attended to themselves
    model.eval()
    again = [model.decode(target, model.encode(source, LENGTHS)).features for _ in range(2)]
    assert torch.equal(*again)


@every_kind
def test_keeps_the_dtype(kind: str) -> None:
    model = translator(kind).bfloat16()
    memory = model.encode(random(2, 5, E).bfloat16(), LENGTHS)
    begun = model.decode(random(4, 2, E).bfloat16(), memory)
    then = model.decode(random(4, 2, E).bfloat16(), memory, begun.state)
    for decoded in (begun, then):
        assert decoded.features.dtype == decoded.attention.dtype == torch.bfloat16


@every_kind
def test_goes_on_in_mixed_precision(kind: str) -> None:
    model = translator(kind).float()
    source, target = random(2, 5, E).float(), random(2, 4, E).float()
    expected = model.decode(target, model.encode(source, LENGTHS))
    with torch.autocast("cpu", torch.bfloat16):
        memory = model.encode(source, LENGTHS)
        begun = model.decode(target[:, :2], memory)
        then = model.decode(target[:, 2:], memory, begun.state)
    features = torch.cat((begun.features, then.features), 1)
    torch.testing.assert_close(features.float(), expected.features, rtol=0, atol=0.3)
    attention = torch.cat((begun.attention, then.attention), 1)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 4))


@pytest.mark.slow
def test_is_one_graph_for_all_sizes() -> None:
    torch.compiler.reset()
    counters.clear()
    model = Transformer(E, HIDDEN, 1, HEADS, feed_forward=KINDS["SRU"][0]).double().eval()

    def run(source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        return model.decode(target, model.encode(source, lengths)).features

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend="eager")
    for batch, steps in ((3, 4), (2, 7), (4, 5)):
        lengths = torch.tensor([steps, *range(1, batch)])
        given = random(batch, steps, E), lengths, random(batch, steps + 1, E)
        torch.testing.assert_close(compiled(*given), run(*given))
    assert counters["stats"]["unique_graphs"] == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_heads must divide embedding_size \(6\), got 4"):
        Transformer(6, num_heads=4)
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        Transformer(8, num_layers=0)
    with pytest.raises(ValueError, match="attention_dropout must be at least 0 and below 1, got 1"):
        Transformer(8, attention_dropout=1.0)
    with pytest.raises(ValueError, match="norm must be pre or post, got 'both'"):
        Transformer(8, norm="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be unidirectional.* a bidirectional SRU"):
        Transformer(8, feed_forward=partial(SRU, bidirectional=True))
