"""Runs many trainings, several at a time, and shows how far they are."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from srulight.experiments.run import Epoch, Process, Result, Run, RunError
from srulight.runtime.devices import usable_cores
from srulight.runtime.terminal import decimal


class Pool:
    """Runs trainings in processes of their own.

    On a terminal, it shows a bar for all trainings and one for each that is running. Elsewhere, it
    prints a line when a training ends.

    Args:
        jobs: Number of trainings that run at the same time. They share the CPU cores.
        total: Number of trainings in all, as far as it is known.
    """

    def __init__(self, jobs: int, total: int) -> None:
        self.jobs = jobs
        self.threads = max(1, usable_cores() // jobs)
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=self._console,
            transient=True, disable=not self._console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._all = self._bars.add_task("all trainings", total=total, note="")
        self._done, self._total = 0, total
        self._running: set[Process] = set()
        self._stopping = False
        self._lock = threading.Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the bars, and stops all trainings if this process is asked to stop."""

        def leave(number: int, frame: FrameType | None) -> None:
            sys.exit(128 + number)

        in_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, leave) if in_main else None
        try:
            with self._bars:
                yield
        finally:
            self.stop()
            if in_main:
                signal.signal(signal.SIGTERM, before)

    def run_all(
        self,
        runs: Mapping[str, Run],
        finished: Callable[[str, Result | RunError], None] = lambda name, found: None,
    ) -> dict[str, Result | RunError]:
        """Runs trainings; those whose folder contains results are not run again.

        Args:
            runs: Trainings by name, in the order in which they begin.
            finished: Called in this thread when one has ended.

        Returns:
            The results, or why there are none, by name in the same order.
        """
        found: dict[str, Result | RunError] = {}
        with ThreadPoolExecutor(self.jobs) as executor:
            waiting: dict[Future[Result | RunError], str] = {}
            try:
                for name, run in runs.items():
                    if (done := run.result()) is not None:
                        self._count(name, done, is_new=False)
                        found[name] = done
                        finished(name, done)
                    else:
                        waiting[executor.submit(self.run, name, run)] = name
                while waiting:
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        name = waiting.pop(future)
                        found[name] = future.result()
                        self._count(name, found[name], is_new=True)
                        finished(name, found[name])
            except BaseException:
                for future in waiting:
                    future.cancel()
                self.stop()
                raise
        return {name: found[name] for name in runs}

    def run(
        self, name: str, run: Run, on_epoch: Callable[[Epoch], bool] = lambda epoch: True
    ) -> Result | RunError:
        """Runs one training; may be called from several threads.

        Args:
            name: Name to show.
            run: The training.
            on_epoch: Called after each epoch; the training stops early if it returns False.

        Returns:
            The results, or why there are none.
        """
        bar = self._bars.add_task(f"  {name}", total=None, note="starting")
        with self._lock:
            if self._stopping:
                return RunError("stopped")
            process = Process(run, self.threads)
            self._running.add(process)
        try:
            for epoch in process.epochs():
                self._show(bar, epoch)
                if not on_epoch(epoch):
                    process.stop()
            return process.finish()
        except RunError as failed:
            return failed
        finally:
            self._running.discard(process)
            self._bars.remove_task(bar)

    def stop(self) -> None:
        """Stops all trainings for good; they save a checkpoint first, so that they can resume."""
        with self._lock:
            self._stopping = True  # a thread may be about to start one
            for process in tuple(self._running):
                process.stop()

    def say(self, line: str, done: int) -> None:
        """Prints a line about a training that has ended, and moves the bar for all trainings.

        Args:
            line: The line; empty if there is nothing to say.
            done: Number of trainings that have ended.
        """
        self._done = done
        total = max(self._total, done)
        self._bars.update(self._all, completed=done, total=total, note=f"{done} of {total}")
        if line:
            head = f"[{done}/{total}] "
            self._console.print(head + line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, bar: TaskID, epoch: Epoch) -> None:
        total = epoch.total if epoch.total > 0 else None
        of = f"{epoch.number} of {total}" if total else f"{epoch.number}"
        note = f"epoch {of}, {decimal(epoch.value)}"
        self._bars.update(bar, completed=epoch.number, total=total, note=note)

    def _count(self, name: str, found: Result | RunError, is_new: bool) -> None:
        self.say(f"{name}: {_line(found)}" if is_new else "", self._done + 1)


def _line(found: Result | RunError) -> str:
    if isinstance(found, RunError):
        return f"failed: {found}"
    head = f"{found.monitor} {decimal(found.best)}"
    name = found.monitor.partition("/")[2]
    tested = f", test {decimal(found.test[name])}" if name in found.test else ""
    epochs = f"{found.epochs} epoch{'s' * (found.epochs != 1)}"
    return f"{head}{tested}, {epochs} of {found.seconds_per_epoch:.2f} s"
