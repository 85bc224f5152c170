"""Routes for signing in and out: with a password, or with an identity provider."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from lastgood.access import oidc, passwords, people, sessions, signin
from lastgood.db import audit
from lastgood.db.audit import Principal
from lastgood.db.tx import Tx
from lastgood.errors import InvalidRequest, ProviderRefused, SessionOver, SignInRefused
from lastgood.server import identity
from lastgood.server.context import Context, Served, signed_in

router = APIRouter(prefix="/v1/session")
_MEMORY = "lastgood_oidc"
_MEMORY_PATH = "/v1/session/oidc"


class SignIn(BaseModel):
    """Who signs in."""

    name: str = Field(max_length=255)
    password: str = Field(max_length=1024, repr=False)


class OwnPassword(BaseModel):
    """A new password of one's own, and the one until now."""

    password: str = Field(max_length=1024, repr=False)
    former: str = Field(max_length=1024, repr=False)


@router.post("", summary="Sign in with a password; the session comes as a cookie")
def sign_in(body: SignIn, request: Request, response: Response, served: Served) -> dict[str, Any]:
    identity.check_origin(request)
    value = signin.sign_in(
        served.store,
        body.name,
        body.password,
        identity.asker_of(request),
        seconds=_seconds(served),
        former=identity.cookie_of(request),
    )
    _set(response, request, served, value)
    return _told(served, value)


@router.get("", summary="Who is signed in, and what a request that changes something has to show")
def read_session(request: Request, served: Served, who: Annotated[Principal, Depends(signed_in)]) -> dict[str, Any]:
    cookie = identity.cookie_of(request)
    if who.kind == "person" and cookie:
        return _told(served, cookie)
    return {"name": who.name, "kind": who.kind, "subject": who.subject}


@router.delete("", status_code=204, summary="Sign out")
def sign_out(request: Request, served: Served, who: Annotated[Principal, Depends(signed_in)]) -> Response:
    answer = Response(status_code=204)
    cookie = identity.cookie_of(request)
    if who.kind == "person" and cookie:

        def work(tx: Tx) -> None:
            sessions.end(tx, cookie)
            audit.append(tx, who, "session:end", "session")

        served.store.write(work)
        answer.delete_cookie(
            identity.cookie_name(request), secure=_is_secure(request), httponly=True, samesite="lax", path="/"
        )
    return answer


@router.post("/password", status_code=204, summary="Choose another password of one's own; every session ends")
def own_password(
    body: OwnPassword, request: Request, served: Served, who: Annotated[Principal, Depends(signed_in)]
) -> Response:
    if who.kind != "person":
        raise InvalidRequest(where="session", reason="only who signed in with a password has one")
    passwords.check_new(body.password, who.name)
    # As a sign-in: a session that was left open must not serve to guess the password behind it.
    proven = signin.prove(served.store, who, body.former)
    hashed = passwords.hashed(body.password)
    served.store.write(lambda tx: people.set_password(tx, who, signin.unchanged(tx, proven), hashed))
    return Response(status_code=204)


@router.get("/oidc", status_code=303, summary="Sign in with the identity provider: go there")
def go_to_provider(request: Request, served: Served) -> RedirectResponse:
    url, memory = served.provider.way_there(served.store.ring)
    answer = RedirectResponse(url, 303)
    answer.set_cookie(
        _MEMORY,
        memory,
        max_age=oidc.MEMORY_SECONDS,
        path=_MEMORY_PATH,
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.get("/oidc/callback", status_code=303, summary="Come back from the identity provider")
def come_back(
    request: Request,
    served: Served,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4000)] = "",
    error: Annotated[str, Query(max_length=200, description="why the provider refused")] = "",
) -> RedirectResponse:
    memory = request.cookies.get(_MEMORY, "")
    if error or not code:
        reason = "".join(c for c in error if c.isascii() and (c.isalnum() or c == "_"))[:60] or "it gave no code"
        raise ProviderRefused(reason=reason)
    found, way = served.provider.way_back(served.store.ring, memory, state, code)
    asker = identity.asker_of(request)

    def work(tx: Tx) -> str:
        if not signin.first_time(tx, f"oidc/{way}"):
            raise ProviderRefused(reason="this answer was used already")
        provider = Principal("oidc", "service", asker.request_id, asker.address, frozenset())
        person = people.from_provider(
            tx,
            provider,
            issuer=found.issuer,
            subject=found.subject,
            name=found.name,
            display=found.display,
            email=found.email,
        )
        return signin.begin(
            tx,
            person,
            signin.named(person.name, asker),
            seconds=_seconds(served),
            roles=found.roles,
            former=identity.cookie_of(request),
        )

    value = served.store.write(work)
    answer = RedirectResponse(served.store.settings.oidc.after, 303)
    _set(answer, request, served, value)
    answer.delete_cookie(_MEMORY, path=_MEMORY_PATH, secure=_is_secure(request), httponly=True, samesite="lax")
    return answer


def _told(served: Context, value: str) -> dict[str, Any]:
    store = served.store
    with store.read() as tx:
        session = sessions.find(tx, value, idle_seconds=store.settings.session_idle_minutes * 60)
        if session is None:
            raise SessionOver()
        person = people.look_up(tx, session.person)
    if person is None:
        raise SignInRefused()
    return {
        "name": person.name,
        "kind": "person",
        "subject": person.name,
        "display": person.display,
        "roles": sorted(session.roles),
        "csrf_token": sessions.csrf_of(store.ring, value),
        "created_at": session.created_at,
        "expires_at": session.expires_at,
    }


def _set(response: Response, request: Request, served: Context, value: str) -> None:
    response.set_cookie(
        identity.cookie_name(request),
        value,
        max_age=round(_seconds(served)),
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )
    response.headers["Cache-Control"] = "no-store"


def _is_secure(request: Request) -> bool:
    return str(request.scope["scheme"]) == "https"


def _seconds(served: Context) -> float:
    return served.store.settings.session_hours * 3600
