"""A day with the management API, on both databases."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import select

from lastgood import dsl
from lastgood.db import process, tables
from support.documents import document
from support.stores import on_postgres, on_sqlite

from .conftest import Api
from .test_doors import is_problem

SECRET = "sk-word-that-nobody-may-read"


def smoke(api: Api, *expect: str) -> str:
    return str(api.post("/v1/workflows/greet/smokes", {"expect": list(expect)}, status=201)["id"])


def live(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/v1/workflows/greet/channels/live")
    return found


def test_the_main_job(api: Api) -> None:
    """Push, publish, prove; publish what breaks; go back; see who did what."""
    good = api.push("good", note="first")
    smoke(api, "outputs.total == `42`")
    api.engine.succeed(total=42)
    published = api.move("publish", 0, version=good, reason="go")
    assert published["move"] == {
        "workflow_id": published["version"]["workflow_id"],
        "workflow": "greet",
        "channel": "live",
        "from": None,
        "to": good,
        "generation": 1,
        "kind": "publish",
        "why": "named",
    }
    assert published["verification"]["verdict"] == "passed"
    assert (published["version"]["state"], published["version"]["proven"]) == ("active", "stable")
    assert published["unconfirmed"] == []
    assert published["took_ms"] >= 0

    bad = api.push("bad")
    api.engine.succeed(total=41)
    broken = api.move("publish", 1, version=bad)
    assert (broken["verification"]["verdict"], broken["version"]["proven"]) == ("failed", "failed")
    assert live(api)["version"] == bad, "nobody goes back without being asked"

    api.engine.succeed(total=42)
    back = api.move("rollback", 2, reason="wrong totals")
    assert (back["move"]["to"], back["move"]["kind"]) == (good, "rollback")
    assert back["move"]["why"].startswith("last good: smoke requests passed on ")
    assert live(api)["generation"] == 3

    log = api.get("/v1/workflows/greet/moves")["items"]
    assert [(m["from"], m["to"], m["generation"], m["actor"]) for m in log] == [
        (bad, good, 3, "admin"),
        (good, bad, 2, "admin"),
        (None, good, 1, "admin"),
    ]
    assert log[0]["reason"] == "wrong totals"
    states = {v["id"]: v["state"] for v in api.get("/v1/workflows/greet/versions")["items"]}
    assert states == {good: "active", bad: "failed"}
    (status,) = api.get("/v1/status")["workflows"]
    assert (status["version"], status["proven"], status["newest"], status["newest_is_ahead"]) == (
        good,
        "stable",
        bad,
        1,
    )
    changes = api.get("/v1/changes?since=1h")["items"]
    assert [change["kind"] for change in changes][:2] == ["version:mark", "workflow:rollback"]
    assert changes[1]["what"].endswith(f"{bad} → {good}")


@on_sqlite
def test_a_failing_check_after_a_rollback_condemns_nothing(api: Api) -> None:
    good, bad = api.push("good"), api.push("bad")
    smoke(api, "outputs.total == `42`")
    api.engine.succeed(total=42)
    for generation, version in enumerate((good, bad)):
        api.move("publish", generation, version=version)
    api.engine.succeed(total=0)
    back = api.move("rollback", 2)
    assert back["verification"]["verdict"] == "failed"
    assert (back["move"]["to"], back["version"]["proven"]) == (good, "stable")


def test_the_move_stands_when_the_check_afterwards_cannot_be_made(api: Api) -> None:
    version = api.push("a")
    smoke(api)
    api.engine.say({"message": "no"}, 500)
    published = api.move("publish", 0, version=version)
    assert published["verification"]["verdict"] == "inconclusive"
    assert (live(api)["version"], published["version"]["proven"]) == (version, "candidate")


def test_no_check_is_made_where_none_is_wanted(api: Api) -> None:
    version = api.push("a")
    smoke(api)
    assert api.move("publish", 0, version=version, verify=False)["verification"] is None
    assert api.engine.asked == []


@on_sqlite
def test_the_etag_is_the_generation(api: Api) -> None:
    version, other = api.push("a"), api.push("b")
    api.move("publish", 0, version=version)
    answer = api.ask("GET", "/v1/workflows/greet/channels/live")
    assert answer.headers["etag"] == '"1"'
    for etag in (answer.headers["etag"], 'W/"2"', "3"):
        path = "/v1/workflows/greet/channels/live/publish"
        moved = api.ask(
            "POST",
            path,
            json={"version": other if live(api)["version"] == version else version},
            headers={"If-Match": etag},
        )
        assert moved.status_code == 200, moved.text


def test_of_many_rollbacks_at_once_one_wins(api: Api) -> None:
    first, second = api.push("a"), api.push("b")
    for version in (first, second):
        api.post(f"/v1/versions/{version}/mark", {"state": "stable", "reason": "seen"})
    api.move("publish", 0, version=first)
    api.move("publish", 1, version=second)
    answers: list[Any] = []

    def work() -> None:
        path = "/v1/workflows/greet/channels/live/rollback"
        answers.append(api.ask("POST", path, json={"reason": "mine"}, headers={"If-Match": '"2"'}))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    for answer in answers:
        if answer.status_code == 412:
            body = is_problem(answer, 412)
            assert f"admin moved it to {first}" in body["detail"]
            assert body["generation"] == 3
    assert live(api)["generation"] == 3


def test_the_whole_definition_read_by_the_api_pushes_as_the_same_version(api: Api) -> None:
    body = {"document": document("hello", secrets={"KEY": SECRET}).data}
    pushed = api.post("/v1/workflows/greet/versions", body, status=201)
    definition = api.ask("GET", "/v1/workflows/greet").text
    found = json.loads(definition)
    assert found["version"]["digest"] == pushed["version"]["digest"]
    assert found["workflow_config"]["edges"] == [["begin", "say"], ["say", "done"]]
    assert SECRET not in definition
    for path in ("/v1/push", "/v1/workflows/greet/versions"):
        for sent in (definition, found):
            again = api.post(path, {"document": sent}, status=200)
            assert (again["created"], again["version"]["id"]) == (False, pushed["version"]["id"])
            assert again["workflow"]["slug"] == "greet"


def test_the_definition_is_the_live_version_else_the_newest(api: Api) -> None:
    first, second = api.push("a"), api.push("b")
    assert api.get("/v1/workflows/greet")["version"]["id"] == second
    api.move("publish", 0, version=first)
    assert api.get("/v1/workflows/greet")["version"]["id"] == first
    id = api.get("/v1/workflows/greet")["id"]
    assert api.get(f"/v1/workflows/{id}")["slug"] == "greet"


def test_an_export_is_a_file_that_reads_back(api: Api) -> None:
    version = api.push("hé: [x]")
    for format, kind in (("yaml", "application/yaml"), ("json", "application/json")):
        answer = api.ask("GET", f"/v1/versions/{version}/document?format={format}")
        assert answer.headers["content-type"].startswith(kind)
        assert dsl.parse(answer.content) == document("hé: [x]")


def test_a_snapshot_has_the_shape_that_its_readers_rely_on(api: Api) -> None:
    api.push("a")
    kept = api.post("/v1/workflows/greet/snapshots", {"note": "by hand"}, status=201)
    found = api.get(f"/v1/snapshots/{kept['snapshot_id']}")
    assert found == kept
    assert {"snapshot_id", "created_at", "workflow_config", "document"} <= found.keys()
    assert found["workflow_config"]["nodes"] == ["begin", "say", "done"]
    listed = api.get("/v1/workflows/greet/snapshots")["items"]
    assert [row["kept_by_hand"] for row in listed] == [True, False]


def test_lists_come_in_pages(api: Api) -> None:
    pushed = [api.push(f"text {number}") for number in range(7)]
    found: list[str] = []
    path = "/v1/workflows/greet/versions?limit=3"
    page = api.get(path)
    while True:
        found += [version["id"] for version in page["items"]]
        if page["next"] is None:
            break
        page = api.get(f"{path}&before={page['next']}")
    assert found == pushed[::-1]


def test_what_is_old_is_archived_by_the_push_and_comes_back(api: Api) -> None:
    pushed = [api.push(f"text {number}") for number in range(12)]
    states = {v["id"]: v["archived"] for v in api.get("/v1/workflows/greet/versions")["items"]}
    assert [id for id, archived in states.items() if archived] == [pushed[1], pushed[0]]
    assert api.get(f"/v1/versions/{pushed[0]}")["workflow_config"]["nodes"] == ["begin", "say", "done"]
    assert api.post(f"/v1/versions/{pushed[0]}/restore", {})["archived"] is False


@on_sqlite
def test_ids_from_elsewhere_are_kept(api: Api) -> None:
    body = {"document": document("a").data, "id": "v-20240401-01", "workflow_id": "wf-abc123"}
    pushed = api.post("/v1/workflows/prod-invoice/versions", body, status=201)
    assert (pushed["version"]["id"], pushed["workflow"]["id"]) == ("v-20240401-01", "wf-abc123")
    api.push("b", "wf-abc123")
    path = "/v1/workflows/wf-abc123/channels/live"
    for generation, version in enumerate(["v-20240401-01", api.get("/v1/workflows/prod-invoice")["version"]["id"]]):
        body = {"version": version}
        headers = {"If-Match": str(generation)}
        api.post(f"{path}/publish", body, headers=headers)
    back = api.post(f"{path}/rollback", {"to": "v-20240401-01"}, headers={"If-Match": '"2"'})
    assert back["move"]["to"] == "v-20240401-01"


def test_an_app_key_is_shown_once(api: Api) -> None:
    api.push("a")
    made = api.post("/v1/workflows/greet/keys", {"name": "web"}, status=201)
    listed = api.ask("GET", "/v1/workflows/greet/keys")
    assert made["key"] not in listed.text
    assert [row["id"] for row in listed.json()["items"]] == [made["id"]]
    assert api.ask("DELETE", f"/v1/workflows/greet/keys/{made['id']}").status_code == 204
    assert api.get("/v1/workflows/greet/keys")["items"][0]["revoked_at"]


def test_smoke_requests_are_listed_and_forgotten(api: Api) -> None:
    api.push("a")
    id = smoke(api, "outputs.total == `42`")
    assert [row["id"] for row in api.get("/v1/workflows/greet/smokes")["items"]] == [id]
    assert api.ask("DELETE", f"/v1/workflows/greet/smokes/{id}").status_code == 204
    assert api.get("/v1/workflows/greet/smokes")["items"] == []


def test_a_version_says_what_is_known_of_it(api: Api) -> None:
    version = api.push("a")
    smoke(api)
    api.post(f"/v1/versions/{version}/mark", {"state": "failed", "reason": "by hand"})
    assert api.post(f"/v1/versions/{version}/smoke", {})["state"] == "stable"
    found = api.get(f"/v1/versions/{version}")
    assert [(piece["kind"], piece["verdict"]) for piece in found["evidence"]] == [
        ("smoke", "stable"),
        ("mark", "failed"),
    ]


def test_a_kind_of_app_does_not_change(api: Api) -> None:
    api.push("a")
    sent = {"document": document(mode="advanced-chat").data}
    body = is_problem(api.ask("POST", "/v1/workflows/greet/versions", json=sent), 400)
    assert "an advanced-chat app" in body["detail"] or "a advanced-chat app" in body["detail"]


@on_postgres
def test_a_worker_that_may_not_know_is_named_in_the_answer(api: Api) -> None:
    first, second = api.push("a"), api.push("b")
    api.move("publish", 0, version=first)
    cut_off = api.store.write(
        lambda tx: process.register(tx, "gateway", on_store_loss="serve", applied=0, lease_seconds=2.0)
    )
    moved = api.move("publish", 1, version=second)
    assert moved["unconfirmed"] == [cut_off]
    assert moved["took_ms"] > 100
    assert live(api)["version"] == second


@on_sqlite
@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "x\r\nSet-Cookie: a=b", "\x1b[31mred", "=cmd()", "{{7*7}}"]
)
def test_what_people_write_comes_back_as_text_in_one_row(api: Api, text: str) -> None:
    """A note that looks like a line of a log, a header or a terminal's command stays a note."""
    version = api.push("a", note=text)
    api.move("publish", 0, version=version, reason=text)
    (row,) = api.get("/v1/workflows/greet/versions")["items"]
    assert row["note"] == text
    changes = api.ask("GET", "/v1/changes?since=1h")
    assert changes.headers["content-type"] == "application/json"
    kinds = [change["kind"] for change in changes.json()["items"]]
    made = ["access:grant", "token:create"]
    assert kinds == ["version:tag", "workflow:publish", "workflow:push", "workflow:create", *made]
    with api.store.read() as tx:
        rows = tx.connection.execute(select(tables.audit.c.canonical)).scalars().all()
        told = tx.connection.execute(select(tables.outbox.c.payload)).scalars().all()
    for canonical in [*map(bytes, rows), *(payload.encode() for payload in told)]:
        assert b"\n" not in canonical
        assert b"\x1b" not in canonical
        json.loads(canonical)
