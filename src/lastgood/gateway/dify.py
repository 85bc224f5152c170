"""Runs and chat messages on their way to a Dify server: checked, pinned, let through one by one, and followed to
their last event. Everything else that a Dify app is asked goes through as it is."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import orjson
from sqlalchemy.exc import SQLAlchemyError

from lastgood.errors import LastgoodError, ShuttingDown, UpstreamTimeout, UpstreamUnreachable
from lastgood.gateway.answers import Answer
from lastgood.gateway.assembly import Assembly, TooLarge
from lastgood.gateway.body import Departure
from lastgood.gateway.connection import Broken, Connection
from lastgood.gateway.conversations import Conversations, Pin
from lastgood.gateway.events import Event
from lastgood.gateway.following import Following, Idle
from lastgood.gateway.forward import Forwarder, Request, relay
from lastgood.gateway.head import Head, answer_headers
from lastgood.gateway.intake import Order, Reader
from lastgood.gateway.knowledge import Knowledge
from lastgood.gateway.metrics import Metrics, Sample
from lastgood.gateway.pin import Refused
from lastgood.gateway.shield import Place, Shield
from lastgood.gateway.upstream import Outgoing, Pool
from lastgood.history.routes import Route
from lastgood.settings import Settings

log = logging.getLogger(__name__)

_CONVERSATION: Final = re.compile(rb'"conversation_id"\s*:\s*"([0-9A-Za-z-]{1,64})"')
# An answer waits no longer than this for its conversation to be written down.
_KEEP_SECONDS: Final = 2.0
_NOT_THERE: Final = b"Workflow not found with id: "
_FORGET: Final = (LastgoodError, SQLAlchemyError, OSError)
_SHORT: Final = 64 * 2**10


class Deleted(Exception):
    """Dify does not have the version that was asked for."""


class Dify:
    """Forwards to Dify servers. Made inside a running event loop; close it there. Without `conversations` every
    message goes to the version in service."""

    def __init__(
        self,
        settings: Settings,
        forwarder: Forwarder,
        knowledge: Knowledge,
        metrics: Metrics,
        conversations: Conversations | None = None,
    ) -> None:
        self._settings = settings
        self._forwarder = forwarder
        self._knowledge = knowledge
        self._metrics = metrics
        self._conversations = conversations
        self._reader = Reader(settings, knowledge, metrics, conversations)
        self._shields: dict[Pool, Shield] = {}
        self._tasks: set[asyncio.Future[Any]] = set()

    def close(self) -> None:
        """Give up what is read in the background."""
        for shield in self._shields.values():
            shield.close()

    def gauges(self) -> dict[str, Iterable[Sample]]:
        """What is so at this moment, for the metrics."""
        shields = list(self._shields.values())

        def each(read: Callable[[Shield], float]) -> list[Sample]:
            return [((shield.name,), read(shield)) for shield in shields]

        return {
            "lastgood_gateway_calls_in_flight": each(lambda shield: shield.slots.taken),
            "lastgood_gateway_calls_left": each(lambda shield: shield.left),
            "lastgood_gateway_calls_queued": each(lambda shield: shield.slots.queued),
            "lastgood_gateway_breaker_state": each(lambda shield: shield.state()),
        }

    async def forward(self, request: Request, head: Head, route: Route, target: str, pool: Pool) -> Answer | None:
        """The answer of the gateway itself, or None when the upstream's has been sent.

        Raises `LastgoodError`, `Refused` and `ClientGone`, all before an answer has begun."""
        if not self._reader.takes(request):
            await self._forwarder.forward(request, head, str(route.placement_id), target, pool)
            return None
        departure = Departure(request.receive)
        try:
            body = await self._forwarder.read(request, head)
            departure.watch()
            request.note(head, body)
            order = await self._reader.read(request, head, route, target, body)
            return await self._run(request, head, order, pool)
        except asyncio.CancelledError:
            # Cancelled by the client's departure, or by the end of the grace at a shutdown.
            if departure.task is not None:
                departure.task.uncancel()
            if not departure.gone and not request.started:
                raise ShuttingDown(seconds=self._settings.gateway_grace) from None
            return None
        finally:
            departure.end()

    async def _run(self, request: Request, head: Head, order: Order, pool: Pool) -> Answer | None:
        try:
            return await self._exchange(request, head, order, pool)
        except Deleted:
            self._metrics.count("deleted_versions", pool.name)
            self._background(asyncio.to_thread(self._knowledge.deleted, order.route, order.placement))
        if order.otherwise is None:
            message = (
                f"{order.route.version_id} was deleted in Dify (its id there was {order.placement}). That is noted, "
                "and it has to be published again; nothing was run."
            )
            raise Refused(503, "app_unavailable", message, retry_after=self._settings.breaker_seconds)
        return await self._run(request, head, self._reader.moved(request, order, "gone"), pool)

    async def _exchange(self, request: Request, head: Head, order: Order, pool: Pool) -> Answer | None:
        shield = self._shields.get(pool)
        if shield is None:
            shield = self._shields[pool] = Shield(pool.name, self._settings, self._forwarder.upstreams, self._metrics)
        place = await shield.admit(order.route.key_id)
        # A compressed stream could not be followed.
        fields = [field for field in head.fields if field[0] != b"accept-encoding"]
        outgoing = Outgoing("POST", order.target, fields, order.body)
        sending = asyncio.get_running_loop().create_task(self._forwarder.upstreams.send(pool, outgoing))
        try:
            connection = await asyncio.shield(sending)
        except LastgoodError as error:
            place.judge(False)
            place.leave()
            log.warning("%s: %s", request.name, error)
            raise
        except BaseException:
            place.leave(sending)
            raise
        try:
            return await self._answered(request, order, pool, connection, place)
        except Broken as error:
            place.judge(False)
            if request.call is not None:
                request.call.broken = True
            log.warning("%s: the upstream broke off its answer: %s", request.name, error)
            if not request.started:
                raise UpstreamUnreachable(upstream=pool.name, reason=error.reason) from None
            return None
        finally:
            place.leave(connection)

    async def _answered(
        self, request: Request, order: Order, pool: Pool, connection: Connection, place: Place
    ) -> Answer | None:
        status, call = connection.status, request.call
        headers = answer_headers(connection.headers, status)
        if status == 404:
            body = await _short(connection)
            if _NOT_THERE + order.placement.encode() in body and not order.own:
                place.judge(True)
                raise Deleted
            place.judge(True)
            return Answer(status, headers, body)
        if call is not None:
            call.answered(connection.headers)
        streams = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
        if not streams or status != 200:
            place.judge(status not in {502, 503, 504})
            await request.start(status, headers)
            await relay(request.send, connection, call)
            return None
        following = Following(connection, call, chat=order.chat, idle=self._settings.stream_idle_seconds)
        try:
            if order.assemble:
                return await self._assemble(request, order, pool, following, place)
            # Ended at its last event, it may be shorter than the upstream said.
            await request.start(status, [field for field in headers if field[0] != b"content-length"])
            await self._relay(request, order, pool, following, place)
        except Idle:
            self._metrics.count("idle_cutoffs", pool.name)
            place.judge(False)
            if call is not None:
                call.broken = True
            message = f"no progress within {self._settings.stream_idle_seconds:g} s"
            log.warning("%s: the stream is given up: %s", request.name, message)
            if not request.started:
                raise UpstreamTimeout(upstream=pool.name, reason=message) from None
            await request.send({"type": "http.response.body", "body": _idle_event(following, message)})
        return None

    async def _relay(self, request: Request, order: Order, pool: Pool, following: Following, place: Place) -> None:
        keeper = _Keeper(self, order)
        last = False
        while not last:
            part = await following.next()
            last = part.last
            if following.progressed:
                place.judge(True)
            keeper.take(part.events)
            if last:
                await keeper.kept()
            await request.send({"type": "http.response.body", "body": part.data, "more_body": not last})

    async def _assemble(
        self, request: Request, order: Order, pool: Pool, following: Following, place: Place
    ) -> Answer:
        keeper, assembly = _Keeper(self, order), Assembly(order.route.mode)
        if request.call is not None:
            request.call.streamed = True
        ended = False
        try:
            last = False
            while not last:
                part = await following.next()
                last = part.last
                if following.progressed:
                    place.judge(True)
                keeper.take(part.events)
                for event in part.events:
                    assembly.take(event)
                ended = ended or following.ended
        except TooLarge:
            reason = "its answer is too large to be put together; ask for a stream"
            raise UpstreamUnreachable(upstream=pool.name, reason=reason) from None
        if not ended:
            raise Broken("it ended the stream before the message")
        await keeper.kept()
        self._metrics.count("assembled_chats", pool.name)
        return assembly.answer()

    def keep(self, order: Order, conversation: str) -> "asyncio.Future[None] | None":
        """Pin a conversation to the version that answers it."""
        route = order.route
        if self._conversations is None or not order.keep or route.app is None or route.version_id is None:
            return None
        pin = Pin(order.placement, route.version_id, route.generation)
        return self._conversations.keep(route.app, conversation, pin)

    def unkept(self, error: BaseException) -> None:
        """A conversation could not be written down."""
        self._metrics.count("conversations_unkept")
        log.error("the version of a conversation is not kept: %s", str(error).partition("\n")[0] or repr(error))

    def _background(self, work: Awaitable[Any]) -> None:
        async def safely() -> None:
            try:
                await work
            except _FORGET as error:
                log.error("what Dify deleted is not noted: %s", str(error).partition("\n")[0])

        task = asyncio.ensure_future(safely())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Keeper:
    """Learns the id of a conversation from the first event that tells it, and has it kept."""

    def __init__(self, dify: Dify, order: Order) -> None:
        self._dify = dify
        self._order = order
        self._learnt = not order.keep
        self._keeping: asyncio.Future[None] | None = None

    def take(self, events: Iterable[Event]) -> None:
        """Events in their order."""
        if self._learnt:
            return
        for event in events:
            found = _CONVERSATION.search(event.data)
            if found is not None:
                self._learnt = True
                self._keeping = self._dify.keep(self._order, found[1].decode())
                return

    async def kept(self) -> None:
        """Wait, not for long, until it is written: the next message may come to another worker."""
        if self._keeping is None:
            return
        try:
            async with asyncio.timeout(_KEEP_SECONDS):
                await asyncio.shield(self._keeping)
        except (*_FORGET, TimeoutError) as error:
            self._dify.unkept(error)


async def _short(connection: Connection) -> bytes:
    """An answer that is read whole. Raises `Broken`."""
    body = b""
    while not connection.ended:
        body += await connection.read()
        if len(body) > _SHORT:
            raise Broken("its refusal is too long")
    return body


def _idle_event(following: Following, message: str) -> bytes:
    """The error event that ends a stream which makes no progress, in Dify's shape."""
    event = {"event": "error", "status": 504, "code": "stream_idle", "message": f"The run makes {message}."}
    return (b"" if following.between else b"\n\n") + b"data: " + orjson.dumps(event) + b"\n\n"
