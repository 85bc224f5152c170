"""The management API as an ASGI application."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request

import lastgood
from lastgood.db.store import Store
from lastgood.dsl.rules import RULES, RuleSettings
from lastgood.errors import Unavailable
from lastgood.release.verification import Upstream
from lastgood.server import (
    access,
    acl,
    approvals,
    audit,
    checks,
    cluster,
    documents,
    drafts,
    impact,
    kit,
    meaning,
    metrics,
    operations,
    people,
    pointers,
    promotion,
    proofs,
    servers,
    sessions,
    standing,
    state,
    tokens,
    triggers,
)
from lastgood.server.context import Context
from lastgood.server.doorstep import BodyLimit, Doorstep, Way
from lastgood.server.identity import is_known
from lastgood.server.problems import add_problems

_MOST_BYTES = 32 * 2**20  # a document of 10 MB, escaped into a JSON string

_ABOUT = """Release control for Dify workflows. Send `Authorization: Bearer lg_…`. Errors are RFC 9457 problem
documents. A move of a channel asks for the generation you expect: send its ETag as `If-Match`."""


def no_engine() -> Upstream:
    """For an app that cannot run versions."""
    raise Unavailable(detail="No engine runs beside this API; start `lastgood serve` with LASTGOOD_ENGINE_WORKERS=1.")


def make_app(
    store: Store,
    *,
    engine: Callable[[], Upstream] = no_engine,
    trusted: bool = False,
    local_token: str = "",
    facts: dict[str, Any] | None = None,
    way: Way | None = None,
) -> FastAPI:
    """The management API on an open `store` (see `Context` for the rest). `way`: how requests come; by default
    directly, or through the proxies that the settings name. Raises `InvalidSetting` for rules that the
    settings name wrongly."""
    RuleSettings(store.settings.rules).settle(RULES)
    app = FastAPI(title="Lastgood", version=lastgood.__version__, description=_ABOUT)
    app.state.context = Context(
        store, engine, trusted, local_token, {"version": lastgood.__version__, **(facts or {})}
    )
    add_problems(app)
    settings, context = store.settings, app.state.context

    def knows(request: Request) -> bool:
        # Who pushes events shows a signature of the body, which has to be read for that.
        return acl.is_push(request) or is_known(request, context)

    app.add_middleware(BodyLimit, most=_MOST_BYTES, seconds=settings.body_timeout, known=knows)
    app.add_middleware(Doorstep, way=way or Way.of(settings.trusted_proxies, only=False))
    for part in (
        *(documents, meaning, impact, pointers, operations, proofs, checks, state, triggers, cluster),
        *(servers, drafts, standing, promotion, kit),
        *(access, acl, approvals, audit, metrics, people, sessions, tokens),
    ):
        # The routes as they stand: `include_router` builds all of them again, for each command without a server.
        app.router.routes.extend(part.router.routes)
    return app
