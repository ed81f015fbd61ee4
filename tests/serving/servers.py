"""Small servers for the tests: tasks that have not been trained, and clients of them."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient as Client

from srulight.serving.app import build_app
from srulight.serving.batcher import Batcher
from srulight.serving.limits import Limits
from srulight.serving.metrics import Metrics
from srulight.serving.server import new_server
from srulight.serving.services import service_of


@contextmanager
def application(
    task: Any,  # noqa: ANN401
    token: str | None = None,
    batch_size: int = 8,
    wait: float = 0.0,
    **limits: Any,  # noqa: ANN401
) -> Iterator[Any]:
    """Gives the application of a task, with the thread that computes its answers."""
    allowed = Limits(**limits)
    service = service_of(task, allowed)
    metrics = Metrics()

    def answer(inputs: list[Any], options: Any) -> list[Any]:  # noqa: ANN401
        return service.answer(inputs, dict(options))

    errors: list[Exception] = []
    with Batcher(answer, batch_size, wait, allowed.max_queue, metrics) as batcher:
        app = build_app(service, batcher, allowed, metrics, token, errors.append)
        app.errors, app.limits = errors, allowed
        yield app


@contextmanager
def client(task: Any, **options: Any) -> Iterator[Client]:  # noqa: ANN401
    """Gives a client of an application that needs no socket."""
    with application(task, **options) as app:
        yield Client(app, base_url="http://localhost", raise_server_exceptions=False)


@contextmanager
def running(app: Any) -> Iterator[int]:  # noqa: ANN401
    """Gives the port of a server in another thread."""
    opened = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = new_server(app, app.limits.body_bytes, app.limits.timeout)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([opened])))
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield opened.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def wait_for(is_done: Callable[[], bool]) -> None:
    """Waits until something is so, at most ten seconds."""
    end = time.monotonic() + 10
    while not is_done():
        assert time.monotonic() < end
        time.sleep(0.005)
