"""The body of a request: read whole up to a limit, or handed on as it comes; and the client's departure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from lastgood.errors import RequestTimeout, RequestTooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# An answer usually comes sooner than this; only a slower one pays for a watcher of its own.
_WATCH_AFTER = 0.02


class ClientGone(Exception):
    """The client has closed its connection."""


async def read_whole(receive: Receive, length: int | None, *, limit: int, seconds: float) -> bytes:
    """The whole body, at most `limit` bytes within `seconds`.

    Raises `RequestTooLarge` (before reading, where `length` tells), `RequestTimeout`, `ClientGone`."""
    if length is not None and length > limit:
        raise RequestTooLarge(limit=limit)
    try:
        async with asyncio.timeout(seconds):
            body, more = await _part(receive)
            if not more:
                return _within(body, limit)
            whole = bytearray(body)
            while more:
                _within(whole, limit)
                body, more = await _part(receive)
                whole += body
            return bytes(_within(whole, limit))
    except TimeoutError:
        raise RequestTimeout(seconds=seconds) from None


def _within[T: (bytes, bytearray)](body: T, limit: int) -> T:
    if len(body) > limit:
        raise RequestTooLarge(limit=limit)
    return body


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


class Departure:
    """Watches for the client's departure once its body has come, and then cancels the task that serves it.

    `task` is that task, and `gone` says that it did so."""

    __slots__ = ("_ended", "_receive", "_timer", "_watcher", "gone", "task")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self.task = asyncio.current_task()
        self._ended = False
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """From a little later on, watch. Only when nobody else receives."""
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, self._begin)

    def _begin(self) -> None:
        if not self._ended:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._ended and self.task is not None:
            self.gone = True
            self.task.cancel()

    def end(self) -> None:
        """Watch no longer."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


class Upload:
    """A body handed on as it comes. `failure` tells why it broke off: the client left, or stalled."""

    __slots__ = ("_first", "_length", "_more", "_receive", "_seconds", "_then", "failure")

    def __init__(
        self, receive: Receive, first: bytes, *, more: bool, length: int | None, seconds: float, then: Departure
    ) -> None:
        self.failure: ClientGone | RequestTimeout | None = None
        self._receive = receive
        self._first = first
        self._more = more
        self._length = length
        self._seconds = seconds
        self._then = then

    async def parts(self) -> AsyncIterator[bytes]:
        """The body part by part. Breaks off with an error, so that a short body never looks like a whole one."""
        part, more, total = self._first, self._more, 0
        while True:
            total += len(part)
            if part:
                yield part
            if not more:
                break
            try:
                async with asyncio.timeout(self._seconds):
                    part, more = await _part(self._receive)
            except ClientGone as error:
                self.failure = error
                raise
            except TimeoutError:
                self.failure = RequestTimeout(seconds=self._seconds)
                raise self.failure from None
        if self._length is not None and total != self._length:
            # Sent on, the upstream would take the next request on this connection for the rest of the body.
            self.failure = ClientGone()
            raise self.failure
        self._then.watch()


async def open_upload(
    receive: Receive, length: int | None, *, seconds: float, departure: Departure
) -> bytes | Upload:
    """The body as bytes where all of it is here already, else as an `Upload`. Raises `ClientGone`,
    `RequestTimeout`."""
    try:
        async with asyncio.timeout(seconds):
            first, more = await _part(receive)
    except TimeoutError:
        raise RequestTimeout(seconds=seconds) from None
    if not more and (length is None or length == len(first)):
        departure.watch()
        return first
    return Upload(receive, first, more=more, length=length, seconds=seconds, then=departure)
