"""Whoever reads a definition is kept in the audit log, or does not get to read it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from lastgood.db import tables
from lastgood.db.audit import Principal
from lastgood.history import apps, content, drafts, workflows
from lastgood.targets.dify import AdminKey, servers
from support.documents import document
from support.stores import on_sqlite

from .conftest import Api
from .test_doors import OPEN, OTHERWISE, PATH, guarded, is_problem, methods_of, routes

# These need an app on a Dify server; their own tests look at what they audit.
# What wants a Dify, or an approval that is waited for: tests of their own try these.
ELSEWHERE = {
    *("/v1/workflows/{workflow}/emergency-kit", "/v1/workflows/{workflow}/channels/{channel}/drift"),
    "/v1/approvals/{approval}",
}


def block_audit(api: Api) -> None:
    """From now on no audit row can be written."""
    statement = (
        "ALTER TABLE audit ADD CONSTRAINT nothing_more CHECK (false) NOT VALID"
        if api.store.postgres
        else "CREATE TRIGGER nothing_more BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'nothing more'); END"
    )
    api.store.write(lambda tx: tx.connection.exec_driver_sql(statement))


def reads(api: Api) -> list[tuple[str, str, str]]:
    with api.store.read() as tx:
        rows = tx.connection.execute(select(tables.audit).order_by(tables.audit.c.pk)).all()
    return [
        (row.actor, row.action, row.resource) for row in rows if row.action in ("workflow:read", "workflow:export")
    ]


@pytest.fixture
def version(api: Api) -> str:
    return api.push("the words of the template")


def test_a_read_is_audited_with_who_and_what(api: Api, version: str) -> None:
    snapshot = api.get("/v1/workflows/greet/snapshots")["items"][0]["snapshot_id"]
    for path, row in (
        ("/v1/workflows/greet", ("admin", "workflow:read", "workflow/greet")),
        (f"/v1/versions/{version}/document", ("admin", "workflow:export", f"version/{version}")),
        (f"/v1/snapshots/{snapshot}", ("admin", "workflow:read", f"snapshot/{snapshot}")),
    ):
        before = len(reads(api))
        assert "the words of the template" in api.ask("GET", path).text
        assert reads(api)[before:] == [row]


def test_what_cannot_be_audited_does_not_happen(api: Api, version: str) -> None:
    """Neither reads of definitions nor anything that changes something."""
    api.move("publish", 0, version=version)
    other = api.push("other")
    smoke = api.post("/v1/workflows/greet/smokes", {}, status=201)["id"]
    key = api.post("/v1/workflows/greet/keys", {"name": "web"}, status=201)["id"]
    snapshot = api.get("/v1/workflows/greet/snapshots")["items"][0]["snapshot_id"]
    block_audit(api)
    before = standing(api)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/workflows/greet", {}),
        ("GET", f"/v1/versions/{version}/document", {}),
        ("GET", f"/v1/snapshots/{snapshot}", {}),
        ("POST", "/v1/workflows/greet/versions", {"document": {"app": {"mode": "chat", "name": "x"}}}),
        ("POST", "/v1/workflows/greet/snapshots", {}),
        ("POST", f"/v1/versions/{version}/mark", {"state": "stable", "reason": "seen"}),
        ("POST", f"/v1/versions/{version}/restore", {}),
        ("POST", "/v1/workflows/greet/channels/live/publish", {"version": other}),
        ("POST", "/v1/workflows/greet/channels/live/rollback", {"to": other}),
        ("POST", "/v1/workflows/greet/smokes", {}),
        ("DELETE", f"/v1/workflows/greet/smokes/{smoke}", {}),
        ("POST", "/v1/workflows/greet/keys", {"name": "more"}),
        ("DELETE", f"/v1/workflows/greet/keys/{key}", {}),
        ("POST", "/v1/targets", {"name": "more", "base_url": "http://127.0.0.1:9"}),
    ]
    for method, path, body in asked:
        sent: dict[str, Any] = {"json": body} if method == "POST" else {}
        answer = api.ask(method, path, headers={"If-Match": '"1"'}, **sent)
        assert answer.status_code >= 400, f"{method} {path} happened: {answer.text[:200]}"
        if "versions" not in path or method == "GET":
            assert is_problem(answer, answer.status_code)["status"] >= 500, path
        assert "the words of the template" not in answer.text, path
        assert standing(api) == before, f"{method} {path} left something"


def standing(api: Api) -> dict[str, list[Any]]:
    with api.store.read() as tx:
        return {
            name: [tuple(row) for row in tx.connection.execute(select(table))]
            for name, table in tables.metadata.tables.items()
        }


def a_draft(api: Api) -> str:
    """A kept state of the draft of an app on a Dify server, which nobody asks here."""

    def work(tx: Any) -> str:
        who = Principal("alice")
        servers.save(tx, who, PATH["server"], "http://dify.test", AdminKey("k", "w"), facts={})
        workflow = workflows.find(tx, "greet")
        app = apps.bind(
            tx, who, workflow, "staging", target=PATH["server"], app="a1", name="Greeter", mode="workflow"
        )
        return drafts.keep(tx, app, document("draft"), {}, "h", "bob", None, "seen").id

    return api.store.write(work)


@on_sqlite
def test_every_route_that_opens_a_definition_is_audited_before(
    api: Api, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out by watching what each of them reads, so that a new route cannot forget it."""
    snapshot = api.get("/v1/workflows/greet/snapshots")["items"][0]["snapshot_id"]
    operation = api.move("publish", 0, version=version)["operation"]
    draft = a_draft(api)
    opened: list[int] = []
    real: Callable[..., Any] = content.read_content

    def watched(tx: Any, *rest: Any, **more: Any) -> Any:
        with api.store.read() as other:
            rows = other.connection.execute(select(tables.audit.c.pk).order_by(tables.audit.c.pk.desc()).limit(1))
            opened.append(rows.scalar() or 0)
        return real(tx, *rest, **more)

    monkeypatch.setattr(content, "read_content", watched)
    found = [
        (method, route)
        for route in routes(api.app)
        if route.path not in OPEN | OTHERWISE
        for method in methods_of(route)
    ]
    opening = []
    for (method, example), (_, route) in zip(guarded(api.app), found, strict=True):
        asked = {"/v1/can": {"subject": "u1002", "action": "read", "resource": "workflow:greet"}}.get(route.path)
        if method != "GET" or route.path in ELSEWHERE or route.path.startswith("/v1/audit"):  # which opens none
            continue
        path = example.replace(PATH["version"], version).replace(PATH["snapshot"], snapshot)
        path = path.replace(PATH["operation"], operation).replace(PATH["draft"], draft)
        opened.clear()
        with api.store.read() as tx:
            before = tx.connection.execute(select(tables.audit.c.pk).order_by(tables.audit.c.pk.desc())).scalar() or 0
        answer = api.ask("GET", path, params=asked)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        if opened:
            opening.append(route.path)
            assert min(opened) > before, f"{route.path} opens a definition before it is audited"
    assert {"/v1/drafts/{draft}", "/v1/drafts/{draft}/diff"} <= set(opening)
    assert {"/v1/workflows/{workflow}", "/v1/versions/{version}/document", "/v1/snapshots/{snapshot}"} <= set(opening)
    assert "/v1/workflows/{workflow}/versions" not in opening, "a list needs no definition"
