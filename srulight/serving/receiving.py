"""Receives the bodies of requests within their limits, and waits for their answers."""

import asyncio
import os
import tempfile
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import Any

from srulight.runtime.errors import InputError
from srulight.serving.batcher import Job
from srulight.serving.limits import RequestError
from srulight.serving.services.base import Service

_DRAINED = 8  # How many times the allowed size of a body is read before the connection ends.


class ClientGoneError(Exception):
    """The client has closed the connection, so that nobody reads the answer."""


async def read_body(request: Any, most: int, types: tuple[str, ...], seconds: float) -> bytes:  # noqa: ANN401
    """Reads the body of a request.

    Args:
        request: The request, of Starlette.
        most: Largest size of the body, in bytes.
        types: Media types that are allowed.
        seconds: Time that the body may take, in seconds.

    Raises:
        RequestError: With status 408, if it takes too long; 413, if it is too large; 415, if it has
            another media type.
        ClientGoneError: If the client has closed the connection.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    refusal = None
    if given not in types:
        refusal = RequestError(
            415, f"expected the content type {' or '.join(types)}, got {given[:80] or 'none'}"
        )
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        refusal = RequestError(
            415, f"expected no content encoding, got {coding[:80]}; send the body uncompressed"
        )
    try:
        async with asyncio.timeout(seconds):
            return await _received(request, most, refusal)
    except TimeoutError as error:
        raise RequestError(
            408, f"expected the whole request within {seconds:g} seconds, got a part of it"
        ) from error


async def _received(request: Any, most: int, refusal: RequestError | None) -> bytes:  # noqa: ANN401
    data, size = bytearray(), 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        size += len(piece)
        if refusal is None and size > most:
            refusal = RequestError(
                413, f"expected a body of at most {most} bytes, got more; send less at a time"
            )
            data.clear()
        if refusal is None:
            data += piece
        # A client that is still sending would not see the answer, so the rest is read as well.
        if not message.get("more_body") or size > _DRAINED * most:
            break
    if refusal is not None:
        raise refusal
    return bytes(data)


async def outcome(request: Any, job: Job, seconds: float) -> Any:  # noqa: ANN401
    """Waits for the result of a job.

    Args:
        request: The request, of Starlette, whose body has been read.
        job: The job.
        seconds: Time to wait, in seconds.

    Raises:
        RequestError: With status 504, if it takes too long; 503, if the server stops.
        ClientGoneError: If the client has closed the connection.
    """
    done = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({done, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return done.result()
        if gone.done():
            raise ClientGoneError
        raise RequestError(
            504, f"expected an answer within {seconds:.3g} seconds, got none; send fewer or "
            "shorter inputs, or try again later",
        )  # fmt: skip
    except (asyncio.CancelledError, futures.CancelledError) as error:
        if job.is_abandoned:  # by the batcher
            raise RequestError(503, "the server is stopping") from error
        raise
    finally:
        gone.cancel()
        if not done.done():
            job.abandon()
            done.cancel()


async def _disconnected(request: Any) -> None:  # noqa: ANN401
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def file_job(service: Service, data: bytes, ending: str, options: Any) -> Job:  # noqa: ANN401
    """Writes a file to a temporary folder, checks it, and returns the job that reads it.

    The file is deleted when the job ends or is abandoned.

    Args:
        service: Service of the task.
        data: Content of the file.
        ending: Ending of its name.
        options: Options of the request.

    Raises:
        RequestError: With status 413, if it is too long.
        InputError: If it cannot be read.
    """
    path = await asyncio.to_thread(_written, service, data, ending)
    job = Job([path], options)
    job.future.add_done_callback(lambda _: path.unlink(missing_ok=True))
    return job


def _written(service: Service, data: bytes, ending: str) -> Path:
    descriptor, name = tempfile.mkstemp(ending, "srulight-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        service.check_file(path)
    except InputError as error:
        path.unlink()
        # A client has no use for the name of a temporary file.
        raise InputError(str(error).replace(name, service.kind)) from error
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    return path
