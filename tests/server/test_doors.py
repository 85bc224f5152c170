"""Every door asks who is there, and keeps what was refused."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import insert, select
from starlette.routing import Route

from lastgood.access import grants, tokens
from lastgood.access.grants import Grant
from lastgood.db import tables
from lastgood.db.store import Store
from lastgood.server.app import make_app
from support.documents import document
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import LOCAL, Api, Client

HEALTH = {"/healthz", "/readyz"}
# Who signs in has shown nothing yet; and with one's own session everybody may do what they like.
SIGNING_IN = {"/v1/session", "/v1/session/oidc", "/v1/session/oidc/callback", "/v1/session/password"}
OPEN = HEALTH | SIGNING_IN
# By a signature, and from this machine without a token: test_acl.py tries these.
OTHERWISE = {"/v1/access/events", "/metrics"}
PATH = {
    "workflow": "greet",
    "version": "v-20261123-01",
    "channel": "live",
    "snapshot": "snap_20261123_v1",
    "operation": "op-abcdefghij",
    "server": "some-dify",
    "draft": "dr-abcdefgh",
    "person": "u1002",
    "token": "ci",
    "role": "viewer",
}

pytestmark = on_sqlite


def routes(app: Any) -> list[APIRoute]:
    """All routes of our own, those of included routers too."""

    def walk(found: Any) -> Iterator[APIRoute]:
        for route in found:
            if isinstance(route, APIRoute):
                yield route
            elif hasattr(route, "original_router"):
                yield from walk(route.original_router.routes)

    return list(walk(app.routes))


def methods_of(route: APIRoute) -> list[str]:
    return sorted(route.methods or ())


def actions(route: APIRoute) -> list[str]:
    """The actions that a route asks leave for."""

    def walk(dependant: Any) -> Iterator[str]:
        if hasattr(dependant.call, "action"):
            yield dependant.call.action
        for inner in dependant.dependencies:
            yield from walk(inner)

    return list(walk(route.dependant))


def guarded(app: Any) -> list[tuple[str, str]]:
    """Every (method, path) behind a door, with an example in the place of each parameter."""
    found = []
    for route in routes(app):
        if route.path not in OPEN | OTHERWISE:
            path = route.path
            for name in route.param_convertors:
                path = path.replace("{" + name + "}", PATH.get(name, "some-thing"))
            found += [(method, path) for method in methods_of(route)]
    return found


def audited(store: Store) -> list[tuple[str, str, str, str]]:
    with store.read() as tx:
        rows = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk))
        return [(row.actor, row.action, row.resource, row.result) for row in rows]


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return body


def test_every_route_asks_for_one_action(api: Api) -> None:
    asked = {(route.path, *methods_of(route)): actions(route) for route in routes(api.app)}
    assert len(asked) >= 25
    for (path, *methods), found in asked.items():
        if path in OPEN:
            assert found == [] and (path in SIGNING_IN or methods == ["GET"]), path
            continue
        assert len(found) == 1, f"{path} asks for {found}"
        noun, _, verb = found[0].partition(":")
        assert noun.isalpha() and verb, found
        assert path.startswith("/v1/") or path in OTHERWISE
        if methods != ["GET"]:
            assert verb != "read", f"{methods} {path} changes something on a permission to read"
        else:
            assert verb in ("read", "export"), f"{path} only reads and asks for {verb}"


def test_what_is_open_to_all_is_only_health_and_the_description(api: Api) -> None:
    others = {route.path for route in api.app.routes if isinstance(route, Route) and not isinstance(route, APIRoute)}
    assert others == {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
    for path in HEALTH:
        assert api.client.get(path).json() == {"status": "ok"}


def test_without_a_token_nothing_is_answered(api: Api) -> None:
    before = audited(api.store)
    for method, path in guarded(api.app):
        for headers in ({}, {"If-Match": '"0"'}):
            answer = api.client.request(method, path, headers=headers)
            body = is_problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer", path
            assert "Authorization: Bearer lg_" in body["detail"]
    assert audited(api.store) == before


def test_no_other_way_to_show_a_token_is_taken(api: Api) -> None:
    path = "/v1/workflows"
    other = "lg_" + "x" * 43
    wrong: list[dict[str, Any]] = [
        {"headers": {"Cookie": f"token={api.token}; authorization=Bearer {api.token}"}},
        {"headers": {"X-Api-Key": api.token}},
        {"headers": {"X-Lastgood-Token": api.token}},
        {"headers": {"Authorization": f"Basic {api.token}"}},
        {"headers": {"Authorization": f"Bearer {other}"}},
        {"headers": {"Authorization": f"Bearer {api.token[:-1]}"}},
        {"headers": {"Authorization": f"Bearer {api.token} {api.token}"}},
        {"headers": {"Authorization": "Bearer "}},
        {"headers": {"Authorization": "Bearer lg_"}},
        {"headers": {"Authorization": b"Bearer lg_\xff\xfe"}},
        {"headers": {"Authorization": ""}},
        {"headers": {"X-Lastgood-Actor": "root"}},
    ]
    for request in wrong:
        is_problem(api.client.get(path, **request), 401)
    assert api.ask("GET", path).status_code == 200


def test_a_token_never_comes_back_in_an_answer(api: Api) -> None:
    for token in (api.token, LOCAL, "lg_" + "guess" * 9):
        for path in ("/v1/status", "/v1/workflows", "/v1/nothing", "/v1/doctor", f"/v1/workflows/{token}"):
            answer = api.ask("GET", path, token=token)
            if token not in path:
                assert token not in answer.text + str(answer.headers)


def a_token(store: Store, name: str, *granted: tuple[str, str]) -> str:
    """The value of a token `name` that has these (role, on what)."""
    value = tokens.new_token()

    def work(tx: Any) -> None:
        row = {"name": name, "hash": tx.ring.lookup(value), "created_at": tx.now}
        tx.connection.execute(insert(tables.token), row)
        for role, on in granted:
            grants.put(tx, ALICE, Grant(f"token:{name}", role, on))

    store.write(work)
    return value


def test_who_may_not_is_told_so_and_it_is_kept(api: Api) -> None:
    token = a_token(api.store, "nobody")
    actions_of = {
        (method, route.path): actions(route)[0]
        for route in routes(api.app)
        if route.path not in OPEN | OTHERWISE
        for method in methods_of(route)
    }
    for (method, path), action in zip(guarded(api.app), actions_of.values(), strict=True):
        before = len(audited(api.store))
        more = {"params": {"subject": "somebody-else"}} if path == "/v1/can" else {}
        body = is_problem(api.ask(method, path, token=token, **more), 403)
        assert body["detail"].startswith(f"nobody may not {action} on ")
        assert f"no role of token:nobody allows {action} on" in body["detail"]
        rows = audited(api.store)[before:]
        assert [(actor, what, result) for actor, what, _, result in rows] == [("nobody", action, "denied")], path


def test_going_to_a_failed_version_asks_for_its_own_permission(api: Api) -> None:
    good, bad = api.push("good"), api.push("bad")
    api.move("publish", 0, version=good)
    api.post(f"/v1/versions/{bad}/mark", {"state": "failed", "reason": "wrong totals"})
    token = a_token(api.store, "ops", ("releaser", "*"))
    for kind, body in (("publish", {"version": bad}), ("rollback", {"to": bad})):
        before = len(audited(api.store))
        answer = api.move(kind, 1, status=403, force=True, reason="I must", token=token, **body)
        assert "workflow:rollback:force" in answer["detail"]
        kept = [(actor, action, result) for actor, action, _, result in audited(api.store)[before:]]
        assert kept == [("ops", "workflow:rollback:force", "denied")]
    assert api.get("/v1/workflows/greet/channels/live")["version"] == good


def test_the_local_token_opens_and_may_say_who_acts(api: Api) -> None:
    actor = {"X-Lastgood-Actor": "ada"}
    answer = api.ask("POST", "/v1/workflows/greet/versions", token=LOCAL, headers=actor, json=_document())
    assert answer.json()["version"]["author"] == "ada"
    again = api.ask("POST", "/v1/workflows/greet/versions", token=LOCAL, json=_document("b"))
    assert again.json()["version"]["author"] == "local"
    assert ("ada", "workflow:push") in [(who, action) for who, action, *_ in audited(api.store)]


def test_a_remote_token_cannot_say_who_acts(api: Api) -> None:
    actor = {"X-Lastgood-Actor": "the boss"}
    answer = api.ask("POST", "/v1/workflows/greet/versions", headers=actor, json=_document())
    assert answer.json()["version"]["author"] == "admin"
    assert "the boss" not in str(audited(api.store))


def test_without_a_local_token_an_empty_one_opens_nothing(store: Store) -> None:
    for local in ("", LOCAL):
        client = Client(make_app(store, local_token=local))
        for value in ("", "Bearer ", "Bearer"):
            is_problem(client.get("/v1/workflows", headers={"Authorization": value}), 401)


def test_a_trusted_app_asks_for_no_token(store: Store) -> None:
    """The command line in its own process."""
    client = Client(make_app(store, trusted=True))
    answer = client.post("/v1/workflows/greet/versions", json=_document(), headers={"X-Lastgood-Actor": "ada"})
    assert answer.json()["version"]["author"] == "ada"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"ada", "ada"),
        (b"a" * 500, "a" * 63),
        (b"ada\x1b[2Jlovelace", "ada[2Jlovelace"),
        (b"\x07", "local"),
        (b"", "local"),
    ],
)
def test_an_actors_name_is_short_and_plain(api: Api, sent: bytes, kept: str) -> None:
    headers = {b"X-Lastgood-Actor": sent, b"Authorization": f"Bearer {LOCAL}".encode()}
    answer = api.client.post("/v1/workflows/greet/versions", json=_document(), headers=headers)
    assert answer.json()["version"]["author"] == kept


def test_an_audit_row_carries_the_request_it_came_with(api: Api) -> None:
    headers = {"X-Request-ID": "from-the-proxy-7" + "x" * 100}
    api.ask("POST", "/v1/workflows/greet/versions", json=_document(), headers=headers)
    with api.store.read() as tx:
        row = tx.connection.execute(select(tables.audit).where(tables.audit.c.action == "workflow:push")).one()
    facts = json.loads(row.canonical)
    assert facts["request_id"].startswith("from-the-proxy-7")
    assert len(facts["request_id"]) <= 63
    assert facts["kind"] == "token"


def _document(text: str = "a") -> dict[str, Any]:
    return {"document": document(text).data}
