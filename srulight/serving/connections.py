"""Ends connections that never become requests, each with a status code and a sentence."""

import asyncio
import logging
from typing import Any

from srulight.serving.endpoints import refusal
from srulight.serving.limits import RequestError


def http_protocol(seconds: float) -> type[Any]:
    """Returns the class of uvicorn's connections, with a limit on the time until a request.

    uvicorn waits without end for the head of a request, so that a client could hold all connections
    by sending one letter at a time.

    Args:
        seconds: Time that the head of a request may take, in seconds.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):  # type: ignore[misc,unused-ignore]
        """A connection that waits only some time for a request."""

        _timer: asyncio.TimerHandle | None = None
        _has_data = False

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            self._has_data = True
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:  # the head of the next request is incomplete
                self._watch()
            else:
                self._rest()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse(RequestError(400, "expected a request of HTTP/1.1, got other data"))

        def _watch(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(seconds, self._give_up)

        def _rest(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            if self.transport.is_closing():
                return
            if self._has_data:
                said = f"expected the whole request within {seconds:g} seconds, got a part of it"
                self._refuse(RequestError(408, said))
            else:
                self.transport.close()

        def _refuse(self, error: RequestError) -> None:
            body, status, kind, _ = refusal(error)
            head = (
                f"HTTP/1.1 {status} Refused\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write((head + body).encode())
            self.transport.close()

    return Connection


def quiet_log() -> None:
    """Leaves out of the log what clients do wrong: they are told, and could fill it."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Invalid UTF-8 sequence received")
