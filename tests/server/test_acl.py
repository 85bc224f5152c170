"""Permissions kept in step, over HTTP: pushed events, checks, repair, dead events, the feed, metrics."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import select

from lastgood.access import decisions, grants
from lastgood.access.grants import Grant
from lastgood.access.sync import buckets, consistency, intake, listing, push, sources
from lastgood.access.sync.events import Event, Had
from lastgood.access.sync.intake import Intake
from lastgood.access.sync.listing import lister_of
from lastgood.access.sync.push import sign
from lastgood.catalogue import GrantSource
from lastgood.db import rotation
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx, utc_text
from lastgood.errors import SourceMoved
from lastgood.release.checks import access as checked
from lastgood.server.app import make_app
from lastgood.server.doorstep import STRANGERS_BYTES
from lastgood.server.syncing import due, principal_of
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import Api

NOW = int(time.time())
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Server:
    """Where roles really live: answers as `buckets.answer` says, or with `instead`."""

    had: set[Had] = field(default_factory=set)
    as_of: int = NOW
    instead: Any = None
    status: int = 200
    plain: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def running() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(urlsplit(self.path).query)
            query = [] if server.plain else parse_qsl(urlsplit(self.path).query)
            told = buckets.answer(server.had, query, server.as_of) if server.instead is None else server.instead
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/roles"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


@pytest.fixture
def there() -> Iterator[Server]:
    with running() as server:
        yield server


def declare(store: Store, monkeypatch: pytest.MonkeyPatch, **given: GrantSource) -> None:
    monkeypatch.setattr(store, "settings", store.settings.model_copy(update={"grants": given}))


@pytest.fixture
def hr(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """The API with a push source `hr`."""
    monkeypatch.setenv("HR_SECRET", SECRET)
    declare(api.store, monkeypatch, hr=GrantSource(kind="push", secret="env:HR_SECRET"))
    return api


def event(user: str = "u1002", action: str = "add", at: int = NOW, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "role": "viewer", "action": action, "timestamp": at, **more}


def send(api: Api, body: Any, message: str = "msg-1", at: int | None = None, **headers: Any) -> Any:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = sign(KEY, message, int(time.time()) if at is None else at, sent)
    return api.client.post("/v1/access/events?source=hr", content=sent, headers={**signed, **headers})


def may_read(store: Store, user: str = "u1002") -> bool:
    return decisions.check_permission(store, Principal(user), "workflow:read", "workflow:x").allowed


def held(store: Store, source: str = "hr") -> set[Had]:
    with store.read() as tx:
        return intake.held(tx, source)


def test_what_is_pushed_is_in_force_when_it_is_answered(hr: Api) -> None:
    assert not may_read(hr.store)
    answer = send(hr, [event(), event(), event("u2", "revoke"), event("u3", at=NOW * 1000)])
    assert answer.status_code == 200, answer.text
    assert [one["outcome"] for one in answer.json()["results"]] == ["applied", "same", "same", "malformed"]
    assert "milliseconds" in answer.json()["results"][3]["reason"]
    assert may_read(hr.store)
    assert send(hr, event(action="revoke"), "msg-2").json()["counts"] == {"applied": 1}
    assert not may_read(hr.store), "a revoke holds before it is acknowledged"
    with hr.store.read() as tx:
        rows = tx.connection.execute(select(t.audit.c.canonical).where(t.audit.c.actor == "grants-hr")).scalars()
        (came,) = {(one["method"], one["path"], one["address"]) for one in map(json.loads, rows)}
    assert came == ("POST", "/v1/access/events", "127.0.0.1")


@on_sqlite
def test_a_message_that_comes_again_gets_its_answer_again_and_does_nothing(hr: Api) -> None:
    first = send(hr, event()).json()
    send(hr, event(action="revoke"), "msg-2")
    again = send(hr, event()).json()
    assert again == {**first, "repeated": True}
    assert held(hr.store) == set()


@on_sqlite
@pytest.mark.parametrize(
    "spoil",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1a," + "A" * 44},
        {"webhook-id": "other"},
        {"webhook-timestamp": str(NOW - 3600)},
        {"webhook-timestamp": "soon"},
    ],
)
def test_what_is_not_signed_is_refused(hr: Api, spoil: dict[str, Any]) -> None:
    assert send(hr, event(), **spoil).status_code == 401
    assert held(hr.store) == set()


@on_sqlite
def test_an_old_message_is_refused_though_it_is_signed(hr: Api) -> None:
    now = int(time.time())
    assert send(hr, event(), at=now - push.WINDOW - 60).status_code == 401
    assert send(hr, event(), at=now + push.WINDOW + 600).status_code == 401


@on_sqlite
def test_what_cannot_be_a_push(hr: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hr.client.post("/v1/access/events", content=b"{}").status_code in (400, 422)
    assert hr.client.post("/v1/access/events?source=crm", content=b"{}").status_code == 404
    assert send(hr, b"{").json()["results"][0]["outcome"] == "malformed"
    assert send(hr, [event()] * (push.MOST_EVENTS + 1), "msg-2").status_code == 400
    for door in ("events", "events?source=crm", "sources?source=hr"):  # 64 KiB are all that a stranger may send there
        assert hr.client.post(f"/v1/access/{door}", content=b" " * 70_000).status_code == 401
    long = send(hr, b" " * (push.MOST_BYTES + 1), "msg-3")
    assert (long.status_code, long.headers["connection"]) == (413, "close")
    assert "larger than 2 MB" in long.json()["detail"] and "LASTGOOD_" not in long.text
    declare(hr.store, monkeypatch, hr=GrantSource(kind="url", url="http://x/"))
    assert send(hr, event()).status_code == 400
    # Where nothing is pushed, no more is taken in from strangers than anywhere.
    assert send(hr, b" " * (STRANGERS_BYTES + 1), "msg-4").status_code == 401


@on_sqlite
def test_cloud_events_are_understood(hr: Api) -> None:
    cloud = {"specversion": "1.0", "id": "e", "source": "/hr", "type": "role"}
    binary: dict[str, Any] = {f"ce-{name}": value for name, value in cloud.items()}
    assert send(hr, event(), "m-1", **binary).json()["counts"] == {"applied": 1}
    structured: dict[str, Any] = {"content-type": "application/cloudevents+json"}
    assert send(hr, {**cloud, "data": event("u2")}, "m-2", **structured).json()["counts"] == {"applied": 1}
    batch: dict[str, Any] = {"content-type": "application/cloudevents-batch+json"}
    assert send(hr, [{**cloud, "data": event("u3")}], "m-3", **batch).json()["counts"] == {"applied": 1}


@on_sqlite
def test_a_secret_that_is_made_here_is_shown_once_and_kept_sealed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="push"))
    assert send(api, event()).status_code == 400
    made = api.post("/v1/access/sources/hr/secret", {}, status=201)
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    body = json.dumps(event()).encode()
    answer = api.client.post(made["path"], content=body, headers=sign(key, "m", int(time.time()), body))
    assert answer.json()["counts"] == {"applied": 1}
    with api.store.read() as tx:
        assert made["secret"].encode() not in (sources.get(tx, "hr").sealed or b"")
        rows = tx.connection.execute(select(t.audit.c.canonical)).scalars().all()
    assert all(made["secret"].encode() not in bytes(row) for row in rows)
    old = api.store.ring.newest("seal")
    rotation.rotate(api.store, ALICE)
    rotation.retire(api.store, ALICE, old)
    answer = api.client.post(made["path"], content=body, headers=sign(key, "n", int(time.time()), body))
    assert answer.status_code == 200, "it opens when the key of then has left the ring"


@on_sqlite
def test_dead_events_wait_for_a_person(hr: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {"boss": "admin"}
    declare(hr.store, monkeypatch, hr=GrantSource(kind="push", secret="env:HR_SECRET", roles=roles))
    send(hr, [event(), event("u2", at=-1), event("u3", role="boss")])
    found = hr.get("/v1/access/dead")
    assert found["counts"] == {"hr": 2}
    assert {one["place"] for one in found["items"]} == {"msg-1/0", "msg-1/1"}
    # A later event came meanwhile: the one that waited is too late.
    roles["viewer"] = "viewer"
    declare(hr.store, monkeypatch, hr=GrantSource(kind="push", secret="env:HR_SECRET", roles=roles))
    send(hr, event(action="revoke", at=NOW + 1), "msg-2")
    told = hr.post("/v1/access/dead/retry", {"source": "hr"})["results"]
    assert sorted(told.values(), key=len)[0] == "late"
    left = hr.get("/v1/access/dead?source=hr")["items"]
    assert [one["place"] for one in left] == ["msg-1/1"]
    assert hr.post("/v1/access/dead/drop", {"ids": [left[0]["id"]]}) == {"dropped": 1}
    assert hr.ask("POST", "/v1/access/dead/drop", json={}).status_code == 400
    assert hr.ask("POST", "/v1/access/dead/drop", json={"ids": [2**63]}).status_code == 400
    assert held(hr.store) == {("u3", "admin", "*")}


def fill(store: Store, *some: Had, at: int = NOW - 1000) -> None:
    """Let the events source `hr` have given these."""
    store.write(lambda tx: sources.ensure(tx, "hr", "push"))
    read = [((at, place), Event(user, "add", role, on, at)) for place, (user, role, on) in enumerate(some)]
    store.write(lambda tx: Intake(tx, principal_of("hr"), "hr").take(read))


MANY = {(f"u{number}", "viewer", "*") for number in range(60)}


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_check_says_what_differs_and_why_and_changes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server, kind: str
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="push", url=there.url))
    fill(api.store, *MANY)
    gone = [((NOW - 500, 99), Event("u1", "revoke", "viewer", "*", NOW - 500))]
    api.store.write(lambda tx: Intake(tx, principal_of("hr"), "hr").take(gone))
    newer = [((NOW + 5, 100), Event("late", "add", "viewer", "*", NOW + 5))]
    api.store.write(lambda tx: Intake(tx, principal_of("hr"), "hr").take(newer))
    there.had = MANY - {("u2", "viewer", "*")} | {("u99", "editor", "workflow:x")}
    before = held(api.store)
    report = api.post("/v1/access/sources/hr/check", {"kind": kind})
    assert {(one["kind"], one["user"]) for one in report["differences"]} == {
        ("missing", "u1"),
        ("missing", "u99"),
        ("extra", "u2"),
    }
    why = {one["user"]: one["why"] for one in report["differences"]}
    assert "took it away" in why["u1"]
    assert "no event has granted it" in why["u99"]
    assert "no event has ended it" in why["u2"]
    assert (report["in_step"], report["newer"], report["repaired"]) == (False, 1, 0)
    assert held(api.store) == before
    with api.store.read() as tx:
        (told,) = tx.connection.execute(select(t.outbox.c.type)).scalars().all()
    assert told == "access.differs"
    repaired = api.post("/v1/access/sources/hr/repair", {})
    assert (repaired["repaired"], repaired["in_step"]) == (3, True)
    assert held(api.store) == there.had | {("late", "viewer", "*")}
    assert api.post("/v1/access/sources/hr/check", {"kind": kind})["in_step"]


@on_sqlite
def test_an_incremental_check_asks_for_no_more_than_differs(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="push", url=there.url))
    fill(api.store, *MANY)
    there.had = set(MANY)
    report = api.post("/v1/access/sources/hr/check", {"kind": "incremental"})
    assert (report["in_step"], there.asked) == (True, ["buckets=256"])
    assert report["received"] < 6000
    there.had |= {("new", "viewer", "*")}
    api.post("/v1/access/sources/hr/check", {"kind": "incremental"})
    assert there.asked[1:] == ["buckets=256", f"bucket={buckets.bucket_of(('new', 'viewer', '*'))}"]
    there.plain = True  # a server that knows no digests is asked for everything
    assert api.post("/v1/access/sources/hr/check", {"kind": "incremental"})["differences"][0]["user"] == "new"


@on_sqlite
def test_the_source_wins_where_the_policy_says_so(api: Api, monkeypatch: pytest.MonkeyPatch, there: Server) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="push", url=there.url, policy="source-wins"))
    fill(api.store, *MANY)
    there.had = MANY - {("u2", "viewer", "*")}
    assert api.post("/v1/access/sources/hr/check", {"kind": "full"})["repaired"] == 1
    assert held(api.store) == there.had


@on_sqlite
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ([], 409),
        ([{"user_id": "u1", "role": "viewer"}], 409),
        ({"grants": [{"user_id": "u1", "role": "viewer"}], "count": 60}, 502),
        ({"grants": [], "as_of": NOW + 10**6}, 502),
        ({"error": "no"}, 502),
        ("maintenance", 502),
    ],
)
def test_a_list_that_is_broken_or_too_short_revokes_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server, answer: Any, status: int
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url))
    there.had = set(MANY)
    syncing = api.app.state.context.syncing
    syncing.check("hr", principal_of("hr"), "full", repair=True)
    assert held(api.store) == MANY
    there.instead = answer
    with pytest.raises(Exception) as caught:
        syncing.check("hr", principal_of("hr"), "full", repair=True)
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert held(api.store) == MANY
    if status == 409:
        (item,) = api.get("/v1/access/sources")["items"]
        assert "lastgood acl repair" in item["problem"]
        api.post("/v1/access/sources/hr/repair", {})
        assert len(held(api.store)) == len(answer), "a person says that it is right"


@on_sqlite
def test_a_list_without_end_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch, there: Server) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url))
    monkeypatch.setattr(listing, "_LONGEST", 0.0)
    answer = api.ask("POST", "/v1/access/sources/hr/check", json={"kind": "full"})
    assert (answer.status_code, "took over" in answer.json()["detail"]) == (502, True)


@on_sqlite
def test_a_list_is_granted_and_what_it_has_no_more_is_revoked(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url, roles={"r": "viewer"}))
    there.instead = [{"user_id": f"u{number}", "role": "r"} for number in range(9)] + [
        {"user_id": "x", "role": "admin"}
    ]
    syncing = api.app.state.context.syncing
    report = syncing.check("hr", principal_of("hr"), "full", repair=True)
    assert (report.repaired, report.kept_out) == (9, 1)
    there.instead = there.instead[1:]
    there.as_of = NOW - 10_000  # a clock that went back
    assert syncing.check("hr", principal_of("hr"), "incremental", repair=True).repaired == 1
    assert not may_read(api.store, "u0")
    assert may_read(api.store, "u1")


@on_sqlite
def test_a_list_of_events_is_taken_in_and_each_malformed_one_is_dead_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url))
    syncing = api.app.state.context.syncing
    for told in (["one"], [event(), "one"], ["two", event(), "one"]):
        there.instead = {"events": told}
        syncing.check("hr", principal_of("hr"), "incremental", repair=True)
    assert held(api.store) == {("u1002", "viewer", "*")}
    assert [one["body"] for one in api.get("/v1/access/dead")["items"]] == ['"two"', '"one"']


@on_sqlite
def test_a_look_at_a_list_does_not_put_its_reading_off(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    setting = GrantSource(kind="url", url=there.url)
    declare(api.store, monkeypatch, hr=setting)
    there.had = {("u1", "viewer", "*")}
    assert not api.post("/v1/access/sources/hr/check", {"kind": "full"})["in_step"]
    with api.store.read() as tx:
        source = sources.get(tx, "hr")
    assert (due(setting, source, datetime.now(UTC)), source.read_at) == ("full", None)


@on_sqlite
def test_a_list_that_a_later_one_overtook_is_not_gone_by(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    setting = GrantSource(kind="url", url=there.url)
    declare(api.store, monkeypatch, hr=setting)
    syncing, who = api.app.state.context.syncing, principal_of("hr")
    there.had = {("ann", "viewer", "*"), ("bob", "viewer", "*")}
    slow = lister_of("hr", setting)
    assert slow is not None
    told = slow.grants()

    def overtaken(only: Any = None) -> Any:
        there.had = {("ann", "viewer", "*")}
        syncing.check("hr", who, "full", repair=True)
        return told

    monkeypatch.setattr(slow, "grants", overtaken)
    with pytest.raises(SourceMoved):
        consistency.check(api.store, who, "hr", setting, slow, "full", repair=True)
    assert held(api.store) == {("ann", "viewer", "*")}


@on_sqlite
def test_the_feed_from_the_start_is_the_snapshot(api: Api) -> None:
    ann, bob = Grant("ann", "viewer"), Grant("bob", "editor", "workflow:x")
    for grant, present in ((ann, True), (bob, True), (ann, False)):
        api.store.write(partial(grants.put, who=ALICE, grant=grant, present=present, stamp=(1, 0)))

    def lines(path: str) -> tuple[list[Any], int]:
        answer = api.ask("GET", path)
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()], int(answer.headers["lastgood-sequence"])

    told, head = lines("/v1/access/feed")
    standing = [one for one in told if one["present"]]
    snapshot, at = lines("/v1/access/snapshot")
    assert (standing, head) == (snapshot, at)
    page, after = lines("/v1/access/feed?limit=1")
    assert page == told[:1]
    assert lines(f"/v1/access/feed?after={after}")[0] == told[1:]
    assert lines(f"/v1/access/feed?after={head}") == ([], head)
    assert api.ask("GET", f"/v1/access/feed?after={head + 1}").status_code == 400


@on_sqlite
def test_how_it_stands_in_metrics_and_on_the_checklist(
    hr: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    declare(hr.store, monkeypatch, hr=GrantSource(kind="push", secret="env:HR_SECRET", url=there.url))
    case: Any = type("Place", (), {"means": hr.app.state.context.means()})()

    def verdict() -> tuple[str, str]:
        (found,) = checked.check(case)
        assert not found.required
        return found.verdict, found.found

    assert verdict() == ("unknown", "it was never compared")
    send(hr, event(role="wizard"))
    there.had = {("u1002", "wizard", "*")}
    hr.post("/v1/access/sources/hr/check", {"kind": "full"})
    assert verdict()[0] == "pass"
    there.had = {("u1", "viewer", "*")}
    hr.post("/v1/access/sources/hr/check", {"kind": "full"})
    assert verdict()[0] == "fail"
    send(hr, b"{", "msg-2")
    text = hr.ask("GET", "/metrics").text
    for line in (
        'lastgood_access_grants{source="hr"} 1',
        'lastgood_access_events_total{source="hr",outcome="malformed"} 1',
        'lastgood_access_dead_events{source="hr"} 1',
        'lastgood_access_in_step{source="hr"} 0',
        'lastgood_access_differences{source="hr",kind="missing"} 1',
    ):
        assert line in text.splitlines()
    (item,) = hr.get("/v1/access/sources")["items"]
    assert item["unknown_roles"] == ["wizard"]
    declare(hr.store, monkeypatch)
    assert verdict() == ("skipped", "no source of permissions is declared")


@on_sqlite
def test_metrics_are_for_this_machine_or_for_a_token(api: Api) -> None:
    near = {"x-forwarded-for": "192.0.2.7"}
    assert api.client.get("/metrics").status_code == 200
    assert api.client.get("/metrics", headers=near).status_code == 401
    assert api.ask("GET", "/metrics", headers=near).status_code == 200


@on_sqlite
def test_two_servers_share_the_sources_out(api: Api, monkeypatch: pytest.MonkeyPatch, there: Server) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url))
    there.had = {("u1", "viewer", "*")}
    other = make_app(api.store).state.context
    ours = api.app.state.context
    for one in (ours, other):
        one.syncing.run()
    until = time.monotonic() + 30
    while held(api.store) != there.had and time.monotonic() < until:
        time.sleep(0.05)
    assert held(api.store) == there.had
    assert len(there.asked) == 1, "one of them reads it"
    for one in (ours, other):
        one.syncing.stop()
    with api.store.read() as tx:
        assert sources.get(tx, "hr").owner is None


@on_sqlite
def test_a_problem_is_told_until_the_source_is_read_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, there: Server
) -> None:
    declare(api.store, monkeypatch, hr=GrantSource(kind="url", url=there.url))

    def down(tx: Tx) -> None:
        sources.note(tx, sources.ensure(tx, "hr", "url"), problem="it is down")

    api.store.write(down)  # as a server noted that is no more

    def problem() -> str:
        return str(api.get("/v1/access/sources")["items"][0]["problem"])

    api.post("/v1/access/sources/hr/check", {"kind": "full"})
    assert problem() == "it is down", "a person's look does not say that a server can read it"
    syncing = api.app.state.context.syncing
    syncing.run()
    until = time.monotonic() + 30
    while problem() and time.monotonic() < until:
        time.sleep(0.05)
    syncing.stop()
    assert problem() == ""


@pytest.mark.parametrize(
    ("setting", "full", "incremental", "due_now"),
    [
        (GrantSource(kind="kafka", url="http://x"), None, None, "full"),
        (GrantSource(kind="kafka", url="http://x"), 23.9, 0.9, None),
        (GrantSource(kind="kafka", url="http://x"), 23.9, 1.1, "incremental"),
        (GrantSource(kind="kafka", url="http://x"), 24.1, 0.1, "full"),
        (GrantSource(kind="kafka", url="http://x", full_hours=0), 99, 0.1, None),
        (GrantSource(kind="kafka", url="http://x", incremental_minutes=0), 1, 99, None),
        (GrantSource(kind="url", url="http://x"), 1, 0.2, None),
        (GrantSource(kind="url", url="http://x"), 1, 0.3, "incremental"),
    ],
)
def test_when_what_is_compared(
    setting: GrantSource, full: float | None, incremental: float | None, due_now: str | None
) -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)

    def ago(hours: float | None) -> str | None:
        return None if hours is None else utc_text(now - timedelta(hours=hours))

    source = sources.Source(1, "hr", setting.kind, {}, "{}", None, ago(full), ago(incremental))
    assert due(setting, source, now) == due_now
