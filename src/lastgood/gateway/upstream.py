"""The way to the upstreams: pools of connections, and which one carries a request."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

from lastgood.errors import UpstreamTimeout, UpstreamUnreachable
from lastgood.gateway.connection import Base, Broken, Connection, Parts, connect

# Dify's server closes an idle connection after 2 s: a request sent into the closing would be lost, and a run must
# not be sent twice.
_IDLE_SECONDS = 1.5
_REPEATABLE = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"}

Fields = list[tuple[bytes, bytes]]


class Pool(NamedTuple):
    """The upstreams of one target: its name, for errors, and their addresses."""

    name: str
    bases: tuple[Base, ...]


class Outgoing(NamedTuple):
    """A request as it goes out. A body in parts goes in chunks unless its `length` is known."""

    method: str
    target: str
    fields: Fields
    body: bytes | Parts | None
    length: int | None = None

    def head(self, base: Base) -> bytes:
        """The request's head, its last empty line included."""
        lines = [
            b"%s %s%s HTTP/1.1\r\nhost: %s\r\n"
            % (self.method.encode("ascii"), base.prefix, self.target.encode("ascii"), base.authority)
        ]
        for name, value in self.fields:
            lines += (name, b": ", value, b"\r\n")
        if isinstance(self.body, bytes):
            lines.append(b"content-length: %d\r\n\r\n" % len(self.body))
        elif self.body is None:
            lines.append(b"\r\n" if self.method in _WITHOUT_BODY else b"content-length: 0\r\n\r\n")
        elif self.length is None:
            lines.append(b"transfer-encoding: chunked\r\n\r\n")
        else:
            lines.append(b"content-length: %d\r\n\r\n" % self.length)
        return b"".join(lines)


def pool_of(name: str, urls: Iterable[str]) -> Pool:
    """The pool of the target `name` at base URLs such as ``http://dify:5001``, with or without ``/v1`` at the end.
    Raises `UpstreamUnreachable`."""
    return Pool(name, tuple(_base(name, url) for url in urls))


def _base(name: str, url: str) -> Base:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    try:
        host, port = parts.hostname, parts.port or (443 if tls else 80)
    except ValueError:
        host, port = None, 0
    if not host or not url.isascii() or parts.scheme not in {"http", "https"}:
        raise UpstreamUnreachable(upstream=name, reason="its base URL is not an http:// or https:// address")
    prefix = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Base(host, port, tls, parts.netloc.rpartition("@")[2].encode(), prefix.encode())


class Upstreams:
    """Sends requests to upstreams. Made inside a running event loop; close it there."""

    def __init__(self, *, connect_timeout: float, answer_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._turn = 0
        self._idle: defaultdict[Base, list[Connection]] = defaultdict(list)
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def close(self) -> None:
        """Close the idle connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def send(self, pool: Pool, request: Outgoing) -> Connection:
        """Send `request` to one of `pool`: the connection with the head of the answer, to be given back to `release`.

        They take turns; the next one is tried only where nothing of the request can have been sent. Raises
        `UpstreamUnreachable`, `UpstreamTimeout`."""
        self._turn += 1
        broken = Broken("it has no address")
        for attempt in range(len(pool.bases)):
            base = pool.bases[(self._turn + attempt) % len(pool.bases)]
            try:
                connection = self._reused(base) or await self._connected(base)
            except Broken as error:
                broken = error
                continue
            try:
                return await self._exchange(connection, request)
            except Broken as error:
                broken = error
                break
        error_class = UpstreamTimeout if broken.timed_out else UpstreamUnreachable
        raise error_class(upstream=pool.name, reason=broken.reason)

    async def _exchange(self, connection: Connection, request: Outgoing) -> Connection:
        used = connection.idle_since > 0
        try:
            await connection.exchange(request.method, request.head(connection.base), request.body, request.length)
        except Broken:
            connection.finish()
            again = used and connection.untouched and request.method in _REPEATABLE and not callable(request.body)
            if not again:
                raise
            # It was closed while idle, and the request can be sent twice.
            return await self._exchange(await self._connected(connection.base), request)
        except BaseException:
            connection.finish()
            raise
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back, for another request if it can carry one."""
        if connection.finish():
            self._idle[connection.base].append(connection)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(_IDLE_SECONDS, self._sweep)

    def _reused(self, base: Base) -> Connection | None:
        idle = self._idle[base]
        while idle:
            connection = idle.pop()
            if connection.alive and self._loop.time() - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        """Close what has been idle for long."""
        self._sweeper = None
        since = self._loop.time() - _IDLE_SECONDS
        for base, idle in list(self._idle.items()):
            for connection in idle:
                if connection.idle_since < since or not connection.alive:
                    connection.abort()
            kept = [connection for connection in idle if connection.alive]
            if kept:
                self._idle[base] = kept
            else:
                del self._idle[base]
        if self._idle:
            self._sweeper = self._loop.call_later(_IDLE_SECONDS, self._sweep)

    async def _connected(self, base: Base) -> Connection:
        tls = self._tls if base.tls else None
        return await connect(base, tls, connect_timeout=self._connect_timeout, answer_timeout=self._answer_timeout)
