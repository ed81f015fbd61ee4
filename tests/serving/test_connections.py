"""Connections that break the protocol end, and many at once are answered."""

import json
import os
import socket
import time

import pytest

pytest.importorskip("fastapi")

import httpx
import serving

from tests.serving.servers import application, running, wait_for
from tests.serving.test_tasks import recognizer
from tests.tasks.text_classification.test_task import make as classifier


def raw(port: int, *parts: bytes, gap: float = 0.0) -> tuple[int, str]:
    """Sends bytes, and gives the status and the error of the answer; 0 if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(gap)
        answer = b""
        while piece := connection.recv(65536):  # until the server closes the connection
            answer += piece
    if not answer:
        return 0, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


def test_connections_that_never_become_requests() -> None:
    late = "expected the whole request within 0.3 seconds, got a part of it"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with application(classifier(), timeout=0.3) as app, running(app) as port:
        assert raw(port) == (0, "")  # silent
        assert raw(port, *(head[i : i + 1] for i in range(12)), gap=0.02) == (408, late)
        assert raw(port, head + b"Content-Length: 9\r\nConnection: close\r\n\r\n{") == (408, late)
        for other in (
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            head + b"Content-Length: x\r\n\r\n",
        ):
            assert raw(port, other) == (400, "expected a request of HTTP/1.1, got other data")
        many = b"".join(b"X-%d: a\r\n" % i for i in range(9000))
        assert raw(port, head + many)[0] == 400
        # A second request on the same connection has as much time, and the first is answered.
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_for(lambda: b"ok" in connection.recv(4096))
            connection.sendall(b"GET /hea")
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")
        assert app.errors == []
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200


def test_pipelined_requests_are_answered_in_order() -> None:
    with application(classifier()) as app, running(app) as port:
        bodies = [b'{"inputs": ["good"]}', b'{"inputs": [3]}', b'{"inputs": ["bad", "good"]}']
        request = (
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            for body in bodies:
                connection.sendall(request + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answers = b""
            while answers.count(b"HTTP/1.1") < 3 or not answers.endswith(b"}"):
                answers += connection.recv(65536)
    assert [part.split()[0] for part in answers.split(b"HTTP/1.1")[1:]] == [b"200", b"422", b"200"]
    assert answers.rpartition(b"HTTP/1.1")[2].count(b"prediction") == 2


def test_streams_of_broken_frames() -> None:
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3J1bGlnaHQgaXMgc21hbA==\r\n"
    head = b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n" + key
    mask = bytes(4)
    with application(recognizer(), max_body=0.01) as app, running(app) as port:
        for frame, code in [
            (b"\x81\x82" + mask + b"\xff\xfe", 1007),  # no UTF-8
            (b"\x82\x02ab", 1002),  # without a mask
            (b"\x82\xff" + (2**62).to_bytes(8, "big") + mask, 1009),  # too large
        ]:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(head + b"Connection: Upgrade\r\n\r\n")
                answer = b""
                while b"sample_rate" not in answer:
                    answer += connection.recv(4096)
                connection.sendall(frame)
                while piece := connection.recv(4096):
                    answer += piece
                assert b"\x88" in answer
                assert code.to_bytes(2, "big") in answer.rpartition(b"\x88")[2]
        wait_for(lambda: "srulight_streams 0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        assert app.errors == []


@pytest.mark.slow
def test_many_requests_at_once() -> None:
    with application(classifier()) as app, running(app) as port:
        found = serving.python_client(port, b'{"inputs": ["good film"]}', 500, 60.0, 500)
        assert found.failed == 0
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'srulight_requests_total{path="/v1/predict",status="200"} 500' in text
        assert app.errors == []


@pytest.mark.slow(minutes=1)
def test_memory_does_not_grow() -> None:
    with application(classifier()) as app, running(app) as port:

        def ask(count: int) -> float:
            body = b'{"inputs": ["good film"], "probabilities": true}'
            found = serving.python_client(port, body, 32, 300.0, count)
            assert found.failed == 0
            return serving.memory(os.getpid())

        before = ask(2000)  # buffers grow at first
        assert ask(10_000) - before < 20
