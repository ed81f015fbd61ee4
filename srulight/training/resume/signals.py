"""Signals that ask a run to stop, noted and not obeyed at once."""

import os
import signal
import threading
from types import FrameType

_STOP = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
]


class Signals:
    """Notes SIGTERM, SIGUSR1 and SIGINT (Ctrl-C).

    Attributes:
        code: Exit status to stop with: 143 after SIGTERM or SIGUSR1, 130 after SIGINT; 0 before.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, object] = {}

    def install(self) -> None:
        """Begins to note signals; does nothing outside the main thread, which alone can."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        for number in _STOP:
            self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Leaves signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.code:
            raise KeyboardInterrupt
        self.code = 130 if number == signal.SIGINT else 143
        how = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
        # Not through a logger, whose lock the code that was interrupted may hold.
        text = f"srulight: {signal.Signals(number).name}: stopping after this step{how}\n"
        os.write(2, text.encode())
