"""Ranges of settings: what they mean, and what is refused."""

from pathlib import Path

import pytest

from srulight.experiments.ranges import (
    Range,
    as_options,
    check_once,
    examples,
    grid,
    parse,
    read_ranges,
)
from srulight.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "low", "high", "step", "is_log", "kind"),
    [
        ("model.dropout=0.0..0.6", 0.0, 0.6, None, False, float),
        ("--model.dropout=0..1", 0.0, 1.0, None, False, float),
        ("model.optimizer.lr=log:1e-4..1e-2", 1e-4, 1e-2, None, True, float),
        ("model.encoder.num_layers=int:1..6", 1, 6, None, False, int),
        ("model.encoder.hidden_size=int:64..512:64", 64, 512, 64, False, int),
        ("data.batch_size=log:int:8..128", 8, 128, None, True, int),
        ("data.batch_size=int:log:8..128", 8, 128, None, True, int),
        ("model.encoder.highway_bias=-3..-.5", -3.0, -0.5, None, False, float),
        ("model.dropout=0.0..0.6:0.1", 0.0, 0.6, 0.1, False, float),
    ],
)
def test_an_interval(
    text: str, low: float, high: float, step: float | None, is_log: bool, kind: type
) -> None:
    one = parse(text)
    assert (one.low, one.high, one.step, one.is_log) == (low, high, step, is_log)
    assert type(one.low) is type(one.high) is kind
    found = one.distribution()
    assert (found.low, found.high, found.log) == (low, high, is_log)  # type: ignore[attr-defined]


def test_choices() -> None:
    one = parse("model.encoder=SRU|LSTM| GRU")
    assert (one.key, one.choices) == ("model.encoder", ("SRU", "LSTM", "GRU"))
    assert parse("data.root=../a|../b").choices == ("../a", "../b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.dropout", "expected KEY=RANGE"),
        ("model.dropout=0.5", "expected LOW..HIGH"),
        ("model.dropout=0.6..0.1", "the smaller number first"),
        ("model.dropout=0.1..0.1", "the smaller number first"),
        ("model.dropout=0.1..", "expected LOW..HIGH"),
        ("model.dropout=0.1..inf", "expected LOW..HIGH"),
        ("model.dropout=0.1..1e999", "finite"),
        ("model.optimizer.lr=log:0..1", "above 0"),
        ("model.optimizer.lr=log:-1..1", "above 0"),
        ("model.optimizer.lr=log:log:1..2", "once each"),
        ("model.optimizer.lr=log:1..2:0.5", "no step"),
        ("model.encoder.num_layers=int:1.5..3", "whole numbers"),
        ("model.encoder.num_layers=int:1..9999999999999999", "below 2**53"),
        ("model.encoder.hidden_size=int:64..500:64", "divides 436"),
        ("model.dropout=0.0..0.6:0", "divides 0.6"),
        ("model.encoder=SRU|SRU", "different values"),
        ("model.encoder=SRU|", "different values"),
        ("encoder=SRU|GRU", "a setting of the model"),
        ("ckpt_path=a|b", "a setting of the model"),
        ("trainer.default_root_dir=a|b", "sets trainer.default_root_dir itself"),
        ("model.x;y=1..2", "a setting of the model"),
    ],
)
def test_no_range(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("*", r"\*")):
        parse(text)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(
        "model.optimizer.lr: log:1e-4..1e-2  # a comment\n"
        "model.encoder:\n- SRU\n- {class_path: LSTM, init_args: {num_layers: 1}}\n"
        "model.freeze_embedding: [true, false]\n"
        "model.optimizer: Adam|SGD\n"
    )
    lr, encoder, freeze, optimizer = read_ranges(path)
    assert lr == parse("model.optimizer.lr=log:1e-4..1e-2")
    assert encoder.choices == (
        "SRU",
        '{"class_path": "LSTM", "init_args": {"num_layers": 1}}',
    )
    assert freeze.choices == ("true", "false")
    assert optimizer.choices == ("Adam", "SGD")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "expected lines such as"),
        ("", "is empty"),
        ("model.dropout: 0.5\n", "or a list of values, got 0.5"),
        ("model.dropout: 0..1\nmodel.dropout: 0..2\n", "model.dropout once, got it twice"),
        ("model.dropout: {a: 1}\n", "or a list of values"),
        ("model.encoder: [SRU]\n", "at least two different"),
        ("3: 0..1\n", "a setting of the model"),
        ("a: !!python/object/apply:os.system ['touch bad']\n", "could not determine"),
        ("model.dropout: [\n", "while parsing"),
    ],
)
def test_no_file_of_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ranges.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"ranges\.yaml:? .*{said}"):
        read_ranges(path)
    assert not (tmp_path / "bad").exists()


def test_all_values() -> None:
    ranges = [parse("model.dropout=0.0..0.3:0.1"), parse("seed_everything=int:1..2")]
    assert ranges[0].values() == [0.0, 0.1, 0.2, 0.3]  # not 0.30000000000000004
    assert grid(ranges) == [
        {"model.dropout": dropout, "seed_everything": seed}
        for dropout in (0.0, 0.1, 0.2, 0.3)
        for seed in (1, 2)
    ]
    for text in ("model.dropout=0.0..0.3", "data.batch_size=log:int:1..8"):
        with pytest.raises(InputError, match="finite number of values"):
            grid([parse(text)])
    with pytest.raises(InputError, match="allows 5 combinations of values, got 8"):
        grid([*ranges], most=5)


def test_each_end_and_each_choice_is_an_example() -> None:
    ranges = [parse("model.dropout=0.0..0.3"), parse("model.encoder=SRU|LSTM|GRU")]
    assert list(examples(ranges)) == [
        {"model.dropout": 0.0, "model.encoder": "SRU"},
        {"model.dropout": 0.3, "model.encoder": "LSTM"},
        {"model.dropout": 0.0, "model.encoder": "GRU"},
    ]
    assert len(list(examples(ranges[:1]))) == 2


def test_a_class_comes_before_its_arguments() -> None:
    ranges = [Range("model.encoder.num_layers", ""), Range("model.encoder", "")]
    values: dict[str, str | float | int] = {"model.encoder.num_layers": 2, "model.encoder": "GRU"}
    assert as_options(ranges, values) == ["--model.encoder=GRU", "--model.encoder.num_layers=2"]


def test_a_setting_has_one_range_and_no_value() -> None:
    one = parse("model.dropout=0..1")
    check_once([one], ["--model.dropout_of=1"])
    with pytest.raises(InputError, match="one range, got several"):
        check_once([one, parse("model.dropout=0.1|0.2")], [])
    with pytest.raises(InputError, match=r"remove --model\.dropout or the range"):
        check_once([one], ["--model.dropout=0.1"])
