"""A deadline for a whole exchange. httpx limits each read by itself, so a server that sends a byte now and then would
hold a thread for ever; here every wait on the network gets only what is left of the exchange's time."""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore
import httpx

_here = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let no wait of this thread, on a connection of `transport`, end later than `seconds` from now."""
    _here.until = monotonic() + seconds
    try:
        yield
    finally:
        _here.until = None


def transport(*, verify: ssl.SSLContext, connections: int) -> httpx.HTTPTransport:
    """httpx's transport whose connections keep to `within`."""
    made = httpx.HTTPTransport(
        verify=verify,
        trust_env=False,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=4.0),
    )
    # httpx has no argument for the pool's network backend; the test of a slow server fails should this name go.
    pool: Any = made._pool
    pool._network_backend = _Backend(pool._network_backend)
    return made


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    until: float | None = getattr(_here, "until", None)
    if until is None:
        return timeout
    left = until - monotonic()
    if left <= 0:
        raise late("the exchange's time is over")
    return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
