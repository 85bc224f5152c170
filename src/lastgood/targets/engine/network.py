"""Outgoing HTTP for a run: each connection goes to an address that was looked at, and ends when the run does.

The name is resolved once and the connection made to the very address that passed, for redirects too, so that
neither a name that changes its mind (DNS rebinding) nor a redirect reaches what the policy forbids."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import httpcore
import httpx

from lastgood.targets.engine.cancel import Cancel

type Policy = Callable[[str, int], tuple[str, int]]
"""(host, port) → (address, port) to connect to; raises `AddressRefused`."""

# Networks that ipaddress does not count among the private ones, and that no service of the world lives in.
_ALSO_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
]


class AddressRefused(OSError):
    """An address that http-request nodes may not reach."""


def refused(address: str) -> bool:
    """Whether `address` (an IP address) is loopback, private, link-local (cloud metadata too), multicast,
    unspecified, reserved, or one of these wrapped into IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return (
        (not ip.is_global) or ip.is_multicast or any(ip in net for net in _ALSO_REFUSED if net.version == ip.version)
    )


def public_only(host: str, port: int) -> tuple[str, int]:
    """The policy of http-request nodes: the first address of `host`, if none of its addresses is refused."""
    addresses = _resolve(host, port)
    for address in addresses:
        if refused(address):
            raise AddressRefused(
                f"{host} is {address}, an address that workflows may not reach. "
                "Set LASTGOOD_HTTP_ALLOW_PRIVATE=true to let them reach private addresses."
            )
    return addresses[0], port


def anywhere(host: str, port: int) -> tuple[str, int]:
    """The policy where private addresses are allowed."""
    return _resolve(host, port)[0], port


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(f"the host {host} was not found ({error})") from None
    return [str(entry[4][0]) for entry in found]


class _Backend(httpcore.SyncBackend):
    def __init__(self, policy: Policy, cancel: Cancel, sockets: list[socket.socket]) -> None:
        self._policy = policy
        self._cancel = cancel
        self._sockets = sockets

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            address, real_port = self._policy(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        limit = self._cancel.remaining() if timeout is None else min(timeout, self._cancel.remaining())
        stream = super().connect_tcp(address, real_port, limit, local_address, socket_options)
        self._sockets.append(stream.get_extra_info("socket"))
        if self._cancel.cancelled:
            stream.close()
            raise httpcore.ConnectError("the run was stopped")
        return stream


class _Transport(httpx.BaseTransport):
    """httpx's requests on an httpcore pool of our own making (httpx takes no network backend itself)."""

    def __init__(self, policy: Policy, cancel: Cancel, sockets: list[socket.socket], *, verify: bool) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(verify), network_backend=_Backend(policy, cancel, sockets), max_connections=4
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=cast(Iterable[bytes], request.stream),
                    extensions=request.extensions,
                )
            )
        except httpcore.UnsupportedProtocol as error:
            raise httpx.UnsupportedProtocol(str(error), request=request) from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _named(error, request) from error
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream, request),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _named(error, self._request) from error

    def close(self) -> None:
        self._stream.close()


def _named(error: Exception, request: httpx.Request) -> httpx.TransportError:
    words = str(error) or type(error).__name__
    if isinstance(error, httpcore.TimeoutException):
        return httpx.TimeoutException(f"no answer in time ({type(error).__name__})", request=request)
    if isinstance(error, httpcore.ProtocolError):
        return httpx.RemoteProtocolError(words, request=request)
    return httpx.NetworkError(words, request=request)


@cache
def _tls(verify: bool) -> ssl.SSLContext:
    # Made once: reading the certificate bundle takes longer than most requests.
    return httpx.create_ssl_context(verify=verify, trust_env=False)


@contextmanager
def client(policy: Policy, cancel: Cancel, *, verify: bool = True) -> Iterator[httpx.Client]:
    """An HTTP client for one node's work. Cancelling the run breaks its connections off."""
    sockets: list[socket.socket] = []

    def shut() -> None:
        for connection in list(sockets):
            connection.shutdown(socket.SHUT_RDWR)

    transport = _Transport(policy, cancel, sockets, verify=verify)
    with cancel.closing(shut), httpx.Client(transport=transport, trust_env=False) as made:
        yield made
