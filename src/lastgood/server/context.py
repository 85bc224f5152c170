"""What every request handler of the management API works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine

from lastgood.access import decisions
from lastgood.access.oidc import Provider
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.store import Store, open_runs
from lastgood.db.tx import Tx
from lastgood.errors import GenerationRequired, InvalidRequest
from lastgood.release.means import Means
from lastgood.release.verification import Upstream
from lastgood.server import asking, identity
from lastgood.server.asking import Thing
from lastgood.server.operators import Operators
from lastgood.server.syncing import Syncing
from lastgood.server.watching import Watching
from lastgood.targets.dify.servers import Clients


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
    provider: Provider = field(init=False)
    syncing: Syncing = field(init=False)
    _runs: Engine | None = None

    def __post_init__(self) -> None:
        self.dify = Clients(self.store)
        self.provider = Provider(self.store.settings.oidc)
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was let pass to do, so that it can be told when that fails."""

    who: Principal
    action: str
    resource: str


Served = Annotated[Context, Depends(context_of)]

_BEARER = HTTPBearer(scheme_name="token", description="An API token, lg_…", auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def may(action: str, *, on: str = "", moves: bool = False) -> Callable[[Request, Credentials], Principal]:
    """A dependency that lets the caller pass who may do `action` on the path's thing, and gives the principal.

    A path that names no thing is about the resource `on`; without it, about anything on which the caller may do that:
    the route shows only such, or asks again for what its body names. `moves`: it moves the path's channel, which is
    asked for too. Raises `Unauthenticated`, `Denied`, `NotFound`."""

    def check(request: Request, shown: Credentials) -> Principal:
        context = context_of(request)
        who = _identify(request, context, shown.credentials if shown else "")
        thing = thing_of(request)
        if on:
            decisions.require(context.store, who, action, on)
        elif thing is None:
            asking.require_anywhere(context.store, who, action)
        else:
            also = (asking.moving(request.path_params["channel"]),) if moves else ()
            asking.require(context.store, who, thing, action, *also)
        resource = f"{thing.kind}/{thing.ref}" if thing else request.scope["path"]
        request.state.asked = Asked(who, action, resource)
        return who

    check.action = action  # type: ignore[attr-defined]  # read by the test that every route asks
    check.moves = moves  # type: ignore[attr-defined]
    return check


def signed_in(request: Request, shown: Credentials) -> Principal:
    """A dependency for what everybody may do with their own session: it asks who is there, and for no permission.

    Raises `Unauthenticated`, `ForeignRequest`."""
    return _identify(request, context_of(request), shown.credentials if shown else "")


def thing_of(request: Request) -> Thing | None:
    """What the path of a request is about; None where that stands in its body, or it is about all there is."""
    for kind in asking.KINDS:
        if kind in request.path_params:
            return Thing(kind, request.path_params[kind])
    return None


def _identify(request: Request, context: Context, value: str) -> Principal:
    return identity.identify(request, context, value)


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
