"""Concurrent requests share batches, and are counted."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx
from lightning import Trainer

from srulight.cli import main
from srulight.serving.batcher import Batcher, Job
from srulight.serving.limits import RequestError
from srulight.serving.metrics import Metrics
from srulight.serving.page import FILES
from tests.documents import ROOT
from tests.serving.servers import application, client, running, wait_for
from tests.tasks.text_classification.test_task import make as classifier


class Model:
    """Returns its inputs, and waits until it is released."""

    def __init__(self, is_held: bool = True) -> None:
        self.batches: list[list[Any]] = []
        self.released = threading.Event()
        if not is_held:
            self.released.set()

    def __call__(self, inputs: list[Any], options: Any) -> list[Any]:  # noqa: ANN401
        self.batches.append(inputs)
        self.released.wait(10)
        if "bad" in inputs:
            raise ValueError(f"{len(inputs)} inputs")
        return [(one, options) for one in inputs]


def computed(model: Model, jobs: list[Job], batch_size: int, wait: float = 0.0) -> list[Any]:
    """Lets jobs wait while the first one is computed, and gives the futures' results."""
    metrics = Metrics()
    with Batcher(model, batch_size, wait, 100, metrics) as batcher:
        batcher.submit(jobs[0])
        wait_for(lambda: bool(model.batches) or model.released.is_set())
        for job in jobs[1:]:
            batcher.submit(job)
        model.released.set()
        return [job.future.exception(10) or job.future.result() for job in jobs]


def test_jobs_that_wait_share_batches_in_order() -> None:
    model = Model()
    jobs = [Job([str(i)] * count, None) for i, count in enumerate([1, 2, 2, 1, 7, 1])]
    results = computed(model, jobs, 4)
    # The third job does not fit behind the second one and the fourth does: 2 + 2 = 4, then 1.
    assert [len(batch) for batch in model.batches] == [1, 4, 2, 7]
    assert model.batches[1:3] == [["1", "1", "2", "2"], ["3", "5"]]
    assert results == [[(one, None) for one in job.inputs] for job in jobs]


def test_options_do_not_mix() -> None:
    model = Model()
    jobs = [Job(["x"], option) for option in ("a", "a", "b", "a", "b")]
    results = computed(model, jobs, 10)
    assert [len(batch) for batch in model.batches] == [1, 2, 2]
    assert [options for ((_, options),) in results] == ["a", "a", "b", "a", "b"]


def test_a_bad_job_fails_alone() -> None:
    model = Model()
    results = computed(model, [Job([one], None) for one in ("x", "a", "bad", "c")], 10)
    assert results[1] == [("a", None)]
    assert str(results[2]) == "1 inputs"
    assert results[3] == [("c", None)]


def test_calls_and_abandoned_jobs() -> None:
    model = Model()
    gone = Job(["gone"], None)
    called = Job((), None, lambda job: job.is_abandoned)
    gone.abandon()
    with Batcher(model, 10, 0.0, 100, Metrics()) as batcher:
        first = batcher.submit(Job(["a"], None))
        wait_for(lambda: bool(model.batches))
        for job in (gone, called, Job(["b"], None)):
            batcher.submit(job)
        model.released.set()
        assert first.future.result(10) == [("a", None)]
        assert called.future.result(10) is False
    with pytest.raises(CancelledError):
        gone.future.result()
    assert ["gone"] not in model.batches


def test_the_thread_waits_for_a_full_batch_but_not_longer() -> None:
    model = Model(is_held=False)
    with Batcher(model, 3, 5.0, 100, Metrics()) as batcher:
        start = time.monotonic()
        jobs = [batcher.submit(Job([str(i)], None)) for i in range(3)]
        assert jobs[2].future.result(10)
        assert time.monotonic() - start < 2  # a full batch does not wait
    model = Model(is_held=False)
    with Batcher(model, 3, 0.1, 100, Metrics()) as batcher:
        start = time.monotonic()
        assert batcher.submit(Job(["0"], None)).future.result(10)
        assert 0.09 < time.monotonic() - start < 2
    assert model.batches == [["0"]]


def test_a_full_queue_and_a_stopped_one() -> None:
    model = Model()
    with Batcher(model, 1, 0.0, 1, Metrics()) as batcher:
        batcher.submit(Job(["a"], None))
        wait_for(lambda: bool(model.batches))
        waiting = batcher.submit(Job(["b"], None))
        with pytest.raises(RequestError, match="expected at most 1 waiting requests") as refused:
            batcher.submit(Job(["c"], None))
        assert refused.value.status == 503
        model.released.set()
        waiting.future.result(10)
    with pytest.raises(RequestError, match="stopping"):
        batcher.submit(Job(["d"], None))


