"""Decides who may use the server, and counts the requests."""

import base64
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from srulight.serving.limits import RequestError
from srulight.serving.metrics import Metrics
from srulight.serving.page import FILES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/health", "/docs", "/openapi.json", *(f"/page/{name}" for name in FILES))
"""Paths that need no token: they say nothing about requests."""

PROTOCOL = "srulight"
"""Protocol of the WebSocket, which browsers name to be able to send a token."""


def is_loopback(host: str) -> bool:
    """Returns whether a host name or an address is this machine itself.

    Args:
        host: Name or address, without a port.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Access:
    """Refuses requests that may not use the server.

    With a token, a request needs the header ``Authorization: Bearer TOKEN``. A browser cannot send
    this header with a WebSocket. It may name the protocols ``srulight`` and ``bearer.TOKEN``
    instead, with the token in base64url (RFC 4648, section 5) without padding. Without a token, the
    server is for programs on this machine only. It then refuses requests that a page of another
    site makes in a browser: they have the header ``Origin``, or the name of that site as ``Host``.

    Args:
        token: The token; None for none.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    def check(self, path: str, headers: dict[bytes, bytes]) -> None:
        """Raises RequestError with status 401 or 403 if a request is refused.

        Args:
            path: Path of the request.
            headers: Headers of the request, with names in lower case.
        """
        if self._token is not None:
            is_right = hmac.compare_digest(_given_token(headers), self._token)
            if path not in OPEN and not is_right:
                raise RequestError(
                    401, "expected the token of the server in the header 'Authorization: Bearer "
                    "TOKEN', got another or none",
                )  # fmt: skip
            return
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_loopback(_name(host)):
            raise RequestError(
                403, "expected a loopback name in the header Host, such as localhost; start the "
                "server with --token to use another name",
            )  # fmt: skip
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin.decode("latin-1")).netloc != host:
            raise RequestError(403, "a page of another site may not use this server")


def _given_token(headers: dict[bytes, bytes]) -> bytes:
    """Returns the token of a request; nothing if it has none, which no token equals."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    for protocol in headers.get(b"sec-websocket-protocol", b"").split(b","):
        name, _, coded = protocol.strip().partition(b".")
        if name == b"bearer":
            with suppress(ValueError):
                return base64.urlsafe_b64decode(coded + b"=" * (-len(coded) % 4))
    return b""


def _name(host: str) -> str:
    """Returns a host without its port."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.rpartition(":")[0] or host


class Gate:
    """Middleware that refuses requests without access, and counts all others by their status.

    Args:
        app: The application.
        access: Who may use it.
        metrics: Counts the requests.
        paths: Paths of the endpoints. Others are counted as "other", so that a client cannot fill
            the memory with paths.
        refuse: Answers a request with an error.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        metrics: Metrics,
        paths: frozenset[str],
        refuse: Callable[[RequestError], App],
    ) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics
        self._paths = paths
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path, start, status = scope["path"], time.perf_counter(), 499

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            self._access.check(path, dict(scope["headers"]))
        except RequestError as error:
            status = error.status
            if scope["type"] == "websocket":  # the server answers 403
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._refuse(error)(scope, receive, watched)
        else:
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            await self._app(scope, receive, watched)
        name = path if path in self._paths else "other"
        self._metrics.count_request(name, status, time.perf_counter() - start)
