"""The endpoints of the server, as functions of Starlette's requests and WebSockets."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any

from srulight.runtime.errors import InputError
from srulight.serving.access import PROTOCOL
from srulight.serving.batcher import Batcher, Job
from srulight.serving.fields import check_names, parse
from srulight.serving.limits import Limits, RequestError
from srulight.serving.receiving import ClientGoneError, file_job, outcome, read_body
from srulight.serving.services.base import Service, Stream

JSON = "application/json"
Report = Callable[[Exception], None]
"""Writes an unexpected error to the log."""

CLIENT_GONE = 499
"""Status of requests whose client has closed the connection, as nginx counts them."""


class Endpoints:
    """Answers requests.

    Args:
        service: Service of the task.
        batcher: Computes the answers.
        limits: Limits on requests.
        report: Writes an unexpected error to the log.
    """

    def __init__(self, service: Service, batcher: Batcher, limits: Limits, report: Report) -> None:
        self._service = service
        self._batcher = batcher
        self._limits = limits
        self._report = report
        self.streams = 0
        """Number of open streams."""

    async def predict(self, request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Answers ``POST /v1/predict``."""
        end = time.monotonic() + self._limits.timeout
        if self._service.files:
            job = await self._file(request)
        else:
            body = await self._json(request)
            inputs, options = await asyncio.to_thread(self._service.read, body)
            job = Job(inputs, options)
        try:
            self._batcher.submit(job)
        except RequestError:
            job.abandon()
            raise
        return {"answers": await outcome(request, job, end - time.monotonic())}

    async def _json(self, request: Any) -> dict[str, Any]:  # noqa: ANN401
        limits = self._limits
        return parse(await read_body(request, limits.body_bytes, (JSON,), limits.timeout))

    async def _file(self, request: Any) -> Job:  # noqa: ANN401
        service, limits = self._service, self._limits
        data = await read_body(request, limits.body_bytes, tuple(service.files), limits.timeout)
        if not data:
            raise RequestError(422, f"expected a {service.kind} as the body, got nothing")
        # Values are written as in JSON: ?probabilities=true
        asked = {name: _value(text) for name, text in request.query_params.items()}
        check_names(asked, [field.name for field in service.options])
        options: Hashable = tuple((f.name, f.read(asked)) for f in service.options)
        kind = request.headers["content-type"].partition(";")[0].strip().lower()
        return await file_job(service, data, service.files[kind], options)

    async def generate(self, request: Any) -> dict[str, Any]:  # noqa: ANN401
        """Answers ``POST /v1/generate``."""
        end = time.monotonic() + self._limits.timeout
        generate = self._service.generator(await self._json(request))
        assert generate is not None
        job = Job((), None, lambda job: generate(lambda: job.is_abandoned))
        self._batcher.submit(job)
        found: dict[str, Any] = await outcome(request, job, end - time.monotonic())
        return found

    async def stream(self, socket: Any) -> None:  # noqa: ANN401
        """Answers the messages of the WebSocket ``/v1/stream``."""
        # A browser expects one of the protocols that it names.
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        if self.streams >= self._limits.max_streams:
            await _refuse(socket, f"expected at most {self.streams} streams, got another one")
            return
        self.streams += 1
        try:
            await self._converse(socket)
        finally:
            self.streams -= 1

    async def _converse(self, socket: Any) -> None:  # noqa: ANN401
        seconds = self._limits.timeout
        try:
            stream = self._service.stream()
            assert stream is not None
            await socket.send_text(text(stream.greeting))
            answer: dict[str, Any] = {}
            while not answer.get("final"):
                async with asyncio.timeout(seconds):
                    message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                given = message.get("bytes")
                given = message.get("text") if given is None else given
                answer = await self._answer(stream, given)
                await socket.send_text(text(answer))
            await socket.close()
        except TimeoutError:
            await _refuse(socket, f"expected a message within {seconds:g} seconds, got none")
        except InputError as error:
            await _refuse(socket, str(error))
        except Exception as error:
            if "disconnect" in type(error).__name__.lower():
                return
            self._report(error)
            await _refuse(socket, "an unexpected error, which the log of the server shows")

    async def _answer(self, stream: Stream, message: bytes | str) -> dict[str, Any]:
        job = Job((), None, lambda _: stream.accept(message))
        try:
            self._batcher.submit(job)
            found: dict[str, Any] = await asyncio.wrap_future(job.future)
        except (RequestError, InputError) as error:
            return {"error": str(error)}
        return found

    def guarded(
        self, endpoint: Callable[[Any], Awaitable[dict[str, Any]]], respond: Callable[..., Any]
    ) -> Callable[[Any], Awaitable[Any]]:
        """Returns an endpoint that answers every error with a status code and a sentence.

        Args:
            endpoint: The endpoint.
            respond: Makes a response from a text, a status code and a media type.
        """

        async def answer(request: Any) -> Any:  # noqa: ANN401
            try:
                return respond(text(await endpoint(request)), 200, JSON)
            except RequestError as error:
                return respond(*refusal(error))
            except InputError as error:
                return respond(*refusal(RequestError(422, str(error))))
            except ClientGoneError:
                return respond("", CLIENT_GONE, JSON)
            except Exception as error:
                self._report(error)
                said = "an unexpected error, which the log of the server shows"
                return respond(*refusal(RequestError(500, said)))

        return answer


def refusal(error: RequestError) -> tuple[str, int, str, dict[str, str]]:
    """Returns the text, the status code, the media type and the headers of an error."""
    headers = {}
    if error.status == 503:
        headers = {"Retry-After": "1"}
    elif error.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return text({"error": str(error)}), error.status, JSON, headers


def text(value: dict[str, Any]) -> str:
    """Returns plain data as JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


async def _refuse(socket: Any, message: str) -> None:  # noqa: ANN401
    with suppress(Exception):  # the client may be gone
        await socket.send_text(text({"error": message}))
        await socket.close(1008)


def _value(given: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(given)
    except ValueError:
        return given
