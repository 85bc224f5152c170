"""The gateway as a plain ASGI application: whose request it is, and who answers it."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from math import ceil
from typing import Any

import orjson

import lastgood
from lastgood.errors import InvalidRequest, LastgoodError, NotFound, NothingLive, RequestTimeout, Unavailable
from lastgood.gateway.answers import Answer, dify_error, json_answer, problem, unauthorized
from lastgood.gateway.body import ClientGone, Message, Receive, Send
from lastgood.gateway.call import Call
from lastgood.gateway.conversations import Conversations
from lastgood.gateway.dify import Dify
from lastgood.gateway.forward import Forwarder, Request
from lastgood.gateway.head import Head, read_head, upstream_target
from lastgood.gateway.knowledge import Knowledge
from lastgood.gateway.metrics import Metrics
from lastgood.gateway.pin import Refused
from lastgood.gateway.router import Router
from lastgood.gateway.upstream import Pool, pool_of
from lastgood.gateway.webhook import PREFIX, Webhooks
from lastgood.history.routes import Route
from lastgood.history.triggers import lookup_name
from lastgood.settings import Settings

ENGINE = "engine"
_PARAMETERS_KEPT = 1024
_METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Gateway:
    """The ASGI application.

    `parameters` gives the answer of ``/v1/parameters`` for a version id (it may read the store: it runs in a thread,
    once per version). `engine` are the base URLs of the embedded engine's processes. `record` takes each run when
    it is over; it must neither wait nor raise. `webhooks` serves those of triggers, where there are any. `knowledge`
    is what the store knows of Dify apps, and `conversations` keeps the versions of theirs."""

    def __init__(
        self,
        router: Router,
        parameters: Callable[[str], Mapping[str, Any]],
        settings: Settings,
        engine: tuple[str, ...] = (),
        record: Callable[[Call], None] | None = None,
        webhooks: Webhooks | None = None,
        *,
        knowledge: Knowledge | None = None,
        conversations: Conversations | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._router = router
        self._parameters = parameters
        self._settings = settings
        self._engine = engine
        self._record = record
        self._webhooks = webhooks
        self._knowledge = knowledge
        self._conversations = conversations if settings.conversations == "pinned" else None
        self._metrics = metrics or Metrics()
        self._dify: Dify | None = None
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._pools: dict[tuple[str, tuple[str, ...]], Pool] = {}
        self._forwarder: Forwarder

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request = Request(scope, receive, send, recorded=self._record is not None)
        try:
            await self._answer(request)
        finally:
            if request.call is not None and self._record is not None:
                self._record(request.call)

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._serve(request)
        except (InvalidRequest, RequestTimeout) as error:
            # What else comes on this connection might be read in another way than it was meant.
            answer = problem(error, more=((b"connection", b"close"),))
        except LastgoodError as error:
            answer = problem(error)
        except Refused as refused:
            more = () if refused.retry_after is None else ((b"retry-after", b"%d" % ceil(refused.retry_after)),)
            answer = dify_error(refused.status, refused.code, refused.message, more=more)
        except ClientGone:
            return
        if answer is not None:
            await request.start(answer.status, answer.headers)
            await request.send({"type": "http.response.body", "body": answer.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._begin()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._dify is not None:
                    self._dify.close()
                self._forwarder.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _begin(self) -> None:
        self._forwarder = Forwarder(self._settings)
        if self._knowledge is not None:
            self._dify = Dify(self._settings, self._forwarder, self._knowledge, self._metrics, self._conversations)

    async def _serve(self, request: Request) -> Answer | None:
        """The answer of the gateway itself, or None when an upstream's has been sent."""
        scope = request.scope
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            hooks = self._webhooks if path.startswith(PREFIX) else None
            return self._own(path, scope) if hooks is None else await self._webhook(request, hooks, path)
        target = upstream_target(scope["raw_path"], path, scope["query_string"])
        client = scope["client"]
        head = read_head(scope["headers"], client[0] if client else "unknown", scope["scheme"])
        # From here to the route nothing waits: the request is decided as soon as its head is known.
        route = self._router.route(head.key) if head.key is not None else None
        if route is None:
            return unauthorized(_refusal(head, scope["query_string"]))
        request.decide(route)
        if route.version_id is None:
            nothing = NothingLive(channel=route.channel, workflow=route.slug)
            return problem(nothing, status=400, code="app_unavailable")
        if route.placement_id is None:
            where = f"{route.version_id} of {route.slug} is not on the target {route.target}"
            raise Unavailable(detail=f"{where} yet. Publish it again.")
        if path in {"/v1/parameters", "/v1/parameters/"} and scope["method"] in {"GET", "HEAD"}:
            return await self._parameters_of(route.version_id)
        if route.app is not None and self._dify is not None:
            return await self._dify.forward(request, head, route, target, self._pool(route))
        await self._forwarder.forward(request, head, route.placement_id, target, self._pool(route))
        return None

    async def _webhook(self, request: Request, hooks: Webhooks, path: str) -> Answer:
        scope = request.scope
        head = read_head(scope["headers"], "", scope["scheme"])
        # No app key can pass for this name, nor a token for an app key: there is a space in it.
        route = self._router.route(lookup_name(path.removeprefix(PREFIX)))
        return await hooks.serve(request, head, route, self._forwarder, self._engine_pool)

    @cached_property
    def _engine_pool(self) -> Pool:
        return pool_of(ENGINE, self._engine)

    def _own(self, path: str, scope: Message) -> Answer:
        """The gateway's own few paths."""
        if path == "/healthz":
            return json_answer(200, {"status": "ok", "version": lastgood.__version__})
        if path == "/readyz":
            state = self._router.state()
            return json_answer(200 if state["ready"] else 503, {"version": lastgood.__version__, **state})
        if path == "/metrics" and (self._settings.metrics_from == "any" or _is_near(scope)):
            gauges = self._dify.gauges() if self._dify is not None else {}
            return json_answer(200, self._metrics.render(gauges), kind=_METRICS_TYPE)
        raise NotFound(
            detail="The gateway serves the paths of Dify's Service API under /v1/ only. The management API has an "
            "address of its own (LASTGOOD_API_PORT)."
        )

    def _pool(self, route: Route) -> Pool:
        pool = self._pools.get((route.target, route.upstreams))
        if pool is None:
            embedded = route.target == ENGINE and not route.upstreams
            pool = pool_of(route.target, self._engine if embedded else route.upstreams)
            self._pools[route.target, route.upstreams] = pool
        return pool

    async def _parameters_of(self, version: str) -> Answer:
        body = self._answers.get(version)
        if body is None:
            body = orjson.dumps(await asyncio.to_thread(self._parameters, version))
            self._answers[version] = body
            if len(self._answers) > _PARAMETERS_KEPT:
                self._answers.popitem(last=False)
        return json_answer(200, body)


def _is_near(scope: Message) -> bool:
    """Whether this machine asks, and not for somebody else."""
    client = scope["client"]
    return (
        client is not None
        and client[0] in {"127.0.0.1", "::1"}
        and not any(name in {b"x-forwarded-for", b"forwarded"} for name, _ in scope["headers"])
    )


def _refusal(head: Head, query: bytes) -> str:
    reason = head.refusal or "it is unknown or revoked"
    return f"{reason}, and a key in the URL is not accepted" if b"app-" in query else reason
