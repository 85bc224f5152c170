"""Forwarding one decided request to an upstream, pinned to its version, and its answer back as it comes."""

import asyncio
import logging
import re
from urllib.parse import quote

from lastgood.errors import InvalidRequest, LastgoodError, ShuttingDown, UpstreamUnreachable
from lastgood.gateway.answers import Headers
from lastgood.gateway.body import Departure, Message, Receive, Send, Upload, open_upload, read_whole
from lastgood.gateway.call import Call
from lastgood.gateway.connection import Broken, Connection
from lastgood.gateway.head import Head, answer_headers
from lastgood.gateway.pin import is_version, pin_chat
from lastgood.gateway.upstream import Outgoing, Pool, Upstreams
from lastgood.history.routes import Route
from lastgood.settings import Settings

log = logging.getLogger(__name__)

RUN = re.compile(r"/v1/workflows/(?:([^/]+)/)?run/?")
CHAT = {"/v1/chat-messages", "/v1/chat-messages/"}


class Request:
    """One request and the beginning of its answer, which names the version from the moment that it is decided.
    `call` is what is noted of a run, where runs are `recorded`."""

    __slots__ = (
        "_generation",
        "_more",
        "_route",
        "_version",
        "call",
        "name",
        "receive",
        "recorded",
        "scope",
        "send",
        "started",
    )

    def __init__(self, scope: Message, receive: Receive, send: Send, *, recorded: bool = False) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.recorded = recorded
        self.started = False
        self.name = ""
        self.call: Call | None = None
        self._more: Headers = ()
        self._route: Route
        self._version: bytes | None = None
        self._generation: bytes | None = None

    def decide(self, route: Route) -> None:
        """From now on this request is one of `route`, and says so."""
        self.name = f"{route.slug} {route.version_id}"
        self._route = route
        self._version = route.version_id.encode() if route.version_id else None
        self._generation = b"%d" % route.generation

    def claim(self, version: str) -> None:
        """Say `version`, which the client named itself."""
        self._version = version.encode("ascii")

    def tell(self, name: bytes, value: bytes) -> None:
        """Say this too in the head of the answer."""
        self._more = [*self._more, (name, value)]

    def note(self, head: Head, body: bytes) -> None:
        """This is a run, with `body` as it came."""
        if self.recorded:
            self.call = Call(self._route, head.fields, body)

    async def start(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        marked = [*headers, *self._more]
        if self._version is not None:
            marked.append((b"x-lastgood-version", self._version))
        if self._generation is not None:
            marked.append((b"x-lastgood-generation", self._generation))
        self.started = True
        if self.call is not None:
            self.call.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": marked})


class Forwarder:
    """Forwards requests. Made inside a running event loop; close it there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.upstreams = Upstreams(connect_timeout=settings.connect_timeout, answer_timeout=settings.upstream_timeout)

    def close(self) -> None:
        """Close the connections to the upstreams."""
        self.upstreams.close()

    async def forward(self, request: Request, head: Head, placement: str, target: str, pool: Pool) -> None:
        """Answer `request` from one of `pool`, its version there being `placement`. When that breaks off in the
        middle, the answer stays incomplete.

        Raises `LastgoodError`, `Refused` and `ClientGone`, all before an answer has begun."""
        departure = Departure(request.receive)
        try:
            body, target = await self._pinned(request, head, placement, target, departure)
            await self._exchange(request, head, target, body, pool)
        except asyncio.CancelledError:
            # Cancelled by the client's departure, or by the end of the grace at a shutdown.
            if departure.task is not None:
                departure.task.uncancel()
            if not departure.gone and not request.started:
                raise ShuttingDown(seconds=self._settings.gateway_grace) from None
        finally:
            departure.end()

    async def ask(self, pool: Pool, outgoing: Outgoing) -> tuple[int, bytes]:
        """Send a request of our own to one of `pool`, and read its answer whole: the status and the body. Raises
        `UpstreamUnreachable`, `UpstreamTimeout`."""
        connection = await self.upstreams.send(pool, outgoing)
        try:
            parts = []
            while not connection.ended:
                parts.append(await connection.read())
            return connection.status, b"".join(parts)
        except Broken as error:
            raise UpstreamUnreachable(upstream=pool.name, reason=error.reason) from None
        finally:
            self.upstreams.release(connection)

    async def _pinned(
        self, request: Request, head: Head, placement: str, target: str, departure: Departure
    ) -> tuple[bytes | Upload | None, str]:
        """The body and the target to send on: those of a run and of a chat message name their version."""
        path, method, own = request.scope["path"], request.scope["method"], None
        run = RUN.fullmatch(path) if method == "POST" else None
        if run is None and not (method == "POST" and path in CHAT):
            return await self._passed(request, head, departure), target
        body = await self.read(request, head)
        departure.watch()
        request.note(head, body)
        if run is None:
            body, own = pin_chat(body, head.content_type, placement)
        elif (own := run[1]) is None:
            _, mark, query = target.partition("?")
            target = f"/v1/workflows/{quote(placement, safe='')}/run{mark}{query}"
        elif not is_version(own):
            raise InvalidRequest(where="path", reason="that is not the id of a version")
        if own is not None:
            if own != placement:
                request.claim(own)
            if request.call is not None:
                request.call.own = own
        return body, target

    async def read(self, request: Request, head: Head) -> bytes:
        """The body of a run or chat message. Raises `RequestTooLarge`, `RequestTimeout`, `ClientGone`."""
        if not head.has_body:
            return b""
        limit, seconds = self._settings.max_body_bytes, self._settings.body_timeout
        return await read_whole(request.receive, head.length, limit=limit, seconds=seconds)

    async def _passed(self, request: Request, head: Head, departure: Departure) -> bytes | Upload | None:
        if not head.has_body:
            departure.watch()
            return None
        seconds = self._settings.body_timeout
        return await open_upload(request.receive, head.length, seconds=seconds, departure=departure)

    async def _exchange(
        self, request: Request, head: Head, target: str, body: bytes | Upload | None, pool: Pool
    ) -> None:
        upload = body if isinstance(body, Upload) else None
        payload = body.parts if isinstance(body, Upload) else body
        outgoing = Outgoing(request.scope["method"], target, head.fields, payload, head.length)
        try:
            connection = await self.upstreams.send(pool, outgoing)
        except LastgoodError as error:
            if upload is not None and upload.failure is not None:
                raise upload.failure from None
            log.warning("%s: %s", request.name, error)
            raise
        call = request.call
        try:
            if call is not None:
                call.answered(connection.headers)
            await request.start(connection.status, answer_headers(connection.headers, connection.status))
            await relay(request.send, connection, call)
        except Broken as error:
            if call is not None:
                call.broken = True
            # Nothing is sent any more: the connection closes before the end of the answer, as the upstream's did.
            log.warning("%s: the upstream broke off its answer: %s", request.name, error)
        finally:
            self.upstreams.release(connection)


async def relay(send: Send, connection: Connection, call: Call | None) -> None:
    """Send an answer's body on as it comes."""
    while True:
        part = await connection.read()
        if call is not None:
            call.heard(part)
            call.whole = connection.ended
        if connection.ended:
            await send({"type": "http.response.body", "body": part})
            return
        await send({"type": "http.response.body", "body": part, "more_body": True})
