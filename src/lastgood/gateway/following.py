"""Reading a streamed answer of Dify's to the event that ends it, and no longer than it makes progress."""

import asyncio
from typing import Final, NamedTuple

from lastgood.gateway.call import Call
from lastgood.gateway.connection import Connection
from lastgood.gateway.events import Event, Scanner

# A message goes on after its run, whose end `message_end` or `error` follow at once; some servers send neither.
_AFTER_RUN_SECONDS: Final = 2.0
_ENDS_RUN: Final = b"workflow_finished"
_ENDS: Final = frozenset({b"message_end", b"error"})


class Idle(Exception):
    """The stream makes no progress."""


class Part(NamedTuple):
    """A part of the stream: its bytes, the events that end in it, and whether it is the last."""

    data: bytes
    events: list[Event]
    last: bool


class Following:
    """`chat` says that the run's end is not the message's. `idle` seconds may pass without progress while we wait:
    the time that a slow client takes does not count. `progressed` says that there was any, and `ended` that an event
    came which ends a run."""

    def __init__(self, connection: Connection, call: Call | None, *, chat: bool, idle: float) -> None:
        self.progressed = False
        self.ended = False
        self._connection = connection
        self._call = call
        self._chat = chat
        self._idle = idle
        self._scanner = Scanner()
        self._loop = asyncio.get_running_loop()
        self._given = self._loop.time()
        self._until = self._given + idle
        self._ran = False

    @property
    def between(self) -> bool:
        """Whether the last part ended with an event."""
        return not self._scanner.open

    async def next(self) -> Part:
        """The next part. Raises `Idle`, `Broken`."""
        self._until += self._loop.time() - self._given
        try:
            part = await self._next()
        finally:
            self._given = self._loop.time()
        if self._call is not None:
            self._call.heard(part.data)
            self._call.whole = part.last
        return part

    async def _next(self) -> Part:
        try:
            async with asyncio.timeout_at(self._until):
                data = await self._connection.read()
        except TimeoutError:
            if self._ran:
                return Part(b"", [], True)
            raise Idle from None
        events = self._scanner.feed(data)
        for number, event in enumerate(events, 1):
            if event.name in _ENDS or (event.name == _ENDS_RUN and not self._chat):
                self.progressed = self.ended = True
                return Part(data[: event.stop], events[:number], True)
            if event.name == _ENDS_RUN:
                self._ran = self.ended = True
                self._until = self._loop.time() + _AFTER_RUN_SECONDS
        if self._scanner.moved:
            self.progressed = True
            if not self._ran:
                self._until = self._loop.time() + self._idle
        return Part(data, events, self._connection.ended)
