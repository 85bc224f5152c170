"""A cap on calls in flight, with a short queue before it that is fair between those who wait."""

import asyncio
from collections import OrderedDict, deque
from typing import Literal

type Why = Literal["full", "late"]


class NoSlot(Exception):
    """There is no slot: the queue is `full`, or the wait was too long (`late`)."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


class Slots:
    """At most `calls` at a time; up to `queue` wait, each for `seconds` at most.

    Free slots go round between the waiting keys, one call each. A key that finds the queue full takes the last
    place of the one that holds the most, where that holds at least two more than itself."""

    def __init__(self, calls: int, queue: int, seconds: float) -> None:
        self.taken = 0
        self.queued = 0
        self._calls = calls
        self._queue = queue
        self._seconds = seconds
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, key: str) -> None:
        """Wait for a slot. Raises `NoSlot`."""
        if self.taken < self._calls and not self.queued:
            self.taken += 1
            return
        if self.queued >= self._queue and not self._displace(key):
            raise NoSlot("full")
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(place)
        self.queued += 1
        try:
            async with asyncio.timeout(self._seconds):
                await place
        except TimeoutError:
            if not _granted(place):
                self._strike(key, place)
                raise NoSlot("late") from None
        except BaseException:
            # A caller that leaves while a slot is on its way to it hands it on.
            if _granted(place):
                self.free()
            else:
                self._strike(key, place)
            raise

    def free(self) -> None:
        """Give a slot back, to whose turn it is."""
        while self._waiting:
            key, places = next(iter(self._waiting.items()))
            place = places.popleft()
            self.queued -= 1
            if places:
                self._waiting.move_to_end(key)
            else:
                del self._waiting[key]
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1

    def _displace(self, key: str) -> bool:
        if not self._waiting:
            return False
        longest = max(self._waiting, key=lambda each: len(self._waiting[each]))
        if len(self._waiting[longest]) < len(self._waiting.get(key, ())) + 2:
            return False
        place = self._waiting[longest].pop()
        self.queued -= 1
        if not place.done():
            place.set_exception(NoSlot("full"))
        return True

    def _strike(self, key: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(key)
        if places is not None and place in places:
            places.remove(place)
            self.queued -= 1
            if not places:
                del self._waiting[key]


def _granted(place: asyncio.Future[None]) -> bool:
    return place.done() and not place.cancelled() and place.exception() is None
