"""Who sends a request: by an API token, by the session of a signed-in person, or by the local command line's token.

A token that is shown counts alone: a browser's cookie is looked at only where no `Authorization` came. What a cookie
does by itself, without its owner's will, a page of somebody else's could make a browser do; so a request with a
cookie that changes something shows the session's own `X-CSRF-Token` as well, and must not come from another
origin."""

import hmac
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection, Request

from lastgood.access import sessions, tokens
from lastgood.access.sessions import Session
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import ForeignRequest, LastgoodError, SessionOver, TokenExpired, Unauthenticated
from lastgood.ids import random_id

if TYPE_CHECKING:
    from lastgood.server.context import Context

COOKIE = "lastgood_session"
_LONGEST_ACTOR = 63
_LONGEST_PATH = 1000
_READS = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")


def identify(request: HTTPConnection, context: "Context", value: str) -> Principal:
    """The principal behind `request`, which shows the bearer token `value` (empty: none). Raises `Unauthenticated`
    and its kinds, `ForeignRequest`."""
    asker = asker_of(request)
    local = context.trusted or (
        context.local_token != "" and hmac.compare_digest(value.encode(), context.local_token.encode())
    )
    if local:
        actor = plain(request.headers.get("x-lastgood-actor", ""))
        return _named(asker, actor or "local", "local")
    if value == "" and "authorization" not in request.headers:
        cookie = cookie_of(request)
        if cookie:
            session = session_of(request, context.store, cookie)
            return _named(asker, session.person, "person", session.roles)
    return _named(asker, _token(context.store, value), "token")


def session_of(request: HTTPConnection, store: Store, cookie: str) -> Session:
    """The session in force behind the `cookie` of `request`. Raises `SessionOver`, `ForeignRequest`."""
    with store.read() as tx:
        session = sessions.find(tx, cookie, idle_seconds=store.settings.session_idle_minutes * 60)
        stale = session is not None and sessions.is_stale(tx, session)
    if session is None:
        raise SessionOver()
    if request.scope.get("method") not in _READS:
        check_origin(request)
        if not sessions.is_csrf(store.ring, cookie, request.headers.get("x-csrf-token", "")):
            reason = "it has not the X-CSRF-Token of this session, which `GET /v1/session` tells"
            raise ForeignRequest(reason=reason)
    if stale:
        _note(store, lambda tx: sessions.seen(tx, session))
    return session


def check_origin(request: HTTPConnection) -> None:
    """Raises `ForeignRequest` where the browser says that another site's page sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITES:
        raise ForeignRequest(reason="Sec-Fetch-Site says so")
    origin = request.headers.get("origin")
    own = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    if origin is not None and origin.casefold() != own.casefold():
        reason = f"its Origin is not {own}; a proxy in front must pass on the host and say X-Forwarded-Proto"
        raise ForeignRequest(reason=plain(reason, 300))


def cookie_of(request: HTTPConnection) -> str:
    """The session cookie that came, empty where none did."""
    return request.cookies.get(cookie_name(request), "")


def cookie_name(request: HTTPConnection) -> str:
    """Over TLS a name that browsers take from this very host only, and keep to TLS."""
    return f"__Host-{COOKIE}" if request.scope["scheme"] == "https" else COOKIE


def asker_of(request: HTTPConnection) -> Principal:
    """What is known of a request before it is known who sends it; it may do nothing."""
    return Principal(
        "unknown",
        "person",
        plain(request.headers.get("x-request-id", "")) or random_id("rq-"),
        request.client.host if request.client else "local",
        frozenset(),
        method=str(request.scope.get("method", "")),
        path=plain(request.scope["path"], _LONGEST_PATH),  # `url` fails on a query that is no UTF-8
    )


def plain(text: str, longest: int = _LONGEST_ACTOR) -> str:
    """`text` cut, and without what could steer a terminal or begin a line of a log."""
    return "".join(c for c in text if c.isprintable())[:longest]


def is_known(request: Request, context: "Context") -> bool:
    """Whether the credentials that came are good: asked before a large body is taken in."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        identify(request, context, value if scheme.lower() == "bearer" else "")
    except (Unauthenticated, ForeignRequest):
        return False
    return True


def _named(asker: Principal, name: str, kind: str, roles: frozenset[str] = frozenset()) -> Principal:
    return replace(asker, name=name, kind=kind, roles=roles)


def _token(store: Store, value: str) -> str:
    with store.read() as tx:
        token = tokens.find(tx, value)
        stale = token is not None and tokens.is_stale(tx, token)
    if token is None:
        raise Unauthenticated()
    if token.expired:
        raise TokenExpired(name=token.name, expires_at=token.expires_at)
    if stale:
        _note(store, lambda tx: tokens.used(tx, token.name, value))
    return token.name


def _note(store: Store, work: Callable[[Tx], None]) -> None:
    """Note something that is good to know, and that must keep nobody out on a full disk."""
    try:
        store.write(work)
    except LastgoodError as error:
        print(f"lastgood: {error}", file=sys.stderr)
