"""Requests that cannot be answered get a status code and a sentence."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx
from fastapi.testclient import TestClient as Client
from starlette.websockets import WebSocketDisconnect

from srulight.runtime.errors import InputError
from srulight.serving.limits import Limits
from tests.serving.servers import application, client, running, wait_for
from tests.serving.test_tasks import STREAM, numbers_only, recognizer, recording
from tests.tasks.language_modeling.test_task import make as language_model
from tests.tasks.question_answering.test_task import make as reader
from tests.tasks.text_classification.test_task import make as classifier
from tests.tasks.video_prediction import models as videos

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def asked() -> Iterator[Client]:
    with client(classifier(), max_body=0.01, max_inputs=3, max_characters=1000, timeout=5) as asked:
        yield asked


def refused(response: Any, status: int) -> str:  # noqa: ANN401
    """The error of a response, which has nothing else."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (said,) = response.json().items()
    assert said[0] == "error"
    assert "Traceback" not in said[1]
    assert "\n" not in said[1]
    assert len(said[1]) < 300
    return str(said[1])


@pytest.mark.parametrize(
    "body",
    [b"", b'{"inputs": ', b"\xff\xfe", b'{"inputs": [NaN]}', b"[" * 5000, b'{"n": ' + b"9" * 5000],
    ids=["empty", "half", "no UTF-8", "NaN", "deep", "long number"],
)
def test_a_body_that_is_not_json(asked: Client, body: bytes) -> None:
    refused(asked.post("/v1/predict", content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (["a"], "expected a JSON object, got an array of 1 items"),
        ({}, "inputs must be an array, got null"),
        ({"inputs": "good"}, 'inputs must be an array, got "good"'),
        ({"inputs": []}, "inputs must have at least one item, got none"),
        ({"inputs": ["a", 3]}, "inputs[1] must be a string, got 3"),
        ({"inputs": [{"a": 1}]}, "inputs[0] must be a string, got an object of 1 items"),
        ({"inputs": ["a"], "text": 1}, "expected the fields inputs, probabilities, got"),
        ({"inputs": ["a"], "probabilities": 1}, "probabilities must be a boolean, got 1"),
    ],
)
def test_a_wrong_field(asked: Client, body: Any, said: str) -> None:  # noqa: ANN401
    assert refused(asked.post("/v1/predict", json=body), 422).startswith(said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": ["a" * 20_000]}, "expected a body of at most 10000 bytes"),
        ({"inputs": ["a" * 1001]}, "inputs[0] must have at most 1000 characters, got 1001"),
        ({"inputs": ["a"] * 4}, "inputs must have at most 3 items, got 4"),
    ],
)
def test_a_request_that_is_too_large(asked: Client, body: Any, said: str) -> None:  # noqa: ANN401
    assert refused(asked.post("/v1/predict", json=body), 413).startswith(said)


@pytest.mark.parametrize("kind", ["text/plain", "audio/wav", "", "application/json2"])
def test_another_content_type(asked: Client, kind: str) -> None:
    response = asked.post("/v1/predict", content=b"{}", headers={"content-type": kind})
    assert "expected the content type application/json" in refused(response, 415)


def test_another_path_or_method(asked: Client) -> None:
    assert "there is no GET /v1/nothing" in refused(asked.get("/v1/nothing"), 404)
    assert "there is no GET /v1/predict" in refused(asked.get("/v1/predict"), 405)


def test_numbers_that_are_out_of_range() -> None:
    with client(language_model(), max_length=50) as asked:
        for body, said in [
            ({"length": 51}, "length must be 0 to 50, got 51"),
            ({"length": 1.5}, "length must be an integer, got 1.5"),
            ({"temperature": -1}, "temperature must be 0 to 1000, got -1"),
            ({"seed": True}, "seed must be an integer, got true"),
            ({"top_p": 0}, "top_p must be 1e-09 to 1, got 0"),
            ({"prompt": 3}, "prompt must be a string, got 3"),
        ]:
            assert refused(asked.post("/v1/generate", json=body), 422) == said


def test_a_question_without_words_or_passage() -> None:
    with client(reader()) as asked:
        for one, said in [
            ({"question": "", "passage": "a"}, "inputs[0].question must have words"),
            ({"question": "a"}, "inputs[0].passage must be a string, got null"),
            ({"question": "a", "passage": " "}, "text must have words"),
            ("a", "inputs[0] must be an object"),
        ]:
            answer = refused(asked.post("/v1/predict", json={"inputs": [one]}), 422)
            assert answer.startswith(said)


