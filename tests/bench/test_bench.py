"""The command ``bench``: its tables, files and errors, with tiny sizes and with known times."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from srulight.bench import chart, machine, measure, report
from srulight.bench.cases import Case
from srulight.bench.contenders import Contender
from srulight.bench.layers import BOUNDS, BUILT_IN, LAYERS
from srulight.bench.measure import TICKS, Result
from srulight.bench.report import Report
from srulight.bench.timing import Run
from srulight.cli import main

TINY = ["--length=4", "--width=8", "--batch=2", "--seconds=0"]
SECONDS = {"SRU": 2e-3, "LSTM": 5e-3, "Conv1d-k3": 1.9e-3, "products": 1.6e-3, "copy": 0.2e-3}


def known(
    runs: dict[str, Run], warm: dict[str, float], seconds: float, least: int, *_: str
) -> Iterator[tuple[float, dict[str, float]]]:
    """Says how long each contender took, whatever it took; the last round is twice as slow."""
    for number in range(1, 7):
        yield number / 6, {name: SECONDS[name] * (1 + (number == 6)) for name in runs}


def measured(monkeypatch: pytest.MonkeyPatch, case: Case, *names: str) -> Result:
    monkeypatch.setattr(measure, "rounds", known)
    chosen: list[Contender] = [LAYERS[n] if n in LAYERS else BOUNDS[1] for n in names]
    *ticks, result = measure.measure(case, chosen, "SRU", 0)
    assert ticks == [None] * (TICKS - 1)
    assert result is not None
    return result


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> Result:
    return measured(monkeypatch, Case("training", 4, 8, 2), *SECONDS)


def test_times_become_ratios_and_shares(result: Result) -> None:
    assert result.rounds == 6
    lstm, sru = result.timings["LSTM"], result.timings["SRU"]
    # The interval of six values is their range, and in a round all are equally slow.
    assert lstm.seconds == pytest.approx((5e-3, 5e-3, 10e-3))
    assert lstm.ratio == pytest.approx((2.5, 2.5, 2.5))
    assert (lstm.floor, lstm.share) == (None, None)
    assert sru.floor == pytest.approx((1.8e-3, 1.8e-3, 3.6e-3))
    assert sru.share == pytest.approx((0.9, 0.9, 0.9))
    # The floor of a convolution is the product alone: 1.6 / 1.9.
    assert result.timings["Conv1d-k3"].share == pytest.approx((16 / 19,) * 3)
    # 14 numbers of 4 bytes for each of 64 elements, in 0.2 ms.
    assert result.bandwidth == pytest.approx(14 * 4 * 64 / 0.2e-3)


def test_a_table_has_a_column_per_figure(result: Result) -> None:
    text = report.aligned(report.rows([result]))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert len({len(line) for line in text.splitlines()}) == 1
    assert lines[0] == ["layer", "forward + backward, ms", "/ SRU [95%]", "share of floor"]
    assert lines[2] == ["SRU", "2", "1.00 [1.00, 1.00]", "90%"]
    assert lines[3] == ["LSTM", "5", "2.50 [2.50, 2.50]", "-"]
    assert report.claim([result]) == [
        "forward + backward: an LSTM takes 2.50 [2.50, 2.50] times as long as an SRU, and a "
        "Conv1d-k3 0.95 [0.95, 0.95] times"
    ]


def test_passes_stand_side_by_side(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    other = measured(monkeypatch, Case("forward", 4, 8, 2), "SRU", "products", "copy")
    rows = report.rows([other, result])
    assert [name.strip() for name in rows[0]] == [
        "layer", "forward, ms", "/ SRU [95%]", "share of floor",
        "forward + backward, ms", "/ SRU [95%]", "share of floor",
    ]  # fmt: skip
    by_name = {row["layer"]: list(row.values())[1:] for row in rows}
    assert by_name["LSTM"] == [None, None, None, "5", "2.50 [2.50, 2.50]", None]


def report_of(*groups: list[Result]) -> Report:
    return Report(
        "python train.py bench", "2026-11-29", {"processor": "P", "instructions": "I", "cores": 2},
        {"srulight": "0", "torch": "1"}, "abc", {"minGRU": ["minGRU_pytorch"]}, list(groups),
    )  # fmt: skip


def test_the_json_file_has_everything(result: Result, tmp_path: Path) -> None:
    result.skipped["ONNX-LSTM"] = "inference only"
    paths = report_of([result]).write(tmp_path)
    assert paths == [tmp_path / "bench.md", tmp_path / "bench.json"]
    data = json.loads(paths[1].read_text())
    (one,) = data.pop("results")
    assert data == {
        "format": 1, "command": "python train.py bench", "date": "2026-11-29", "commit": "abc",
        "machine": {"processor": "P", "instructions": "I", "cores": 2},
        "versions": {"srulight": "0", "torch": "1"},
        "not_installed": {"minGRU": ["minGRU_pytorch"]},
    }  # fmt: skip
    contenders = one.pop("contenders")
    assert one.pop("copy_bytes_per_second") == pytest.approx(17_920_000)
    assert one == {
        "pass": "training", "length": 4, "width": 8, "batch": 2, "dtype": "float32", "threads": 1,
        "device": "cpu", "compiled": False, "clock": "wall", "reference": "SRU", "rounds": 6,
        "skipped": {"ONNX-LSTM": "inference only"},
    }  # fmt: skip
    assert list(contenders) == list(SECONDS)
    assert set(contenders["SRU"]) == {"seconds", "ratio", "floor", "share"}
    assert contenders["SRU"]["share"] == pytest.approx({"median": 0.9, "low": 0.9, "high": 0.9})
    assert contenders["LSTM"]["floor"] is None
    text = paths[0].read_text()
    assert "P (I, 2 cores), srulight 0, torch 1, 2026-11-29" in text
    assert "not installed: minGRU (minGRU_pytorch)" in text
    assert "not measured in forward + backward: ONNX-LSTM (inference only)" in text
    # The slow round makes the interval of the time, 2 to 4 ms, wider than a fifth of its median.
    assert "the time of SRU varies by more than 20% in 1 of 1 measurements" in text


def test_the_chart_has_a_bar_per_layer(
    monkeypatch: pytest.MonkeyPatch, result: Result, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    other = measured(monkeypatch, Case("step", 1, 8, 1), "SRU", "LSTM")
    paths = chart.draw([[result], [other]], ["SRU", "products", "copy"], "P & Q", tmp_path)
    assert [path.name for path in paths] == ["bench.png", "bench.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    svg = ElementTree.parse(paths[1])
    text = [node.text for node in svg.iter() if node.text and node.tag.endswith("text")]
    assert text.count("LSTM") == 2
    assert "P & Q" in text
    assert "copy" not in text
    assert any("2.50 x" in one for one in text if one)


def test_bench_prints_ratios_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "minGRU_pytorch", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("srulight.commands.bench.module_available", lambda _: False)
    threads = torch.get_num_threads()
    folder = tmp_path / "new" / "folder"
    names = ["SRU", "LSTM", "Conv1d-k3", "minGRU", "ONNX-LSTM"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    main(["bench", *TINY, f"--output={folder}", "--contenders", *names])
    out = capsys.readouterr().out
    assert torch.get_num_threads() == threads
    assert (
        'no chart will be drawn without matplotlib; install it: pip install "srulight[plot]"' in out
    )
    assert "\nlength 4, width 8, batch 2, float32, 1 thread\n" in out
    assert "\none step of one stream, width 8, float32, 1 thread\n" in out
    assert "\nnot installed: minGRU (minGRU_pytorch); ONNX-LSTM (onnxruntime, onnx)\n" in out
    rows = re.findall(r"^\| (\S+) +\|", out, re.MULTILINE)
    # The lower bounds of SRU came along.
    assert [name for name in rows if name != "layer"] == [
        "SRU", "LSTM", "Conv1d-k3", "products", "copy", "SRU", "LSTM", "products", "copy",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "bench.md"]
    data = json.loads((folder / "bench.json").read_text())
    assert data["command"].endswith(f"bench {' '.join(TINY)} --output={folder} --contenders SRU "
                                    "LSTM Conv1d-k3 minGRU ONNX-LSTM")  # fmt: skip
    assert data["versions"]["torch"] == torch.__version__
    assert [one["pass"] for one in data["results"]] == ["forward", "training", "step"]
    for one in data["results"]:
        for timing in one["contenders"].values():
            assert 0 < timing["seconds"]["low"] <= timing["seconds"]["median"]
            assert timing["seconds"]["median"] <= timing["seconds"]["high"]


def test_one_that_fails_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "bench",
            *TINY,
            "--width=7",
            "--passes=forward",
            "--contenders",
            "SRU-bidirectional",
            "SRU",
        ]
    )
    out = capsys.readouterr().out
    assert "not measured in forward: SRU-bidirectional (needs an even width)\n" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--width 0", "width must be 1 to 16777216, got 0"),
        ("--dtype float64", "dtype must be some of float32, bfloat16, float16, got 'float64'"),
        ("--threads 100000", r"threads must be 1 to \d+, got 100000"),
        ("--rounds 5", "rounds must be 6 to 1000000, got 5"),
        ("--seconds=-1", "seconds must be 0 to 86400, got -1.0"),
        ("--contenders SRU Conv1d", "there is no layer 'Conv1d'; did you mean Conv1d-k3"),
        ("--contenders LSTM", "reference must be one of the contenders, got 'SRU'; add it to"),
        ("--passes step --compile yes", "single steps are not compiled; pass --compile=no"),
        ("--clock sun", "clock must be wall or cpu, got 'sun'"),
        ("--clock cpu --device cpu --threads 1 1", "clock must be wall on a GPU or with several"),
        ("--device meta", "device must be cpu or cuda, got 'meta'"),
        ("--output {file}/x", "output must be a folder that can be written, got "),
        (
            "--reference minGRU",
            "reference must be installed, got 'minGRU', which needs the package",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    options: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "minGRU_pytorch", None)
    monkeypatch.setattr("srulight.commands.bench.measure", lambda *_: pytest.fail("it runs"))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=said):
        main(["bench", *options.format(file=tmp_path / "file").split()])


def test_an_unknown_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--lenght=3"])
    assert "bench has no option --lenght; did you mean --length?" in capsys.readouterr().err


def test_too_little_memory_is_told() -> None:
    case = Case("forward", 2**40, 2**20, 2**10)
    with pytest.raises(ValueError, match="not enough memory for length 1099511627776, width"):
        list(measure.measure(case, [LAYERS["SRU"]], "SRU", 0))


def test_an_error_of_srulight_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Case) -> Run:
        raise RuntimeError("it broke")

    for name, ours in (("LSTM", False), ("SRU", True)):
        monkeypatch.setitem(vars(LAYERS[name]), "prepare", fail)
        if ours:
            with pytest.raises(RuntimeError, match="it broke"):
                measure.prepare(Case("forward", 2, 8, 1), [LAYERS[name]])
        else:
            skipped = measure.prepare(Case("forward", 2, 8, 1), [LAYERS[name]])[2]
            assert skipped == {name: "cannot run here: it broke"}


def test_the_help_lists_layers_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--help"])
    out = capsys.readouterr().out
    for one in BUILT_IN:
        assert f"  {one.name} " in out
    assert "--streams STREAMS [STREAMS ...]" in out


def test_the_machine_is_described() -> None:
    found = machine.describe("cpu")
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["instructions"] in {"DEFAULT", "AVX2", "AVX512", "NO AVX", "SVE256"} or found
