"""Records signals that ask a run to stop, so that it can finish the current step first."""

import os
import signal
import threading
from types import FrameType

_STOP = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
]


class Signals:
    """Records SIGTERM, SIGUSR1 and SIGINT (Ctrl-C).

    Attributes:
        code: Exit status to stop with: 143 after SIGTERM or SIGUSR1, 130 after SIGINT; 0 if there
            was no signal.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, object] = {}

    def install(self) -> None:
        """Installs the handlers; does nothing outside the main thread, where Python forbids it."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        for number in _STOP:
            self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Restores the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.code:
            raise KeyboardInterrupt
        self.code = 130 if number == signal.SIGINT else 143
        how = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
        # Do not use a logger: the interrupted code may hold its lock.
        text = f"srulight: {signal.Signals(number).name}: stopping after this step{how}\n"
        os.write(2, text.encode())