def test_steps_of_another_form() -> None:
    with client(numbers_only(), max_steps=3) as asked:
        for one, status, said in [
            ([[1, 2, 3]], 422, "inputs[0]: expected the shape (T, 2)"),
            ([[1, 2], [3]], 422, "inputs[0]: expected numbers"),
            ([["a", "b"]], 422, "inputs[0]: expected numbers"),
            ([], 422, "inputs[0]: expected"),
            ({"temperature": [1]}, 422, "inputs[0]: expected a column 'pressure'"),
            (3, 422, "inputs[0] must be an array"),
            ([[1, 2]] * 4, 413, "inputs[0] must have at most 3 steps, got 4"),
        ]:
            answer = refused(asked.post("/v1/predict", json={"inputs": [one]}), status)
            assert answer.startswith(said)


def test_recordings_that_cannot_be_used() -> None:
    with client(recognizer(), max_seconds=0.5) as asked:
        whole = recording()
        for data, status, said in [
            (b"", 422, "expected a recording as the body, got nothing"),
            (b"no audio", 422, "recording: expected audio, got"),
            (whole[:2000], 422, "recording: expected"),  # the header states more
            (whole, 413, "a recording must have at most 0.5 seconds"),
        ]:
            response = asked.post(
                "/v1/predict", content=data, headers={"content-type": "audio/wav"}
            )
            assert refused(response, status).startswith(said)
        refused(asked.post("/v1/predict", json={"inputs": ["a"]}), 415)


def test_a_playlist_is_no_video() -> None:
    # FFmpeg would read the files that it names.
    with client(videos.make()) as asked:
        data = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
        response = asked.post("/v1/predict", content=data, headers={"content-type": "video/mp4"})
        assert refused(response, 422).startswith("expected a .mp4 file")


