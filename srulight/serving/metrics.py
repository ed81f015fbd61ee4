"""Counts requests and batches, and writes the counts in the text format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from threading import Lock

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of durations, in seconds."""

INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the buckets of batch sizes."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of the text that ``Metrics.text`` returns."""


class Histogram:
    """Counts values in buckets.

    Args:
        bounds: Upper bounds of the buckets, in increasing order. Another bucket has no bound.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts a value; a value that equals a bound is in the bucket of that bound."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Yields the lines of the histogram, in which each bucket includes those before it.

        Args:
            name: Name of the metric.
        """
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        totals = list(accumulate(self._counts))
        for bound, total in zip(bounds, totals, strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.9g}"
        yield f"{name}_count {totals[-1]}"


class Metrics:
    """Counts what the server does. All methods may be called from several threads.

    Attributes:
        gauges: Functions that return the current value of a gauge, by name and help text.
    """

    def __init__(self) -> None:
        self.gauges: dict[tuple[str, str], Callable[[], float]] = {}
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = Histogram(SECONDS)
        self._inputs = Histogram(INPUTS)
        self._lock = Lock()

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request that was answered.

        Args:
            path: Path of the endpoint.
            status: Status code of the answer.
            seconds: Time from the first line of the request to the end of the answer, in seconds.
        """
        with self._lock:
            self._requests[path, status] += 1
            self._seconds.add(seconds)

    def count_batch(self, inputs: int) -> None:
        """Counts a batch that the model has computed.

        Args:
            inputs: Number of inputs in the batch.
        """
        with self._lock:
            self._inputs.add(inputs)

    def text(self) -> str:
        """Returns all metrics in the text format of Prometheus, version 0.0.4."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("srulight_requests_total", "counter", "Answered requests.")
        for (path, status), count in sorted(self._requests.items()):
            yield f'srulight_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head("srulight_request_seconds", "histogram", "Duration of requests.")
        yield from self._seconds.lines("srulight_request_seconds")
        yield from _head("srulight_batch_inputs", "histogram", "Inputs per batch of the model.")
        yield from self._inputs.lines("srulight_batch_inputs")
        for (name, said), value in self.gauges.items():
            yield from _head(name, "gauge", said)
            yield f"{name} {value():g}"


def _head(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} {kind}"
