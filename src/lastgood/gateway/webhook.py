"""Webhooks: a request to the address of a trigger starts the version in service, and is answered at once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import orjson

from lastgood.dsl import webhook
from lastgood.dsl.webhook import Misfit, Webhook
from lastgood.errors import InvalidRequest, Unavailable, UnknownWebhook
from lastgood.gateway.answers import Answer, json_answer
from lastgood.gateway.body import read_whole
from lastgood.gateway.forward import Forwarder, Request
from lastgood.gateway.head import Head
from lastgood.gateway.upstream import Outgoing, Pool
from lastgood.history.routes import Route
from lastgood.settings import Settings

PREFIX: Final = "/triggers/webhook/"
_KEPT: Final = 1024
_USER: Final = "webhook"
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
Declared = Mapping[str, Webhook]


class Webhooks:
    """`declared` gives the webhooks of a version by the id of their node (it may read the store: it runs in a thread,
    once per version); `token` is the engine's own."""

    def __init__(self, declared: Callable[[str], Declared], settings: Settings, token: str = "") -> None:
        self._declared = declared
        self._settings = settings
        self._token = token
        self._known: OrderedDict[str, Declared] = OrderedDict()

    async def serve(
        self, request: Request, head: Head, route: Route | None, forwarder: Forwarder, pool: Pool
    ) -> Answer:
        """Start the version of `route` and answer as its webhook declares: the run goes on by itself.

        Raises `UnknownWebhook`, `InvalidRequest` for a request that it does not take, `Unavailable` where the engine
        takes no run, and what reading a body does."""
        if route is None or route.trigger is None:
            raise UnknownWebhook(reason="it is not known here")
        request.decide(route)
        hook = await self._hook(route)
        limit, seconds = self._settings.max_body_bytes, self._settings.body_timeout
        body = await read_whole(request.receive, head.length, limit=limit, seconds=seconds) if head.has_body else b""
        try:
            given = hook.take(_came(request.scope, body))
            order = {"inputs": given, "user": _USER, "trigger": route.trigger, "detached": True}
            outgoing = self._order(str(route.placement_id), orjson.dumps(order))
        except Misfit as misfit:
            raise InvalidRequest(where="webhook", reason=str(misfit)) from None
        except orjson.JSONEncodeError:
            raise InvalidRequest(where="webhook", reason="it is nested too deeply") from None
        status, said = await forwarder.ask(pool, outgoing)
        if status != HTTPStatus.ACCEPTED:
            raise Unavailable(detail=f"The engine did not start the run ({_why(said) or status}). Send it again.")
        if hook.status in _BODILESS:
            return Answer(hook.status, [(b"date", formatdate(usegmt=True).encode())], b"")
        return json_answer(hook.status, hook.answer)

    async def _hook(self, route: Route) -> Webhook:
        if route.channel not in self._settings.trigger_channels:
            raise UnknownWebhook(reason=f"the channel {route.channel} is not named by the setting trigger_channels")
        if route.version_id is None or route.trigger is None:
            raise UnknownWebhook(reason=f"nothing is in service on {route.channel} of {route.slug}")
        known = self._known.get(route.version_id)
        if known is None:
            known = self._known[route.version_id] = await asyncio.to_thread(self._declared, route.version_id)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        hook = known.get(route.trigger)
        if hook is None:
            reason = (
                f"{route.version_id}, in service on {route.channel} of {route.slug}, has no webhook {route.trigger}"
            )
            raise UnknownWebhook(reason=reason)
        return hook

    def _order(self, version: str, body: bytes) -> Outgoing:
        fields = [
            (b"authorization", b"Bearer " + self._token.encode()),
            (b"content-type", b"application/json"),
        ]
        return Outgoing("POST", f"/v1/workflows/{version}/run", fields, body)


def _came(scope: Mapping[str, Any], body: bytes) -> webhook.Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return webhook.Request(scope["method"], headers, scope["query_string"].decode("latin-1"), body)


def _why(said: bytes) -> str:
    """The engine's own words for why not."""
    try:
        return str(orjson.loads(said).get("message") or "")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
