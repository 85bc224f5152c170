"""What is settled about every request before any of it is looked at: where it really comes from, that it came the way
it should, that no secret stands in its address, and that its body is neither too large nor too slow."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lastgood.access.tokens import PREFIX
from lastgood.errors import (
    BodyTooLarge,
    InvalidSetting,
    LastgoodError,
    NotThroughProxy,
    RequestTimeout,
    TokenInAddress,
    Unauthenticated,
)
from lastgood.server.problems import Refused, ending, problem

_SECRET_NAMES = ("token", "access_token", "api_key", "apikey", "api-key")
STRANGERS_BYTES = 64 * 2**10
_SLOWEST = 128 * 2**10  # bytes per second that a large body must arrive with at least

type Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Way:
    """How requests come: through `proxies`, and only through them where `only` says so."""

    proxies: tuple[Network, ...] = ()
    only: bool = False

    @classmethod
    def of(cls, proxies: tuple[str, ...], *, only: bool) -> "Way":
        """From the setting `trusted_proxies`. Raises `InvalidSetting`."""
        found = []
        for one in proxies:
            try:
                found.append(ip_network(one, strict=False))
            except ValueError:
                reason = "it is not an address or a network such as 10.0.0.0/8"
                raise InvalidSetting(name="trusted_proxies", value=one, reason=reason) from None
        return cls(tuple(found), only)

    def trusts(self, address: str) -> bool:
        """Whether `address` is one of the proxies."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies if network.version == found.version)


class Doorstep:
    """ASGI middleware for the way and the address of requests.

    What `X-Forwarded-For`, `-Proto` and `-Host` say is believed of trusted proxies alone. Of several addresses the
    last one that is no proxy of ours is the client: what stands before it, the client may have written itself."""

    def __init__(self, app: ASGIApp, way: Way) -> None:
        self.app, self.way = app, way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as it really came, or refuse it."""
        if scope["type"] == "http":
            try:
                self._settle(scope)
            except LastgoodError as error:
                await problem(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _settle(self, scope: Scope) -> None:
        client = scope.get("client")
        if client is not None:
            with suppress(ValueError):  # else it is no address, such as that of a socket in the file system
                client = scope["client"] = (_address(client[0]), client[1])
            if self.way.trusts(client[0]):
                self._forwarded(scope)
            elif self.way.only and not _is_own(client[0], scope):
                raise NotThroughProxy(address=client[0])
        for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True):
            if name.lower() in _SECRET_NAMES or value.startswith(PREFIX):
                shown = f"{name.lower()}=…" if name.lower() in _SECRET_NAMES else "a value that begins with lg_"
                raise TokenInAddress(name=shown)

    def _forwarded(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        many = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        for hop in reversed([one.strip() for one in many.split(",") if one.strip()]):
            try:
                found = _address(hop)
            except ValueError:
                break
            scope["client"] = (found, 0)
            if not self.way.trusts(found):
                break
        proto = headers.get(b"x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if proto in ("http", "https"):
            scope["scheme"] = proto
        host = headers.get(b"x-forwarded-host", "").rpartition(",")[2].strip()
        if host and host.isascii() and host.isprintable() and " " not in host:
            kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*kept, (b"host", host.encode())]


class BodyLimit:
    """ASGI middleware that refuses a request body over `most` bytes, declared or not; one over 64 KiB from whom
    `known` does not know; and one that takes longer than `seconds` (a large one: than 128 KiB a second take
    besides)."""

    def __init__(self, app: ASGIApp, most: int, seconds: float, known: Callable[[Request], bool]) -> None:
        self.app, self.most, self.seconds, self.known = app, most, seconds, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that is watched, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        size = int(declared) if declared.isdigit() and len(declared) < 19 else 0
        if size > self.most:
            await ending(BodyTooLarge(megabytes=self.most // 2**20))(scope, receive, send)
            return
        if size > STRANGERS_BYTES and (refusal := await self._refusal(scope)) is not None:
            await ending(refusal)(scope, receive, send)
            return
        await self.app(scope, self._watched(scope, receive, known=size > STRANGERS_BYTES), send)

    def _watched(self, scope: Scope, receive: Receive, *, known: bool) -> Receive:
        seen = 0
        whole = False
        began = time.monotonic()

        async def watched() -> Message:
            nonlocal seen, known, whole
            if whole:  # what comes now is that the client leaves
                return await receive()
            left = self.seconds + seen / _SLOWEST - (time.monotonic() - began)
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise Refused(RequestTimeout(seconds=round(self.seconds + seen / _SLOWEST))) from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self.most:
                raise Refused(BodyTooLarge(megabytes=self.most // 2**20))
            if seen > STRANGERS_BYTES and not known:
                refusal = await self._refusal(scope)
                if refusal is not None:
                    raise Refused(refusal)
                known = True
            return message

        return watched

    async def _refusal(self, scope: Scope) -> LastgoodError | None:
        """Why no large body is taken in from who sends this; None where it is. The store may be why, too."""
        try:
            known = await run_in_threadpool(self.known, Request(scope))
        except LastgoodError as error:
            return error
        return None if known else Unauthenticated()


def _address(text: str) -> str:
    """An address as its owner knows it: a socket for both kinds calls a client that has IPv4 ``::ffff:192.0.2.7``,
    and what counts by address (networks of proxies, failed sign-ins) must not take all of them for one. Raises
    `ValueError`."""
    found = ip_address(text)
    return str(getattr(found, "ipv4_mapped", None) or found)


def _is_own(address: str, scope: Scope) -> bool:
    """Whether a peer is on this machine."""
    server = scope.get("server")
    if server is not None and address in (server[0], server[0].removeprefix("::ffff:")):
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
