"""What a client orders of a Dify app: which version of it, whether that takes the inputs, and how to ask for it."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import orjson
from sqlalchemy.exc import SQLAlchemyError

from lastgood.dsl.interface import problem_of
from lastgood.errors import InvalidRequest, LastgoodError
from lastgood.gateway.conversations import Conversations, Pin
from lastgood.gateway.forward import CHAT, RUN, Request
from lastgood.gateway.head import Head
from lastgood.gateway.knowledge import Knowledge, Placed
from lastgood.gateway.metrics import Metrics
from lastgood.gateway.pin import Refused, is_version, pin_chat, with_field
from lastgood.history.routes import Route
from lastgood.settings import Settings

log = logging.getLogger(__name__)

_CHATFLOW: Final = "advanced-chat"
_REMEMBERED: Final = 4096
_PLACEMENT_SECONDS: Final = 5.0
_FORGET: Final = (LastgoodError, SQLAlchemyError, OSError)


class Order(NamedTuple):
    """A call as it goes to Dify: `placement` is the row of Dify's that it names, `own` that the client chose it. An
    answer is to be put together where `assemble` says so, and its conversation pinned where `keep` does.
    `otherwise` is the route in service, where a conversation is held on another version."""

    route: Route
    placement: str
    target: str
    body: bytes
    came: bytes
    chat: bool
    own: bool = False
    assemble: bool = False
    keep: bool = False
    otherwise: Route | None = None


class Reader:
    """Reads orders."""

    def __init__(
        self, settings: Settings, knowledge: Knowledge, metrics: Metrics, conversations: Conversations | None
    ) -> None:
        self._settings = settings
        self._knowledge = knowledge
        self._metrics = metrics
        self._conversations = conversations
        self._placed: _Memory[Placed | None] = _Memory()
        self._left: _Memory[bool] = _Memory()
        self._current: _Memory[str | None] = _Memory(_PLACEMENT_SECONDS)

    def takes(self, request: Request) -> bool:
        """Whether this is a run or a chat message."""
        path, method = request.scope["path"], request.scope["method"]
        return method == "POST" and (path in CHAT or RUN.fullmatch(path) is not None)

    async def read(self, request: Request, head: Head, route: Route, target: str, body: bytes) -> Order:
        """The order of `request`. Raises `Refused`, `InvalidRequest`."""
        run = RUN.fullmatch(request.scope["path"])
        order = (
            await self._chat(request, head, route, target, body)
            if run is None
            else self._run(request, route, target, body, run[1])
        )
        placed = await self._held_by(order)
        if placed is not None:
            if order.own:
                # The client named Dify's row: say which version of ours that is.
                _claim(request, placed.version_id, order.route.version_id)
            self._check(order, placed)
        return order

    def moved(self, request: Request, order: Order, reason: str) -> Order:
        """`order` on the version in service instead."""
        live = order.otherwise or order.route
        self._move(request, order.route.version_id, reason)
        _decide(request, live)
        placement = str(live.placement_id)
        body = pin_chat(order.came, "application/json", placement)[0]
        body = self._streamed(body) if order.assemble else body
        return order._replace(route=live, placement=placement, body=body, keep=True, otherwise=None)

    def _run(self, request: Request, route: Route, target: str, body: bytes, own: str | None) -> Order:
        placement = str(route.placement_id)
        if own is None:
            _, mark, query = target.partition("?")
            target = f"/v1/workflows/{quote(placement, safe='')}/run{mark}{query}"
        elif not is_version(own):
            raise InvalidRequest(where="path", reason="that is not the id of a version")
        else:
            _claim(request, own, placement)
        return Order(route, own or placement, target, body, body, chat=False, own=own is not None)

    async def _chat(self, request: Request, head: Head, route: Route, target: str, came: bytes) -> Order:
        body, own = pin_chat(came, head.content_type, str(route.placement_id))
        message: dict[str, Any] = orjson.loads(came)
        assemble = (
            self._settings.assemble_chats
            and route.mode == _CHATFLOW
            and message.get("response_mode") in {None, "blocking"}
        )
        otherwise, keep = None, False
        if own is not None:
            _claim(request, own, str(route.placement_id))
        elif self._conversations is not None and route.mode == _CHATFLOW:
            live = route
            route, keep = await self._conversed(request, route, message.get("conversation_id"), self._conversations)
            if route is not live:
                otherwise = live
                _decide(request, route)
                body = pin_chat(came, head.content_type, str(route.placement_id))[0]
        body = self._streamed(body) if assemble else body
        placement = own or str(route.placement_id)
        return Order(route, placement, target, body, came, True, own is not None, assemble, keep, otherwise)

    def _streamed(self, body: bytes) -> bytes:
        return with_field(body, orjson.loads(body), "response_mode", "streaming")

    async def _conversed(
        self, request: Request, route: Route, conversation: Any, kept: Conversations
    ) -> tuple[Route, bool]:
        """The route of a message in `conversation`, and whether to pin it there."""
        if not isinstance(conversation, str) or not conversation:
            return route, True
        try:
            return await self._held(request, route, conversation, kept)
        except _FORGET as error:
            # An answer by the version in service is better than none.
            self._metrics.count("conversations_unkept")
            log.error("the version of a conversation cannot be read: %s", str(error).partition("\n")[0])
            return route, False

    async def _held(
        self, request: Request, route: Route, conversation: str, kept: Conversations
    ) -> tuple[Route, bool]:
        pin = await kept.find(str(route.app), conversation, live=route.version_id)
        if pin is None:
            return route, True
        if pin.version_id == route.version_id:
            return route, kept.due(pin)
        if await self._was_left(route, pin):
            self._move(request, pin.version_id, "rollback")
            return route, True
        key = (route.target, route.app, pin.version_id)
        placement = await self._current.get(key, lambda: self._knowledge.placement_of(route, pin.version_id))
        if placement is None:
            self._move(request, pin.version_id, "gone")
            return route, True
        held = replace(route, version_id=pin.version_id, placement_id=placement)
        return held, kept.due(pin)

    async def _was_left(self, route: Route, pin: Pin) -> bool:
        key = (route.workflow_id, route.channel, pin.version_id, pin.generation, route.generation)
        return await self._left.get(key, lambda: self._knowledge.left(route, pin.version_id, pin.generation))

    def _move(self, request: Request, version: str | None, reason: str) -> None:
        """Say that a conversation goes on with another version."""
        self._metrics.count("conversations_moved", reason)
        request.tell(b"x-lastgood-conversation", f"moved; from={version}; reason={reason}".encode())

    async def _held_by(self, order: Order) -> Placed | None:
        """What the row that `order` names holds; None where that is not known, and Dify may judge."""
        if not (order.own or self._settings.shield_inputs):
            return None
        route = order.route
        key = (route.target, route.app, order.placement)
        try:
            return await self._placed.get(key, lambda: self._knowledge.placed(route, order.placement))
        except _FORGET as error:
            log.error("inputs go unchecked: %s", str(error).partition("\n")[0])
            return None

    def _check(self, order: Order, placed: Placed) -> None:
        """Raise `Refused` for inputs that Dify would take, and then leave the caller waiting for five minutes."""
        if not self._settings.shield_inputs:
            return
        message = _object(order.body)
        given = message.get("inputs")
        # What Dify refuses at once, and first, is left to it.
        if not isinstance(given, dict) or not message.get("user"):
            return
        if message.get("response_mode") not in {None, "blocking", "streaming"}:
            return
        # Older servers take a conversation's own inputs at its later messages.
        goes_on = order.chat and bool(message.get("conversation_id"))
        problem = _problem(placed, given, goes_on=goes_on)
        if problem is not None:
            self._metrics.count("refused_inputs", order.route.target)
            raise Refused(400, "invalid_param", problem)


class _Memory[T]:
    """Answers that are asked for in a thread, and remembered for a while."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._known: OrderedDict[tuple[Any, ...], tuple[T, float]] = OrderedDict()

    async def get(self, key: tuple[Any, ...], ask: Callable[[], T]) -> T:
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and (self._seconds is None or now - known[1] < self._seconds):
            return known[0]
        answer = await asyncio.to_thread(ask)
        if answer is None:
            return answer  # it may be there a moment later
        self._known[key] = (answer, now)
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return answer


def _problem(placed: Placed, given: Mapping[str, Any], *, goes_on: bool) -> str | None:
    for field in placed.fields:
        value = given.get(field.name)
        if value is None and goes_on:
            continue
        problem = problem_of(field, value)
        if problem is not None:
            return problem
    return None


def _claim(request: Request, own: str, placement: str | None) -> None:
    """Say the version that the client named itself."""
    if own != placement:
        request.claim(own)
    if request.call is not None:
        request.call.own = own


def _decide(request: Request, route: Route) -> None:
    request.decide(route)
    if request.call is not None:
        request.call.route = route


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
