"""The audit log by API: who may read it, in which forms, with which proofs; and failures are rows too."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from lastgood.access.log import merkle, notes, tree
from lastgood.access.log.notes import Checkpoint
from lastgood.cli import audit as command
from lastgood.cli.client import Client as CommandClient
from lastgood.db import tables
from lastgood.errors import LogInconsistent
from lastgood.server.doctor import examine
from lastgood.server.sequencing import Sequencing
from support.stores import on_sqlite

from .conftest import Api
from .test_doors import is_problem

pytestmark = on_sqlite


def rows(api: Api) -> list[dict[str, Any]]:
    with api.store.read() as tx:
        found = tx.connection.execute(select(tables.audit.c.canonical).order_by(tables.audit.c.pk)).scalars().all()
    return [json.loads(one) for one in found]


def test_a_change_that_was_allowed_and_failed_is_a_row(api: Api) -> None:
    version = api.push()
    publish = "/v1/workflows/greet/channels/live/publish"
    unknown: dict[str, Any] = {"json": {"version": "v-20200101-01"}, "headers": {"If-Match": '"0"'}}
    for path, more, code, reason in (
        (f"/v1/versions/{version}/mark", {"json": {"state": "gone", "reason": "x"}}, "LG107F", "invalid-request"),
        (publish, {"json": {"version": version}}, "LG140F", "generation-required"),
        (publish, unknown, "LG140F", "unknown-version"),
    ):
        before = len(rows(api))
        answer = api.ask("POST", path, **more)
        assert answer.status_code >= 400
        last = rows(api)[before:][-1]
        assert (last["result"], last["reason"], last["status"]) == ("failed", reason, answer.status_code), path
        assert (last["code"], last["method"], last["path"]) == (code, "POST", path)
    before = len(rows(api))
    api.ask("GET", "/v1/versions/v-20200101-01")
    assert "failed" not in [one["result"] for one in rows(api)[before:]], "a read that fails changes nothing"


def test_a_failure_that_cannot_be_audited_is_told_in_the_servers_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise LogInconsistent(size=1, reason="for the test")

    api.push()
    monkeypatch.setattr("lastgood.server.problems.audit.append", refuse)
    is_problem(api.ask("POST", "/v1/workflows/greet/channels/live/publish", json={}), 428)
    assert "could not be audited" in capsys.readouterr().err


def test_rows_are_listed_filtered_and_in_pages(api: Api) -> None:
    api.push("one")
    api.push("two")
    api.ask("POST", "/v1/workflows/greet/channels/live/publish", json={})
    page = api.get("/v1/audit")
    assert page["next"] is None
    assert page["items"][0]["action"] == "audit:read", "reading is a row, and it comes first"
    assert page["items"][0]["subject"] == "token:admin"
    pushed = api.get("/v1/audit?action=workflow:push&limit=1")
    assert (len(pushed["items"]), pushed["next"] is None) == (1, False)
    assert len(api.get(f"/v1/audit?action=workflow:push&limit=1&before={pushed['next']}")["items"]) == 1
    for query, count in (
        ("result=failed", 1), ("result=denied", 0), ("action=workflow:*&actor=token:admin&result=allowed", 3),
        ("actor=person:admin", 0), ("actor=nobody", 0), ("resource=workflow/wf-*", 2 + 1),
        ("until=1h", 0), ("since=1h&action=workflow:push", 2), ("since=2999-01-01", 0),
    ):  # fmt: skip
        found = api.get(f"/v1/audit?{query}")["items"]
        assert len([one for one in found if one["action"] != "audit:read"]) == count, query
    for wrong in ("since=yesterday", "result=perhaps", "limit=0", "follow=true&format=csv", "before=0"):
        is_problem(api.ask("GET", f"/v1/audit?{wrong}"), 400)


def test_lines_and_csv_come_in_the_order_of_the_places(api: Api) -> None:
    api.push("=one")
    answer = api.ask("GET", "/v1/audit", headers={"Accept": "application/x-ndjson"})
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [one["place"] for one in found] == list(range(len(found)))
    after = api.ask("GET", "/v1/audit?format=lines&after=2").text.splitlines()
    assert json.loads(after[0])["place"] == 2
    answer = api.ask("GET", "/v1/audit?format=csv&action=workflow:push")
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (row["code"], row["actor"]) == ("LG103A", "admin")
    assert "attachment" in answer.headers["content-disposition"]


def test_the_head_and_its_proofs_check_out(api: Api) -> None:
    for number in range(3):
        api.push(f"text {number}")
    answer = api.ask("GET", "/v1/audit/checkpoint?fresh=true")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    keys = [notes.Verifier.parse(line) for line in api.ask("GET", "/v1/audit/key").text.splitlines()]
    head = Checkpoint.parse(notes.open_note(answer.text, keys))
    for place in (0, head.size - 1):
        proof = api.get(f"/v1/audit/proof/inclusion?place={place}")
        assert proof["root"] == head.root.hex()
        path = [bytes.fromhex(one) for one in proof["hashes"]]
        merkle.check_inclusion(bytes.fromhex(proof["leaf"]), place, head.size, path, head.root)
    proof = api.get(f"/v1/audit/proof/consistency?from=2&to={head.size}")
    path = [bytes.fromhex(one) for one in proof["hashes"]]
    merkle.check_consistency(2, head.size, path, bytes.fromhex(proof["roots"][0]), head.root)
    tile = api.ask("GET", f"/v1/audit/tile/0/000.p/{head.size}").content
    assert merkle.root_of([tile[at : at + 32] for at in range(0, len(tile), 32)]) == head.root
    api.push("more")
    newer = notes.read_all(api.ask("GET", f"/v1/audit/checkpoint?fresh=true&old={head.size}").text)[0]
    said = Checkpoint.parse(notes.open_note(newer.note, keys))
    merkle.check_consistency(head.size, said.size, newer.proof, head.root, said.root)
    for wrong in (
        "proof/inclusion?place=9999",
        "proof/consistency?from=9999",
        "checkpoint?old=9999",
        "proof/inclusion",
    ):
        is_problem(api.ask("GET", f"/v1/audit/{wrong}"), 400)
    for wrong in (
        "0/000",
        "0/000.p/255",
        "0/1",
        "1/000",
        "0/x000/000.p/1",
        "0/000.p/0",
        "64/000",
        "0/999",
        "0/..%2fkey",
    ):
        is_problem(api.ask("GET", f"/v1/audit/tile/{wrong}"), 404)


def test_verification_by_api_takes_checkpoints_from_elsewhere(api: Api) -> None:
    api.push()
    kept = api.ask("GET", "/v1/audit/checkpoint?fresh=true").text
    with_kept = {"checkpoints": [kept] * 1500, "keys": [api.ask("GET", "/v1/audit/key").text.strip()]}
    found = api.post("/v1/audit/verification", with_kept)
    assert (found["good"], found["heads"]) == (True, 1501)
    changed = "CAST(replace(CAST(canonical AS TEXT), 'token', 'taken') AS BLOB)"
    with_change = f"UPDATE audit SET canonical = {changed} WHERE place = 0"
    api.store.write(lambda tx: tx.connection.exec_driver_sql(with_change))
    found = api.post("/v1/audit/verification", {"checkpoints": [kept]})
    assert {(one["kind"], one["place"]) for one in found["findings"]} == {("altered", 0), ("column", 0)}
    for wrong in ({"checkpoints": ["nonsense"]}, {"keys": ["nonsense"]}, {"keys": [""] * 21}):
        is_problem(api.ask("POST", "/v1/audit/verification", json=wrong), 400)


class Transport(httpx.BaseTransport):
    """The command line's requests, to the API of a test."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        answer = self.api.ask(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, headers={"content-type": "x"}, content=answer.content)