def test_threads_get_what_predict_returns() -> None:
    task = classifier()
    texts = [" ".join(["good", "bad", "film", "x"][: 1 + i % 4]) * (1 + i % 3) for i in range(24)]
    found: dict[int, Any] = {}
    with client(task, wait=0.02, batch_size=8) as asked:

        def post(first: int) -> None:
            for i in range(first, len(texts), 6):
                response = asked.post("/v1/predict", json={"inputs": [texts[i]]})
                found[i] = response.json()["answers"][0]

        threads = [threading.Thread(target=post, args=[first]) for first in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = asked.get("/metrics").text
    expected = [task.predict([text])[0] for text in texts]
    for i, one in enumerate(expected):
        assert found[i]["prediction"] == one.label
        assert found[i]["probability"] == pytest.approx(one.probability, abs=6e-5)
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
    assert lines["srulight_batch_inputs_sum"] == "24"
    assert int(lines["srulight_batch_inputs_count"]) < 20  # requests did share batches
    assert lines['srulight_requests_total{path="/v1/predict",status="200"}'] == "24"


def test_metrics_are_in_the_format_of_prometheus() -> None:
    metrics = Metrics()
    metrics.count_request("/v1/predict", 200, 0.0025)
    metrics.count_request("/v1/predict", 200, 0.3)
    metrics.count_request("other", 404, 60)
    metrics.count_batch(5)
    metrics.gauges["srulight_queue_length", "Requests that wait."] = lambda: 3
    lines = metrics.text().splitlines()
    for line in [
        "# TYPE srulight_requests_total counter",
        'srulight_requests_total{path="/v1/predict",status="200"} 2',
        'srulight_requests_total{path="other",status="404"} 1',
        "# TYPE srulight_request_seconds histogram",
        'srulight_request_seconds_bucket{le="0.001"} 0',
        'srulight_request_seconds_bucket{le="0.0025"} 1',
        'srulight_request_seconds_bucket{le="0.25"} 1',
        'srulight_request_seconds_bucket{le="0.5"} 2',
        'srulight_request_seconds_bucket{le="30"} 2',
        'srulight_request_seconds_bucket{le="+Inf"} 3',
        "srulight_request_seconds_sum 60.3025",
        "srulight_request_seconds_count 3",
        'srulight_batch_inputs_bucket{le="4"} 0',
        'srulight_batch_inputs_bucket{le="8"} 1',
        "# TYPE srulight_queue_length gauge",
        "srulight_queue_length 3",
    ]:
        assert lines.count(line) == 1


def test_the_description_and_the_page() -> None:
    with client(classifier()) as asked:
        described = asked.get("/openapi.json").json()
        page = asked.get("/")
        parts = {name: asked.get(f"/page/{name}") for name in FILES}
        assert asked.get("/page/index.html").status_code == 404
        assert asked.get("/page/..%2f__init__.py").status_code == 404
        assert asked.get("/docs").status_code == 200
    content = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    assert schema["properties"]["inputs"]["items"]["type"] == "string"
    assert set(schema["properties"]) == {"inputs", "probabilities"}
    assert "<h1>Text classification</h1>" in page.text
    assert "{{" not in page.text
    loaded = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert loaded == ["page/style.css", "page/main.js"]
    assert [one.status_code for one in parts.values()] == [200] * len(FILES)
    imported = {name for one in parts.values() for name in re.findall(r'from "./(.+?)"', one.text)}
    assert {"charts.js", "resampler.js"} <= imported <= set(FILES)
    for one in (page, *parts.values()):
        policy = one.headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert one.headers["x-content-type-options"] == "nosniff"


def test_requests_finish_before_the_server_stops() -> None:
    task = classifier()
    predict = task.predict
    started = threading.Event()

    def slow(*args: Any) -> Any:  # noqa: ANN401
        started.set()
        time.sleep(0.3)
        return predict(*args)

    task.predict = slow  # type: ignore[assignment,method-assign]
    found: list[int] = []
    with application(task) as app:
        with running(app) as port:
            address = f"http://127.0.0.1:{port}/v1/predict"
            thread = threading.Thread(
                target=lambda: found.append(httpx.post(address, json={"inputs": ["a"]}).status_code)
            )
            thread.start()
            assert started.wait(10)
        thread.join()
        with pytest.raises(httpx.ConnectError):
            httpx.post(address, json={"inputs": ["a"]})
    assert found == [200]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "model.ckpt"
    trainer = Trainer(logger=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier())
    trainer.save_checkpoint(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command(checkpoint: Path, number: signal.Signals) -> None:
    words = [sys.executable, "train.py", "serve", f"--ckpt_path={checkpoint}", "--port=0"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("serving at "))
        address = line.split()[2].rstrip(",")
        response = httpx.post(f"{address}/v1/predict", json={"inputs": ["good"]}, timeout=60)
        assert response.status_code == 200
        body = b'{"inputs": ["good"]}'
        head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head + body[:5])
            httpx.get(f"{address}/health", timeout=60)  # by now, it has read what came before
            os.kill(process.pid, number)
            time.sleep(0.5)
            connection.sendall(body[5:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert process.wait(120) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host=0.0.0.0"], "--host=0.0.0.0 needs a token"),
        (["--token="], "--token must be ASCII text without spaces"),
        (["--port=70000"], "--port must be 0 to 65535, got 70000"),
        (["--batch_size=0"], "--batch_size must be at least 1, got 0"),
        (["--max_body=-1"], "--max_body must be at least 0.001, got -1.0"),
        (["--host=256.1.1.1", "--token=a"], "cannot listen on 256.1.1.1, port 8000"),
        (["--port=0"], "there is no checkpoint none.ckpt"),
    ],
)
def test_options_are_checked_first(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SRULIGHT_TOKEN", raising=False)
    with pytest.raises(SystemExit, match=said):
        main(["serve", "--ckpt_path=none.ckpt", *options])


def test_a_port_that_is_taken(checkpoint: Path) -> None:
    with (
        application(classifier()) as app,
        running(app) as port,
        pytest.raises(SystemExit, match=rf"cannot listen on 127\.0\.0\.1, port {port}: Address"),
    ):
        main(["serve", f"--ckpt_path={checkpoint}", f"--port={port}"])
