"""Events: what can be read, what cannot and why, and what a set of them comes to in any order."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from lastgood.access.grants import Stamp
from lastgood.access.sync import events
from lastgood.access.sync.events import Around, Event, Rules
from lastgood.access.sync.intake import Intake, held
from lastgood.db import tables as t
from lastgood.db.audit import Principal
from lastgood.db.store import Store
from lastgood.db.tx import Tx
from lastgood.errors import MalformedEvent
from support.stores import on_sqlite

NOW = 1_790_000_000
RULES = Rules(NOW)
WHO = Principal("grants-hr", "service")
CLOUD = {"specversion": "1.0", "id": "e-1", "source": "/hr", "type": "role"}
BINARY = {f"ce_{name}": value for name, value in CLOUD.items()}


def body(**fields: Any) -> bytes:
    given = {"user_id": "u1002", "role": "viewer", "action": "add", "timestamp": NOW}
    return json.dumps({name: value for name, value in (given | fields).items() if value is not ...}).encode()


READ: list[tuple[str, bytes | None, Around, Event]] = [
    ("bare", body(), Around(), Event("u1002", "add", "viewer", "*", NOW)),
    (
        "a resource",
        body(resource="workflow:prod-*"),
        Around(),
        Event("u1002", "add", "viewer", "workflow:prod-*", NOW),
    ),
    ("a number for a user", body(user_id=1002), Around(), Event("1002", "add", "viewer", "*", NOW)),
    ("more fields than we know", body(by="hr"), Around(), Event("u1002", "add", "viewer", "*", NOW)),
    ("an update", body(action="update"), Around(), Event("u1002", "update", "viewer", "*", NOW)),
    ("a revoke of a role, wherever", body(action="revoke"), Around(), Event("u1002", "revoke", "viewer", "", NOW)),
    ("… on all", body(action="revoke", resource="*"), Around(), Event("u1002", "revoke", "viewer", "*", NOW)),
    ("a revoke of all", body(action="revoke", role=...), Around(), Event("u1002", "revoke", "", "", NOW)),
    (
        "structured",
        json.dumps(CLOUD | {"data": json.loads(body())}).encode(),
        Around(headers={"content-type": "application/cloudevents+json; charset=utf-8"}),
        Event("u1002", "add", "viewer", "*", NOW),
    ),
    (
        "structured, in base64",
        json.dumps(CLOUD | {"data_base64": base64.b64encode(body()).decode()}).encode(),
        Around(),
        Event("u1002", "add", "viewer", "*", NOW),
    ),
    ("binary", body(), Around(headers=BINARY), Event("u1002", "add", "viewer", "*", NOW)),
    (
        "binary, the time in its attributes",
        body(timestamp=...),
        Around(headers=BINARY | {"ce_time": "2026-09-21T14:13:20.5Z", "content-type": "application/json"}),
        Event("u1002", "add", "viewer", "*", NOW),
    ),
    (
        "binary over HTTP",
        body(),
        Around(headers={f"ce-{name}": value for name, value in CLOUD.items()}),
        Event("u1002", "add", "viewer", "*", NOW),
    ),
    (
        "a tombstone",
        None,
        Around(key=b"u1002", at_ms=NOW * 1000 + 999),
        Event("u1002", "revoke", "", "", NOW),
    ),
    (
        "a binary event with no data",
        b"",
        Around(key=b"u1002", headers=BINARY | {"ce_time": "2026-09-21T14:13:20Z"}, at_ms=5),
        Event("u1002", "revoke", "", "", NOW),
    ),
    ("a little ahead", body(timestamp=NOW + 86_400), Around(), Event("u1002", "add", "viewer", "*", NOW + 86_400)),
]

REFUSED: list[tuple[str, bytes | None, Around, str]] = [
    ("no JSON", b"{", Around(), "not JSON"),
    ("not UTF-8", b'{"user_id": "\xff"}', Around(), "not JSON"),
    ("half a surrogate", b'{"user_id": "\\ud800"}', Around(), "not JSON"),
    ("nothing", b"", Around(), "not JSON"),
    ("a list", b"[]", Around(), "not a JSON object"),
    ("deep", b"[" * 5000 + b"]" * 5000, Around(), "JSON"),
    ("large", body(more="x" * 70_000), Around(), "bytes"),
    ("no user", body(user_id=...), Around(), "user_id is missing"),
    ("an empty user", body(user_id=""), Around(), "user_id"),
    ("true for a user", body(user_id=True), Around(), "user_id is True"),
    ("a token", body(user_id="token:ci"), Around(), "names no person"),
    ("us", body(user_id="local"), Around(), "names no person"),
    ("a user with NUL", body(user_id="u\x00"), Around(), "cannot be shown"),
    ("a user in two lines", body(user_id="u\nv"), Around(), "cannot be shown"),
    ("a user that reads backwards", body(user_id="u\u202etxt"), Around(), "cannot be shown"),
    ("a space at the end", body(user_id="u "), Around(), "space"),
    ("a long user", body(user_id="u" * 256), Around(), "256 characters"),
    ("no role", body(role=...), Around(), "role is missing"),
    ("an empty role", body(role="", action="update"), Around(), "role"),
    ("a long role", body(role="r" * 64), Around(), "64 characters"),
    ("no action", body(action=...), Around(), "action is missing"),
    ("another action", body(action="ADD"), Around(), "'ADD'"),
    ("a list for an action", body(action=["add"]), Around(), "['add']"),
    ("no such resource", body(resource="prod invoice"), Around(), "neither"),
    ("a resource of another kind of value", body(resource=7), Around(), "resource is 7"),
    ("no time", body(timestamp=...), Around(), "timestamp is missing"),
    ("a fraction", body(timestamp=1.5), Around(), "timestamp is 1.5"),
    ("words for a time", body(timestamp="now"), Around(), "'now'"),
    ("before 1970", body(timestamp=-1), Around(), "-1"),
    ("past 64 bits", b'{"user_id":"u","role":"r","action":"add","timestamp":99999999999999999999}', Around(), "not"),
    ("tomorrow", body(timestamp=NOW + 86_401), Around(), "more than 24 h in the future"),
    ("milliseconds", body(timestamp=NOW * 1000), Around(), "looks like milliseconds"),
    ("an older CloudEvent", body(), Around(headers=BINARY | {"ce_specversion": "0.3"}), "'0.3', not 1.0"),
    ("a CloudEvent without an id", body(), Around(headers=BINARY | {"ce_id": ""}), "no id"),
    ("XML", b"<a/>", Around(headers=BINARY | {"content-type": "text/xml"}), "not JSON"),
    ("a structured event with no data", json.dumps(CLOUD).encode(), Around(key=b"u1002"), "not a JSON object"),
    ("bad base64", json.dumps(CLOUD | {"data_base64": "?"}).encode(), Around(), "not base64"),
    ("a tombstone of nobody", None, Around(at_ms=5), "no key"),
    ("a tombstone without a time", None, Around(key=b"u1002"), "timestamp is missing"),
    ("a tombstone of a token", None, Around(key=b"token:ci", at_ms=5), "names no person"),
    ("a tombstone of bytes", None, Around(key=b"\xff", at_ms=5), "not UTF-8"),
]


@pytest.mark.parametrize(("sent", "around", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_what_can_be_read(sent: bytes | None, around: Around, expected: Event) -> None:
    assert events.read(sent, RULES, around) == expected


@pytest.mark.parametrize(("sent", "around", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_and_why(sent: bytes | None, around: Around, why: str) -> None:
    with pytest.raises(MalformedEvent) as caught:
        events.read(sent, RULES, around)
    assert why in str(caught.value)
    assert str(caught.value).isprintable(), "nothing in an event writes to a terminal or a log"


def test_roles_are_mapped_and_others_kept_out() -> None:
    rules = Rules(NOW, roles={"viewer": "auditor"})
    assert events.read(body(), rules).role == "auditor"
    with pytest.raises(MalformedEvent, match="'admin' is not among"):
        events.read(body(role="admin"), rules)


@pytest.mark.parametrize(
    ("sent", "headers", "number"),
    [
        (body(), {}, 1),
        (b"[" + body() + b"," + body() + b"]", {}, 2),
        (b'{"events": [' + body() + b"]}", {}, 1),
        (body(), BINARY, 1),
        (b"[]", {"content-type": "application/cloudevents-batch+json"}, 0),
    ],
)
def test_what_is_pushed_is_one_event_or_many(sent: bytes, headers: dict[str, str], number: int) -> None:
    assert len(events.each(sent, headers, 2)) == number


def test_what_is_nested_deeply_is_malformed_and_no_error_of_ours() -> None:
    deep = b"[" * 900 + b"]" * 900
    sent = events.each(b"[" + body() + b"," + deep + b"]", {}, 2)
    assert sent[1] == deep
    with pytest.raises(MalformedEvent, match="not a JSON object"):
        events.read(sent[1], RULES)


def test_a_batch_is_not_endless() -> None:
    with pytest.raises(MalformedEvent, match="more than 2"):
        events.each(b"[1, 2, 3]", {}, 2)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["ce_specversion", "content-type"]), st.text()))
def test_hostile_bytes_are_refused_in_words(sent: bytes, headers: dict[str, str]) -> None:
    try:
        events.read(sent, RULES, Around(key=sent, headers=headers, at_ms=1))
    except MalformedEvent as error:
        assert str(error).isprintable()


USERS, ROLES, RESOURCES = ("ann", "bob"), ("viewer", "editor"), ("*", "workflow:x")
EVENTS = st.builds(
    Event,
    st.sampled_from(USERS),
    st.sampled_from(("add", "add", "update", "revoke")),
    st.sampled_from(ROLES),
    st.sampled_from(RESOURCES),
    st.integers(0, 3),
)
WIDE = st.builds(
    Event,
    st.sampled_from(USERS),
    st.just("revoke"),
    st.sampled_from(("", *ROLES)),
    st.sampled_from(("", *RESOURCES)),
    st.integers(0, 3),
)


def stamped(some: Sequence[Event]) -> list[tuple[Stamp, Event]]:
    return [((event.at, place), event) for place, event in enumerate(some)]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), some=st.lists(st.one_of(EVENTS, WIDE), max_size=12))
def test_any_order_and_any_doubling_come_to_the_same(memory: Store, data: Any, some: list[Event]) -> None:
    sent = stamped(some)
    doubled = sent + data.draw(st.lists(st.sampled_from(sent), max_size=4)) if sent else sent
    arriving = data.draw(st.permutations(doubled))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arriving)), max_size=3)))

    def work(tx: Tx) -> set[events.Had]:
        for start, end in zip([0, *cuts], [*cuts, len(arriving)], strict=True):
            Intake(tx, WHO, "hr").take(arriving[start:end])
        found = held(tx, "hr")
        tx.connection.execute(t.grant.delete())
        return found

    assert memory.write(work) == events.fold(sent)


@pytest.fixture(scope="module")
def memory(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lastgood.db.store import open_store
    from support.stores import clean_settings, copy_sqlite

    home = tmp_path_factory.mktemp("memory") / "home"
    copy_sqlite(sqlite_template, home)
    store = open_store(clean_settings(home))
    yield store
    store.close()


OUTCOMES: list[tuple[str, list[tuple[int, int, dict[str, Any]]], list[str], set[tuple[str, str]]]] = [
    ("an event twice", [(5, 1, {}), (5, 1, {})], ["applied", "same"], {("viewer", "*")}),
    ("said again later", [(5, 1, {}), (6, 2, {})], ["applied", "same"], {("viewer", "*")}),
    ("an older one loses", [(5, 2, {"action": "revoke", "resource": "*"}), (4, 1, {})], ["same", "late"], set()),
    ("at one time the later place wins", [(5, 1, {}), (5, 2, {"action": "revoke"})], ["applied", "applied"], set()),
    ("… in either order", [(5, 2, {"action": "revoke"}), (5, 1, {})], ["same", "late"], set()),
    (
        "an update leaves its role alone",
        [(1, 1, {"role": "editor"}), (2, 2, {"resource": "workflow:x"}), (3, 3, {"action": "update"})],
        ["applied", "applied", "applied"],
        {("viewer", "*")},
    ),
    (
        "what an update ended stays ended",
        [(3, 3, {"action": "update"}), (1, 1, {"role": "editor"})],
        ["applied", "late"],
        {("viewer", "*")},
    ),
    (
        "a revoke of a role ends it on every resource",
        [(1, 1, {"resource": "workflow:x"}), (1, 2, {"role": "editor"}), (2, 3, {"action": "revoke"})],
        ["applied", "applied", "applied"],
        {("editor", "*")},
    ),
    (
        "a revoke of all",
        [(1, 1, {}), (1, 2, {"role": "editor"}), (2, 3, {"action": "revoke", "role": ...})],
        ["applied", "applied", "applied"],
        set(),
    ),
    (
        "of an update that is half too late, the half that is not",
        [(3, 3, {"action": "revoke"}), (1, 1, {"role": "editor"}), (2, 2, {"action": "update"})],
        ["same", "applied", "applied"],
        set(),
    ),
]


@pytest.mark.parametrize(
    ("sent", "outcomes", "left"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES]
)
def test_what_comes_of_events(
    store: Store, sent: list[tuple[int, int, dict[str, Any]]], outcomes: list[str], left: set[tuple[str, str]]
) -> None:
    read = [((at, place), events.read(body(timestamp=at, **more), RULES)) for at, place, more in sent]
    assert store.write(lambda tx: Intake(tx, WHO, "hr").take(read)) == outcomes
    with store.read() as tx:
        assert held(tx, "hr") == {("u1002", *one) for one in left} == events.fold(read)


@on_sqlite
def test_each_change_is_audited_and_nothing_else(store: Store) -> None:
    sent = [((1, 1), Event("ann", "add", "viewer", "*", 1)), ((2, 2), Event("ann", "revoke", "", "", 2))]
    store.write(lambda tx: Intake(tx, WHO, "hr").take([*sent, *sent]))
    with store.read() as tx:
        rows = tx.connection.execute(select(t.audit.c.action, t.audit.c.actor)).all()
        marks = tx.connection.execute(select(func.count()).where(t.grant.c.role == "")).scalar_one()
    assert [tuple(row) for row in rows] == [("access:grant", "grants-hr"), ("access:revoke", "grants-hr")]
    assert marks == 1


@on_sqlite
def test_sources_do_not_touch_each_other(store: Store) -> None:
    store.write(lambda tx: Intake(tx, WHO, "hr").take([((1, 1), Event("ann", "add", "viewer", "*", 1))]))
    store.write(lambda tx: Intake(tx, WHO, "crm").take([((2, 1), Event("ann", "revoke", "", "", 2))]))
    with store.read() as tx:
        assert held(tx, "hr") == {("ann", "viewer", "*")}