def test_export_and_prune_from_the_command_line(api: Api, tmp_path: Path) -> None:
    for number in range(3):
        api.push(f"text {number}")
    client = CommandClient(httpx.Client(transport=Transport(api), base_url="http://api"))
    written = command._export(client, tmp_path / "one", None)
    assert (written.first, written.end) == (0, written.size)
    written = command._export(client, tmp_path / "two", "1h")
    assert (written.first, written.end) == (0, 0), "nothing is that old"
    note = (tmp_path / "one/checkpoint").read_text()
    is_problem(api.ask("POST", "/v1/audit/prune", json={"end": 99, "checkpoint": note}), 400)
    done = api.post("/v1/audit/prune", {"end": 4, "checkpoint": note})
    assert done == {"first": 4, "dropped": 4}
    found = api.post("/v1/audit/verification", {"checkpoints": [note]})
    assert (found["good"], found["first"]) == (True, 4), found
    pruned = api.get("/v1/audit?action=audit:prune")["items"]
    assert [(one["result"], one.get("first")) for one in pruned] == [("allowed", 4), ("failed", None)]
    assert api.post("/v1/audit/prune", {"end": 2, "checkpoint": note}) == {"first": 4, "dropped": 0}
    found = api.get("/v1/audit/verification")
    assert (found["good"], found["first"]) == (True, 4), found
    written = command._export(client, tmp_path / "three", None)
    assert written.first == 4
    api.store.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM audit WHERE place IN (4, 5)"))
    found = api.get("/v1/audit/verification")
    assert [(one["kind"], one["place"]) for one in found["findings"]] == [("dropped", 4), ("dropped", 5)]


def test_a_servers_thread_signs_and_says_once_when_it_cannot(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    thread = Sequencing(api.store, api.app.state.context.operators.means.stopping)
    api.push()
    thread.look()
    with api.store.read() as tx:
        head = tree.newest(tx)
        assert head is not None and head.size == tree.size(tx)
    assert {one["verdict"] for one in examine(api.app.state.context) if one["check"] == "audit log"} == {"ok"}
    api.store.write(lambda tx: tx.connection.exec_driver_sql("UPDATE audit_tile SET hashes = zeroblob(32)"))
    for _ in range(3):
        thread._signed = float("-inf")
        thread.look()
        thread.look()  # it is not time to sign
    assert capsys.readouterr().err.count("lastgood: audit log: ") == 1
    with api.store.read() as tx:
        events = tx.connection.execute(select(tables.outbox.c.type)).scalars().all()
    assert events.count("audit.inconsistent") == 1
    (finding,) = (one for one in examine(api.app.state.context) if one["check"] == "audit log")
    assert (finding["verdict"], finding["todo"]) == ("fail", "lastgood audit verify")


def test_a_servers_thread_outlives_what_nobody_thought_of(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Sequencing(api.store, api.app.state.context.operators.means.stopping)
    api.push()
    with monkeypatch.context() as patch:
        patch.setattr(tree, "sequence_all", lambda _: 1 // 0)
        thread.look()
    assert "this should not happen (ZeroDivisionError)" in capsys.readouterr().err
    thread.look()
    with api.store.read() as tx:
        assert tree.newest(tx) is not None