def test_one_bad_input_fails_only_its_own_request() -> None:
    with client(reader(), wait=0.2) as asked:
        bodies = [{"question": "a", "passage": passage} for passage in ("a b", " ", "c d")]
        found: dict[int, int] = {}

        def post(i: int) -> None:
            found[i] = asked.post("/v1/predict", json={"inputs": [bodies[i]]}).status_code

        threads = [threading.Thread(target=post, args=[i]) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {0: 200, 1: 422, 2: 200}


def test_an_unexpected_error_is_no_traceback() -> None:
    task = classifier()
    task.predict = lambda *_: 1 / 0  # type: ignore[assignment]
    with application(task) as app:
        asked = Client(app, base_url="http://localhost")
        said = refused(asked.post("/v1/predict", json={"inputs": ["a"]}), 500)
        assert said == "an unexpected error, which the log of the server shows"
        assert [type(error) for error in app.errors] == [ZeroDivisionError]


def test_a_token_is_needed() -> None:
    with client(classifier(), token="s3cret") as asked:
        for given in ("", "Bearer wrong", "Bearer s3cre", "Basic s3cret", "s3cret"):
            response = asked.post(
                "/v1/predict", json={"inputs": ["a"]}, headers={"authorization": given}
            )
            assert "expected the token" in refused(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        assert asked.get("/metrics").status_code == 401
        assert asked.get("/health").json() == {"status": "ok"}
        right = {"authorization": "Bearer s3cret", "host": "models.example"}
        assert asked.get("/v1/model", headers=right).status_code == 200
    with (
        client(numbers_only(), token="s3cret") as asked,
        pytest.raises(WebSocketDisconnect),
        asked.websocket_connect(STREAM),
    ):
        pass


def test_pages_of_other_sites_are_refused(asked: Client) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
        refused(asked.get("/v1/model", headers=headers), 403)
    for host in ("127.0.0.1:8000", "[::1]:8000", "localhost"):
        headers = {"host": host, "origin": f"http://{host}"}
        assert asked.get("/v1/model", headers=headers).status_code == 200


class Held:
    """A classifier whose model waits until it is released."""

    def __init__(self) -> None:
        self.task = classifier()
        self.sizes: list[int] = []
        self.released = threading.Event()
        predict = self.task.predict

        def wait(inputs: list[str], batch_size: int = 64) -> list[Any]:
            self.sizes.append(len(inputs))
            self.released.wait(10)
            return predict(inputs, batch_size)

        self.task.predict = wait  # type: ignore[assignment,method-assign]


def test_a_late_answer_and_a_full_queue() -> None:
    held = Held()
    with client(held.task, timeout=0.3, max_queue=1) as asked:
        statuses = []

        def post() -> None:
            statuses.append(asked.post("/v1/predict", json={"inputs": ["a"]}))

        threads = [threading.Thread(target=post) for _ in range(3)]
        for count, thread in enumerate(threads):
            thread.start()
            if count == 0:
                wait_for(lambda: held.sizes == [1])
        for thread in threads:
            thread.join()
        held.released.set()
        assert sorted(one.status_code for one in statuses) == [503, 504, 504]
        for one in statuses:
            refused(one, one.status_code)
            assert one.headers.get("retry-after") == ("1" if one.status_code == 503 else None)
        assert asked.post("/v1/predict", json={"inputs": ["a"]}).status_code == 200
        assert held.sizes == [1, 1]  # what nobody waited for was not computed


def test_streams_end_with_a_sentence() -> None:
    with client(recognizer(), timeout=0.2, max_seconds=0.1, max_streams=1) as asked:
        with asked.websocket_connect(STREAM) as stream:
            stream.receive_json()
            with asked.websocket_connect(STREAM) as other:
                assert "at most 1 streams" in other.receive_json()["error"]
            for message, said in [(b"abc", "odd number"), (bytes(2000), "at most 0.1 seconds")]:
                stream.send_bytes(message)
                assert said in stream.receive_json()["error"]
            for text, said in [("{", "expected JSON"), ('{"a": 1}', "expected the fields end")]:
                stream.send_text(text)
                assert said in stream.receive_json()["error"]
            assert "within 0.2 seconds" in stream.receive_json()["error"]
        with asked.websocket_connect(STREAM) as stream:  # the first one has ended
            assert "sample_rate" in stream.receive_json()


def test_clients_that_go_away() -> None:
    held = Held()
    with application(held.task) as app, running(app) as port:
        body = json.dumps({"inputs": ["good"]}).encode()
        head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for part in (body, body[:3], body):  # a whole one, half of one, one that waits
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + part)
                if part == body:
                    wait_for(lambda: bool(held.sizes))
                time.sleep(0.05)
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: 'status="499"} 3' in httpx.get(f"{address}/metrics").text)
        held.released.set()
        answer = httpx.post(f"{address}/v1/predict", json={"inputs": ["good", "bad"]})
        assert len(answer.json()["answers"]) == 2
        assert held.sizes == [1, 2]
        assert app.errors == []


def test_a_text_of_ten_megabytes() -> None:
    with client(classifier()) as asked:
        for size, said in [
            (9_900_000, "inputs[0] must have at most 20000 characters, got 9900000"),
            (10_000_000, "expected a body of at most 10000000 bytes"),
        ]:
            body = b'{"inputs": ["' + b"a" * size + b'"]}'
            response = asked.post("/v1/predict", content=body, headers=JSON)
            assert refused(response, 413).startswith(said)


def test_a_compressed_body(asked: Client) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    response = asked.post("/v1/predict", content=b'{"inputs": ["good"]}', headers=headers)
    assert refused(response, 415).startswith("expected no content encoding, got gzip")


def test_numbers_that_overflow() -> None:
    huge = "1" + 400 * "0"
    with client(numbers_only()) as asked:
        for rows, status in [
            (f"[[{huge}, 1]]", 422),
            ("[[1e400, 1]]", 422),
            ("[[1e308, -1e308]]", 200),
        ]:
            body = f'{{"inputs": [{rows}]}}'
            assert asked.post("/v1/predict", content=body, headers=JSON).status_code == status
    task = language_model()
    with client(task) as asked:
        found = []
        for temperature in ("0", "1e-300"):
            body = f'{{"prompt": "the", "length": 5, "temperature": {temperature}}}'
            found.append(asked.post("/v1/generate", content=body, headers=JSON).json()["text"])
        assert found[0] == found[1]
        body = '{"prompt": "the", "temperature": 1e400}'
        refused(asked.post("/v1/generate", content=body, headers=JSON), 422)


def test_limits_are_checked() -> None:
    with pytest.raises(InputError, match=r"^--max_inputs must be at least 1, got 0$"):
        Limits(max_inputs=0)
    with pytest.raises(InputError, match=r"^--timeout must be at least 0\.001, got nan$"):
        Limits(timeout=float("nan"))
