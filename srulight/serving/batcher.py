"""Collects concurrent requests into batches, which one thread computes."""

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self

from srulight.serving.limits import RequestError
from srulight.serving.metrics import Metrics

Answer = Callable[[list[Any], Any], list[Any]]
"""Maps inputs and the options that they share to one answer per input."""


class Job:
    """Work that waits for the model.

    Args:
        inputs: Inputs of a request; empty for a call.
        options: Options of the request. Jobs with equal options may share a batch.
        call: Function to call instead of the model; it receives the job.

    Attributes:
        future: The answers, or what the function returned.
        is_abandoned: Whether nobody waits for the result any more.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        options: Hashable,
        call: "Callable[[Job], Any] | None" = None,
    ) -> None:
        self.inputs = inputs
        self.options = options
        self.call = call
        self.future: Future[Any] = Future()
        self.is_abandoned = False

    def abandon(self) -> None:
        """Says that nobody waits for the result; a job that has not started never does."""
        self.is_abandoned = True
        self.future.cancel()


class Batcher:
    """Computes jobs in one thread, in order, and jobs with equal options together.

    The thread takes the oldest job, and waits ``wait`` seconds for others unless they already fill
    a batch. Jobs that arrive while a batch is computed wait for the next one. If a batch fails, its
    jobs are computed one by one, so that a bad input fails only its own request.

    Use it as a context manager, which stops the thread after the job that it computes.

    Args:
        answer: Computes a batch.
        batch_size: Number of inputs per batch. A single job may have more.
        wait: Time to wait for other jobs, in seconds; 0 takes only those that already wait.
        max_queue: Number of jobs that may wait.
        metrics: Counts the batches, and shows how many jobs wait.
    """

    def __init__(
        self, answer: Answer, batch_size: int, wait: float, max_queue: int, metrics: Metrics
    ) -> None:
        self._answer = answer
        self._batch_size = batch_size
        self._wait = wait
        self._max_queue = max_queue
        self._metrics = metrics
        self._waiting: deque[Job] = deque()
        self._changed = Condition()
        # Number of waiting inputs that wake the thread. Waking it for each job of a batch would
        # take the interpreter lock from the thread that receives the jobs.
        self._wanted = 1.0
        self._closed = False
        self._thread = Thread(target=self._run, name="srulight-model", daemon=True)
        help_text = "Requests that wait for the model."
        metrics.gauges["srulight_queue_length", help_text] = lambda: len(self._waiting)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.abandon()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join(timeout=10)

    def submit(self, job: Job) -> Job:
        """Adds a job to the queue.

        Args:
            job: The job.

        Returns:
            The job.

        Raises:
            RequestError: With status 503, if the queue is full or the server stops.
        """
        with self._changed:
            if self._closed:
                raise RequestError(503, "the server is stopping; send the request to another one")
            if len(self._waiting) >= self._max_queue:
                raise RequestError(
                    503,
                    f"expected at most {self._max_queue} waiting requests, got another one; send "
                    "it again later",
                )
            self._waiting.append(job)
            if self._is_enough():
                self._changed.notify()
        return job

    def _is_enough(self) -> bool:
        if self._wanted == math.inf:
            return False
        return sum(len(job.inputs) or 1 for job in self._waiting) >= self._wanted

    def _run(self) -> None:
        while jobs := self._next():
            self._compute([job for job in jobs if job.future.set_running_or_notify_cancel()])

    def _next(self) -> list[Job]:
        """Waits for a batch; returns nothing if the server stops."""
        with self._changed:
            self._wanted = 1
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            if first.call is not None:
                return [first]
            jobs, size = [first], len(first.inputs)
            until = time.monotonic() + self._wait
            while True:
                size = self._collect(jobs, size)
                left = until - time.monotonic()
                if size >= self._batch_size or left <= 0 or self._closed:
                    self._wanted = math.inf
                    return jobs
                self._wanted = len(self._waiting) + self._batch_size - size
                self._changed.wait(left)

    def _collect(self, jobs: list[Job], size: int) -> int:
        """Moves waiting jobs into a batch as long as they fit, and returns the new size."""
        rest: deque[Job] = deque()
        while self._waiting and size < self._batch_size:
            job = self._waiting.popleft()
            is_alike = job.call is None and job.options == jobs[0].options
            if is_alike and size + len(job.inputs) <= self._batch_size:
                jobs.append(job)
                size += len(job.inputs)
            else:
                rest.append(job)
        rest.extend(self._waiting)
        self._waiting = rest
        return size

    def _compute(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        try:
            call = jobs[0].call
            results = self._answers(jobs) if call is None else [call(jobs[0])]
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._compute([job])
            else:
                jobs[0].future.set_exception(error)
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)

    def _answers(self, jobs: list[Job]) -> list[list[Any]]:
        inputs = [one for job in jobs for one in job.inputs]
        self._metrics.count_batch(len(inputs))
        answers = iter(self._answer(inputs, jobs[0].options))
        return [[next(answers) for _ in job.inputs] for job in jobs]
