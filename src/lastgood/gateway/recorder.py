"""The thread that counts calls.

The request path only appends to a queue. Reading bodies, counting and writing happen in a thread of their own, and
nothing that goes wrong there reaches a request: what cannot be kept is lost, and counted as lost."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from lastgood.gateway.call import Call
from lastgood.gateway.observation import Observed, observe
from lastgood.gateway.tally import Tally
from lastgood.history.routes import Route

log = logging.getLogger(__name__)

_MOST_CALLS: Final = 16_384
_MOST_BYTES: Final = 32 * 2**20
_WAKE_SECONDS: Final = 0.5
_FLUSH_SECONDS: Final = 1.0
_LAST_RETRY: Final = 60.0
_CLOSE_SECONDS: Final = 3.0
# After so many calls, about half a millisecond, the thread lets the event loop catch up.
_TURN: Final = 32
_PAUSE_SECONDS: Final = 0.001


class Books(Protocol):
    """Where tallies are kept."""

    def write(self, tally: Tally) -> None:
        """Keep all of `tally`, or raise and keep nothing."""

    def tidy(self, now: float) -> None:
        """Throw out what is old, when it is time. `now` in seconds since 1970."""

    def close(self) -> None:
        """Let go of the store."""


class Recorder:
    """Takes calls in, and keeps what they amount to about once a second. `books` opens the store; it is called in
    the recorder's thread, again and again while it fails. `seen` is told of each call there."""

    def __init__(self, books: Callable[[], Books], seen: Callable[[Observed], None] | None = None) -> None:
        self._open = books
        self._seen = seen
        self._books: Books | None = None
        self._queue: deque[Call] = deque()
        self._lost: Counter[Route] = Counter()
        self._put = self._taken = 0
        self._tally = Tally()
        self._failing = False
        self._retry = _FLUSH_SECONDS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def add(self, call: Call) -> None:
        """Take in a call that is over. Does not wait, and does not raise."""
        call.ended = time.perf_counter()
        weight = call.weight
        # Each of the two sums is written by one thread only, so that neither needs a lock.
        if len(self._queue) >= _MOST_CALLS or self._put - self._taken + weight > _MOST_BYTES:
            self._lost[call.route] += 1
            return
        self._put += weight
        self._queue.append(call)

    def close(self) -> None:
        """Keep what has come, if that is possible soon, and end."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("the last calls are not recorded: the store does not answer")

    def _run(self) -> None:
        due = time.monotonic() + _FLUSH_SECONDS
        going = True
        while going:
            going = not self._over.wait(_WAKE_SECONDS)
            self._take()
            if not going or time.monotonic() >= due:
                self._flush()
                due = time.monotonic() + (self._retry if self._failing else _FLUSH_SECONDS)
        if self._books is not None:
            self._books.close()

    def _take(self) -> None:
        """Count what is in the queue."""
        offset = time.time() - time.perf_counter()
        for number in range(1, len(self._queue) + 1):
            call = self._queue.popleft()
            self._taken += call.weight
            at = call.ended + offset
            try:
                observed = observe(call)
                self._tally.add(observed, at)
                if self._seen is not None:
                    self._seen(observed)
            except Exception:
                log.exception("a call could not be read")
                self._tally.lose(call.route, 1, at)
            if number % _TURN == 0 and not self._over.is_set():
                time.sleep(_PAUSE_SECONDS)
        lost, self._lost = self._lost, Counter()
        for route, count in lost.items():
            self._tally.lose(route, count, time.time())

    def _flush(self) -> None:
        if not self._tally:
            return
        try:
            if self._books is None:
                self._books = self._open()
            self._books.write(self._tally)
        except Exception as error:  # whatever it is: requests go on, and the next try may succeed
            if not self._failing:
                log.error("calls cannot be recorded, and wait: %s", _line(error))
            self._failing = True
            self._retry = min(self._retry * 2, _LAST_RETRY)
            return
        if self._failing:
            log.warning("calls are recorded again")
        self._tally, self._failing, self._retry = Tally(), False, _FLUSH_SECONDS
        try:
            self._books.tidy(time.time())
        except Exception as error:
            log.error("old calls cannot be thrown out: %s", _line(error))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]
