"""What stands between the callers and one Dify server: places for calls, and a breaker.

Dify does not let go of a call when its caller leaves. So a call keeps its place until the server has ended it, its
connection read to the end in the background, or until the server must have given it up."""

import asyncio
import contextlib
import logging

from lastgood.errors import LastgoodError
from lastgood.gateway.breaker import Breaker
from lastgood.gateway.connection import Broken, Connection
from lastgood.gateway.metrics import Metrics
from lastgood.gateway.pin import Refused
from lastgood.gateway.slots import NoSlot, Slots
from lastgood.gateway.upstream import Upstreams
from lastgood.settings import Settings

log = logging.getLogger(__name__)

_STATES = {"closed": 0, "half-open": 1, "open": 2}


class Shield:
    """The shield of the Dify server `name`. Made inside a running event loop."""

    def __init__(self, name: str, settings: Settings, upstreams: Upstreams, metrics: Metrics) -> None:
        self.name = name
        self.left = 0
        calls = max(1, settings.upstream_calls // settings.gateway_workers)
        self.slots = Slots(calls, settings.queue_calls, settings.queue_seconds)
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self._retry_after = settings.queue_seconds
        self._hang_seconds = settings.hang_seconds
        self._upstreams = upstreams
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._drains: set[asyncio.Task[None]] = set()

    async def admit(self, key: str) -> "Place":
        """A place for one call with the app key `key`. Raises `Refused`: 503 while the breaker is open, 429 where
        there is no place in time."""
        if self.breaker.state(self._loop.time()) == "open":
            self._broken(self.breaker.admit(self._loop.time())[0])
        try:
            await self.slots.take(key)
        except NoSlot as none:
            self._metrics.count("refused", self.name, f"queue-{none.why}")
            waited = "too many wait already" if none.why == "full" else "none came free in time"
            message = f"{self.name} is busy: every place for a call is taken, and {waited}. Send the request again."
            raise Refused(429, "too_many_requests", message, retry_after=self._retry_after) from None
        wait, probe = self.breaker.admit(self._loop.time())
        if wait:
            self.slots.free()
            self._broken(wait)
        return Place(self, probe)

    def _broken(self, wait: float) -> None:
        self._metrics.count("refused", self.name, "breaker-open")
        message = f"{self.name} did not answer the last calls and is left alone for a while. Send the request again."
        raise Refused(503, "service_unavailable", message, retry_after=wait)

    def judge(self, good: bool | None, probe: bool) -> None:
        """A call is over, or has begun to be answered: well, badly, or nobody knows."""
        now, opened = self._loop.time(), self.breaker.opened
        if good is None:
            self.breaker.withdrawn(probe=probe)
        elif good:
            self.breaker.succeeded(probe=probe)
        else:
            self.breaker.failed(now, probe=probe)
        if self.breaker.opened > opened:
            log.warning("%s does not answer: it is left alone for a while", self.name)
            self._metrics.count("breaker_opened", self.name)

    def drain(self, call: "asyncio.Task[Connection] | Connection") -> None:
        """Read a call that nobody waits for to its end, and free its place then."""
        if isinstance(call, Connection) and call.ended:
            self._upstreams.release(call)
            self.slots.free()
            return
        self.left += 1
        task = self._loop.create_task(self._drain(call))
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self, call: "asyncio.Task[Connection] | Connection") -> None:
        connection = call if isinstance(call, Connection) else None
        try:
            with contextlib.suppress(TimeoutError, Broken, LastgoodError):
                async with asyncio.timeout(self._hang_seconds):
                    if not isinstance(call, Connection):
                        connection = await call
                    while connection is not None and not connection.ended:
                        await connection.read()
        finally:
            if connection is not None:
                self._upstreams.release(connection)
            self.left -= 1
            self.slots.free()

    def state(self) -> int:
        """The breaker's state as a number."""
        return _STATES[self.breaker.state(self._loop.time())]

    def close(self) -> None:
        """Give up what is read in the background."""
        for task in self._drains:
            task.cancel()


class Place:
    """The place of one call, to be left exactly once."""

    __slots__ = ("_judged", "_probe", "_shield")

    def __init__(self, shield: Shield, probe: bool) -> None:
        self._shield = shield
        self._probe = probe
        self._judged = False

    def judge(self, good: bool | None) -> None:
        """What the call showed of the server: the first word counts."""
        if not self._judged:
            self._judged = True
            self._shield.judge(good, self._probe)

    def leave(self, call: "asyncio.Task[Connection] | Connection | None" = None) -> None:
        """The client is done with; the place is kept until `call`, where there is one, is over."""
        self.judge(None)
        if call is None:
            self._shield.slots.free()
        else:
            self._shield.drain(call)
