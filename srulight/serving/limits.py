"""Limits on what a client may ask for, and the errors of requests."""

from dataclasses import dataclass, fields

from srulight.runtime.errors import check_range


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Args:
        max_body: Size of the body of a request, or of a message of a stream, in MB (10^6 bytes).
        max_inputs: Number of inputs in a request.
        max_characters: Number of characters of a text.
        max_steps: Number of steps of a sequence of numbers.
        max_seconds: Duration of a recording, or of one message of a stream, in seconds.
        max_stream_seconds: Duration of the audio of a stream, in seconds.
        max_frames: Number of frames of a video.
        max_length: Number of tokens to generate for a prompt.
        max_queue: Number of requests that wait for the model.
        max_streams: Number of open streams.
        timeout: Time to receive a request and to answer it, and time that a stream may be silent,
            in seconds.

    Raises:
        InputError: If a number is out of range.
    """

    max_body: float = 10.0
    max_inputs: int = 256
    max_characters: int = 20_000
    max_steps: int = 20_000
    max_seconds: float = 120.0
    max_stream_seconds: float = 3600.0
    max_frames: int = 2000
    max_length: int = 1000
    max_queue: int = 1024
    max_streams: int = 64
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 1 if field.type is int else 0.001
            check_range(least, **{f"--{field.name}": getattr(self, field.name)})

    @property
    def body_bytes(self) -> int:
        """The largest size of a body, in bytes."""
        return int(self.max_body * 1_000_000)


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: Status code of HTTP, 400 to 599.
        message: One sentence for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
