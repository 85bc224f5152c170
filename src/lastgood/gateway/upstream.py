"""The way to the upstreams: one pool of connections, answers left as they come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from lastgood.errors import InvalidRequest, UpstreamTimeout, UpstreamUnreachable

# Dify's server closes an idle connection after 2 s: a request sent into the closing would be lost, and a run must
# not be sent twice.
_IDLE_SECONDS = 1.5
_READ_BUFFER = 2**16
_HEADER_LIMIT = 2**16
_BEFORE_SENDING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_AT_ONCE = 2**18
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "it reset the connection"),
    (aiohttp.ServerDisconnectedError, "it closed the connection"),
    (aiohttp.ClientConnectorDNSError, "its name is not known"),
    (aiohttp.ClientSSLError, "TLS failed"),
    (aiohttp.ClientResponseError, "its answer is not HTTP"),
    (aiohttp.ClientConnectorError, "no connection"),
)
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Body = bytes | Callable[[], AsyncIterator[bytes]] | None


class Pool(NamedTuple):
    """The upstreams of one target: its name, for errors, and their base URLs."""

    name: str
    bases: tuple[str, ...]


class Upstreams:
    """Sends requests to upstreams. Made inside a running event loop; close it there."""

    def __init__(self, *, connect_timeout: float, answer_timeout: float) -> None:
        self._turn = 0
        self._timeout = answer_timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=answer_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def send(
        self, pool: Pool, method: str, target: str, fields: list[tuple[str, str]], body: Body
    ) -> aiohttp.ClientResponse:
        """The head of the answer of one of the upstreams in `pool`, its body still to be read.

        They take turns; the next one is tried only where nothing of the request can have been sent.
        Raises `UpstreamUnreachable`, `UpstreamTimeout`, `InvalidRequest`."""
        if isinstance(body, bytes) and len(body) > _AT_ONCE:
            fields = [*fields, ("Content-Length", str(len(body)))]
        bases, count = pool.bases, len(pool.bases)
        self._turn += 1
        for attempt in range(count):
            url = URL(bases[(self._turn + attempt) % count] + target, encoded=True)
            try:
                response = await self._session.request(
                    method, url, headers=CIMultiDict(fields), data=_data(body), allow_redirects=False
                )
            except _BEFORE_SENDING as error:
                if attempt + 1 == count:
                    raise _named(error, pool.name, self._timeout) from error
            except (aiohttp.ClientError, OSError) as error:  # OSError: TimeoutError is one
                raise _named(error, pool.name, self._timeout) from error
            except ValueError:
                raise InvalidRequest(where="header", reason="a value holds a control character") from None
            else:
                if 200 <= response.status < 600:
                    return response
                response.close()
                raise UpstreamUnreachable(upstream=pool.name, reason=f"it answered with status {response.status}")
        raise UpstreamUnreachable(upstream=pool.name, reason="it has no address")


def _named(error: Exception, upstream: str, seconds: float) -> UpstreamUnreachable:
    """The error of ours for one of the client's; it tells no addresses."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeout(upstream=upstream, reason="no connection")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(upstream=upstream, reason=f"after {seconds:g} s")
    return UpstreamUnreachable(upstream=upstream, reason=_reason(error))


def _data(body: Body) -> bytes | AsyncIterator[bytes] | None:
    if body is None:
        return None
    if isinstance(body, bytes):
        return body if len(body) <= _AT_ONCE else _slices(body)
    return body()


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _AT_ONCE):
        yield body[start : start + _AT_ONCE]


def _reason(error: Exception) -> str:
    """What happened, without addresses."""
    for kind, reason in _REASONS:
        if isinstance(error, kind) or isinstance(getattr(error, "os_error", None), kind):
            return reason
    return type(error).__name__


def base_url(url: str) -> str:
    """A base URL as it is joined with ``/v1/…``: without a slash or ``/v1`` at its end."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


BROKEN = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
"""What reading an answer's body may raise when the upstream breaks off."""
