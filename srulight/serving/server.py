"""Runs the application in uvicorn until a signal stops it."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

from srulight.runtime.errors import InputError
from srulight.serving.connections import http_protocol, quiet_log

_STOPS = (signal.SIGINT, signal.SIGTERM)


def check_packages() -> None:
    """Imports the packages that only the server needs.

    Raises:
        InputError: If one is missing.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise InputError(
            f'serve needs the package {error.name}; install it: pip install "srulight[serve]"'
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket of the server.

    Args:
        host: Name or address to listen on.
        port: Port to listen on; 0 chooses a free one.

    Returns:
        The socket. Clients wait in it until the server accepts them.

    Raises:
        InputError: If the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; pass another --host or --port"
        ) from error
    # Connections inherit the option. asyncio does not set it for a socket that it did not create,
    # and then the kernel holds back the body of an answer until the client acknowledges its head.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def address(opened: socket.socket) -> str:
    """Returns the URL of a socket."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def new_server(app: Any, max_message: int, patience: float) -> Any:  # noqa: ANN401
    """Returns the server of an application, which its ``run`` or ``serve`` starts.

    Args:
        app: The application.
        max_message: Largest size of a message of a WebSocket, in bytes.
        patience: Time that the head of a request may take, and time to finish the requests after
            the server has to stop, in seconds.
    """
    import uvicorn

    quiet_log()
    return uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", http=http_protocol(patience),
            ws="websockets-sansio", ws_max_size=max_message,
            timeout_graceful_shutdown=max(1, round(patience)), timeout_keep_alive=30,
            server_header=False,
        )
    )  # fmt: skip


def run(app: Any, opened: socket.socket, max_message: int, patience: float) -> None:  # noqa: ANN401
    """Answers requests until SIGINT or SIGTERM.

    After the signal, the server accepts no more connections, and finishes the requests that it has
    received. After a second SIGINT, it no longer waits for them.

    Args:
        app: The application.
        opened: The socket.
        max_message: Largest size of a message of a WebSocket, in bytes.
        patience: Time that the head of a request may take, and time to finish the requests after
            the signal, in seconds.
    """
    server = new_server(app, max_message, patience)
    with closing(opened), _quiet_signals():
        print(f"serving at {address(opened)}, Ctrl-C stops", file=sys.stderr, flush=True)
        server.run(sockets=[opened])


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Ignores the signals that uvicorn sends again after it has stopped because of them."""

    def ignore(number: int, frame: FrameType | None) -> None:
        pass

    before = {number: signal.signal(number, ignore) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
