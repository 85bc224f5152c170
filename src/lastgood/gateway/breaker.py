"""A circuit breaker: a server that does not answer is left alone for a while, and then asked by one call alone."""

from typing import Literal

type State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after `failures` in a row (0: never) for `seconds`; then one call is let through to see.

    Every call that `admit` lets through ends with one of `succeeded`, `failed` and `withdrawn`, told whether it was
    the probe. Times are those of one clock that only grows."""

    __slots__ = ("_count", "_failures", "_probing", "_seconds", "_until", "opened")

    def __init__(self, failures: int, seconds: float) -> None:
        self.opened = 0  # how often
        self._failures = failures
        self._seconds = seconds
        self._count = 0
        self._until: float | None = None
        self._probing = False

    def state(self, now: float) -> State:
        """How it stands."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half-open"

    def admit(self, now: float) -> tuple[float, bool]:
        """The seconds after which to ask again (0: the call may go), and whether that call is the probe."""
        if self._until is None:
            return 0.0, False
        if now < self._until:
            return self._until - now, False
        if self._probing:
            return min(1.0, self._seconds), False
        self._probing = True
        return 0.0, True

    def succeeded(self, *, probe: bool) -> None:
        """The server answered. That a call from before the opening does so closes nothing."""
        if probe or self._until is None:
            self._count, self._until = 0, None
        if probe:
            self._probing = False

    def failed(self, now: float, *, probe: bool) -> None:
        """It did not."""
        if probe:
            self._probing = False
            self._open(now)
        elif self._until is None and self._failures:
            self._count += 1
            if self._count >= self._failures:
                self._open(now)

    def withdrawn(self, *, probe: bool) -> None:
        """The call ended without showing anything: another may be the probe."""
        if probe:
            self._probing = False

    def _open(self, now: float) -> None:
        self._count = 0
        self.opened += 1
        self._until = now + self._seconds
