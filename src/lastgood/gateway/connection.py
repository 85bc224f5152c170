"""One connection to an upstream: HTTP/1.1 written by us and parsed by httptools (llhttp), one exchange at a time.

Written by hand because of its place: on the path of every request, a general client costs three times this one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, cast

import httptools

_HEAD_LIMIT = 2**16
_READ_AHEAD = 2**16
_FRAMED = {b"content-length", b"transfer-encoding"}

Parts = Callable[[], AsyncIterator[bytes]]


class Broken(Exception):
    """The upstream broke off, or its answer is not HTTP; `reason` says how. `timed_out`: it was only too slow."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


class Base(NamedTuple):
    """One upstream's base URL, taken apart. `authority` is the value of Host, `prefix` the path before ``/v1``."""

    host: str
    port: int
    tls: bool
    authority: bytes
    prefix: bytes


class Connection(asyncio.Protocol):
    """An open connection. `exchange` sends a request and waits for the head of its answer; then `status` and
    `headers` are there, and `read` gives the body as it comes, until `ended`."""

    def __init__(self, base: Base, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.base = base
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.idle_since = 0.0
        self._loop = loop
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._failure: Broken | None = None
        self._parts: list[bytes] = []
        self._held = 0
        self._paused = False
        self._lost = False
        self._busy = False
        self._bodiless = False
        self._begun = False
        self._head_size = self._head_held = 0
        self._has_head = False
        self._whole = False
        self._keep = False

    @property
    def alive(self) -> bool:
        """Whether a request may be sent."""
        return not (self._busy or self._lost or self._transport.is_closing())

    @property
    def untouched(self) -> bool:
        """Whether nothing of an answer has come."""
        return not self._begun

    @property
    def ended(self) -> bool:
        """Whether all of the answer has been read."""
        return self._whole and not self._parts

    async def exchange(self, method: str, head: bytes, body: bytes | Parts | None, length: int | None) -> None:
        """Send a request, `head` with its last empty line, and wait for the head of the answer. Parts of a body are
        framed as chunks where its `length` is not known. Raises `Broken`."""
        self._busy = True
        self._bodiless = method == "HEAD"
        self._begun = self._has_head = self._whole = self._keep = False
        self._head_held = 0
        self._failure = None
        self._parser = httptools.HttpResponseParser(self)
        self._heard = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check)
        if body is None:
            self._transport.write(head)
        elif isinstance(body, bytes):
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)
            self._upload = self._loop.create_task(self._send(body, length is None))
        while not self._has_head:
            await self._wait()

    async def read(self) -> bytes:
        """The next part of the body; empty at its end. Raises `Broken`."""
        while not self._parts and not self._whole:
            await self._wait()
        if not self._parts:
            return b""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def finish(self) -> bool:
        """End the exchange. True when the connection can carry another one; else it is closed."""
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
            self._keep = False
        self._upload = None
        self._parts.clear()
        self._busy = False
        if self._whole and self._keep and not self._lost and not self._transport.is_closing():
            self.idle_since = self._loop.time()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Broken) -> None:
        if self._failure is None:
            self._failure = failure
        self._keep = False
        self._wake()
        if not self._lost:
            self._transport.abort()

    async def _send(self, parts: Parts, chunked: bool) -> None:
        """Send a body part by part, no faster than the upstream takes it."""
        try:
            async for part in parts():
                self._transport.writelines((b"%x\r\n" % len(part), part, b"\r\n") if chunked else (part,))
                if self._room is not None:
                    await self._room
            if chunked:
                self._transport.write(b"0\r\n\r\n")
            self._heard = self._loop.time()
        except Exception as error:
            self._fail(Broken(f"the request broke off: {error!r}"))

    def _check(self) -> None:
        """Whether the upstream has been silent for too long. Silence while the client is slow is not its fault."""
        self._timer = None
        if self._lost or not self._busy:
            return
        now = self._loop.time()
        uploading = self._upload is not None and not self._upload.done() and self._room is None
        if self._paused or uploading:
            self._heard = now
        left = self._heard + self._timeout - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        else:
            self._fail(Broken(f"no answer within {self._timeout:g} s", timed_out=True))

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._whole:
            self._keep = False
            self._transport.abort()  # an answer that nobody asked for
            return
        self._heard = self._loop.time()
        was_in_head = not self._has_head
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Broken("it changed the protocol"))
        except httptools.HttpParserError:
            self._fail(Broken("its answer is not HTTP"))
        if was_in_head and not self._has_head:
            self._head_held += len(data)  # the parser holds what is not a whole line yet
            if self._head_held > _HEAD_LIMIT:
                self._fail(Broken("the head of its answer is too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._busy and not self._whole:
            if exc is None and self._has_head and self._ends_with_connection():
                self._whole = True
                self._wake()
            else:
                self._fail(Broken("it closed the connection" if exc is None else "it reset the connection"))

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # httptools' side

    def on_message_begin(self) -> None:
        if self._whole:
            self._keep = False  # more than one answer to one request
            raise ValueError("a second answer")
        self._head_size = 0
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        self._head_size += len(name) + len(value)
        if self._head_size > _HEAD_LIMIT:
            raise ValueError("the head is too large")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return  # 103 and the like: the answer itself follows
        if self.status > 599:
            raise ValueError("a status that does not exist")
        if any(name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in self.headers):
            raise ValueError("a coding that is not understood")
        self._keep = self._parser.should_keep_alive()
        self._has_head = True
        self._whole = self._bodiless
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._whole:
            self._keep = False
            return
        self._parts.append(body)
        self._held += len(body)
        if self._held > _READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._whole = True
            self._wake()

    def _ends_with_connection(self) -> bool:
        return not any(name in _FRAMED for name, _ in self.headers)


async def connect(
    base: Base, tls: ssl.SSLContext | None, *, connect_timeout: float, answer_timeout: float
) -> Connection:
    """A new connection to `base`. Raises `Broken`; then nothing has been sent."""
    loop = asyncio.get_running_loop()
    name = base.host if tls else None
    try:
        async with asyncio.timeout(connect_timeout):
            _, connection = await loop.create_connection(
                lambda: Connection(base, loop, answer_timeout), base.host, base.port, ssl=tls, server_hostname=name
            )
    except TimeoutError:
        raise Broken(f"no connection within {connect_timeout:g} s", timed_out=True) from None
    except ConnectionRefusedError:
        raise Broken("connection refused") from None
    except ssl.SSLError as error:
        raise Broken(f"TLS failed: {error.reason}") from None
    except OSError as error:
        raise Broken(f"no connection: {error.strerror or type(error).__name__}") from None
    return connection
