"""Ending a run's blocking calls from another thread."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancel:
    """One run's stop switch and clock. Whoever blocks for a run registers how to unblock it with `closing`."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._closers: list[Callable[[], object]] = []
        self.cancelled = False

    def remaining(self) -> float:
        """Seconds until the run's time is over, never below a hundredth."""
        return max(0.01, self._deadline - time.monotonic())

    @contextmanager
    def closing(self, close: Callable[[], object]) -> Iterator[None]:
        """While inside, `close` is called if the run is cancelled (at once, if it was before)."""
        with self._lock:
            self._closers.append(close)
            late = self.cancelled
        try:
            if late:
                _quietly(close)
            yield
        finally:
            with self._lock:
                self._closers.remove(close)

    def cancel(self) -> None:
        """Unblock everything that waits for this run, now and later."""
        with self._lock:
            self.cancelled = True
            closers = list(self._closers)
        for close in closers:
            _quietly(close)


def _quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        close()
