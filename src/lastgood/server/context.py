"""What every request handler of the management API works with."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine

from lastgood.access import decisions, tokens
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_runs
from lastgood.db.tx import Tx
from lastgood.errors import GenerationRequired, InvalidRequest, Unauthenticated
from lastgood.ids import random_id
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from lastgood.server.operators import Operators
from lastgood.server.syncing import Syncing
from lastgood.server.watching import Watching
from lastgood.targets.dify.servers import Clients

_LONGEST_ACTOR = 63


@dataclass(slots=True)
class Context:
    """The running server: its store, its doors, and where versions run.

    `trusted`: requests come from this very process (the local command line). `local_token`: the command line's
    token, new at each start. `engine`: gives the embedded engine's address and token (starting one where none
    runs), or raises why not. `facts`: what `status` says of the server itself."""

    store: Store
    engine: Callable[[], Upstream]
    trusted: bool = False
    local_token: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    operators: Operators = field(init=False)
    dify: Clients = field(init=False)
    watching: Watching = field(init=False)
    syncing: Syncing = field(init=False)
    _runs: Engine | None = None

    def __post_init__(self) -> None:
        self.dify = Clients(self.store)
        self.watching = Watching(self.store, self.dify)
        self.syncing = Syncing(self.store, self.dify)
        self.operators = Operators(Means(self.store, self._engine_of, self.runs, self.dify, self.facts))

    def means(self) -> Means:
        """What operations and checks work with here."""
        return self.operators.means

    def runs(self) -> Engine:
        """The store of runs and calls, opened when first asked for."""
        if self._runs is None:
            self._runs = open_runs(self.store.settings)
        return self._runs

    def close(self) -> None:
        """Park the operations that still run, and let go of the store of runs."""
        self.operators.stop()
        self.watching.stop()
        self.syncing.stop()
        self.dify.close()
        if self._runs is not None:
            self._runs.dispose()

    def _engine_of(self) -> Upstream:
        return self.engine()


def context_of(request: Request) -> Context:
    """The server's context."""
    context: Context = request.app.state.context
    return context


Served = Annotated[Context, Depends(context_of)]

_BEARER = HTTPBearer(scheme_name="token", description="An API token, lg_…", auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def may(action: str) -> Callable[[Request, Credentials], Principal]:
    """A dependency that lets the caller pass who may do `action` on the path's thing, and gives the principal.

    Raises `Unauthenticated`, `Denied`."""

    def check(request: Request, shown: Credentials) -> Principal:
        context = context_of(request)
        who = _identify(request, context, shown.credentials if shown else "")
        decisions.require(context.store, who, action, resource_of(request))
        return who

    check.action = action  # type: ignore[attr-defined]  # read by the test that every route asks
    return check


def resource_of(request: Request) -> str:
    """The path of the thing a request is about, such as ``workflow/prod-invoice``."""
    for name in ("workflow", "version", "snapshot", "operation", "server", "draft"):
        if name in request.path_params:
            return f"{name}/{request.path_params[name]}"
    return request.url.path


def _identify(request: Request, context: Context, value: str) -> Principal:
    request_id = request.headers.get("x-request-id", "")[:_LONGEST_ACTOR] or random_id("rq-")
    address = request.client.host if request.client else "local"
    local = context.trusted or (
        context.local_token != "" and hmac.compare_digest(value.encode(), context.local_token.encode())
    )
    if local:
        actor = "".join(c for c in request.headers.get("x-lastgood-actor", "") if c.isprintable())
        return Principal(actor[:_LONGEST_ACTOR] or "local", "local", request_id, address)
    with context.store.read() as tx:
        name = tokens.owner(tx, value)
    if name is None:
        raise Unauthenticated()
    return Principal(name, "token", request_id, address)


def record_read(context: Context, who: Principal, action: str, resource: str, *, emergency: bool = False) -> None:
    """Keep in the audit log that `who` reads a definition, before it is read."""

    def write(tx: Tx) -> None:
        audit.append(tx, who, action, resource)

    context.store.write(write, emergency=emergency)


def expected_generation(if_match: Annotated[str | None, Header()] = None) -> int:
    """The generation that the caller expects, from ``If-Match: "3"``. Raises `GenerationRequired`."""
    if if_match is None or if_match.strip() in ("", "*"):
        raise GenerationRequired()
    value = if_match.strip().removeprefix("W/").strip('"')
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidRequest(where="If-Match", reason=f"{if_match!r} is not the ETag of a channel")
    return int(value)


Expected = Annotated[int, Depends(expected_generation)]
