"""Verification by smoke requests, against a real HTTP server that plays the engine."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from lastgood.db.store import Store
from lastgood.errors import InvalidExpectation, UnknownSmoke
from lastgood.history import smokes, versions
from lastgood.history.smokes import Smoke
from lastgood.history.versions import Version
from lastgood.release import verification
from lastgood.release.verification import Check, Report, Upstream, judge, judge_answer, verify
from support.documents import document
from support.engine import FakeEngine, fake_engine
from support.scene import ALICE, BOB, Scene, scene
from support.stores import on_sqlite


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as running:
        yield running


def smoke(place: Scene, *expect: str, max_ms: int | None = None, query: str = "", **inputs: Any) -> Smoke:
    return place.store.write(
        lambda tx: smokes.add(tx, ALICE, place.workflow, inputs=inputs, query=query, expect=expect, max_ms=max_ms)
    )


def check(place: Scene, version: Version, url: str, *, condemn: bool = True) -> Report:
    return verify(place.store, BOB, version, Upstream(url, "engine-token"), condemn=condemn)


def evidence(place: Scene, version: Version) -> list[dict[str, Any]]:
    with place.store.read() as tx:
        return versions.evidence_of(tx, version)


@dataclass(frozen=True)
class Case:
    """What the engine answers, and what becomes of a candidate with the smoke request ``outputs.total == `42```."""

    what: str
    verdict: str
    body: Any = field(default_factory=dict)
    status: int = 200
    detail: str = ""


def ended(status: str, **data: Any) -> dict[str, Any]:
    return {"data": {"status": status, **data}}


CASES = [
    Case("as expected", "passed", ended("succeeded", outputs={"total": 42}), detail="as expected"),
    Case("a branch made up for it", "passed", ended("partial-succeeded", outputs={"total": 42})),
    Case("a wrong value", "failed", ended("succeeded", outputs={"total": 41}), detail="is not true (got 41)"),
    Case("another type", "failed", ended("succeeded", outputs={"total": "42"}), detail='(got "42")'),
    Case("no value", "failed", ended("succeeded", outputs={}), detail="(got null)"),
    Case("no outputs at all", "failed", ended("succeeded", outputs=None), detail="(got null)"),
    Case("the run failed", "failed", ended("failed", error="division by zero"), detail="failed: division by zero"),
    Case("the run was stopped", "failed", ended("stopped"), detail="stopped: no reason given"),
    Case(
        "refused inputs", "failed", {"code": "invalid_param", "message": "text is required"}, 400, "text is required"
    ),
    Case("an error without a sentence", "failed", {}, 400, "400"),
    Case("500", "inconclusive", {"message": "internal"}, 500, "answered 500"),
    Case("503 that is not JSON", "inconclusive", b"<html>", 503, "503"),
    Case("a wrong token", "inconclusive", {"message": "no"}, 401, "answered 401"),
    Case("not found", "inconclusive", {"message": "no such version"}, 404, "answered 404"),
    Case("too many requests", "inconclusive", {"message": "later"}, 429, "answered 429"),
    Case("not JSON", "inconclusive", b"hello"),
    Case("nothing", "inconclusive", b""),
    Case("not text", "inconclusive", b"\xff\xfe\x00\x80"),
    Case("a list", "inconclusive", []),
    Case("a number", "inconclusive", 42),
    Case("data that is none", "inconclusive", {"data": [1, 2]}),
    Case("outputs that are none", "inconclusive", ended("succeeded", outputs="42")),
]


@pytest.mark.parametrize("condemn", [True, False])
def test_what_becomes_of_a_version(store: Store, engine: FakeEngine, condemn: bool) -> None:
    place = scene(store)
    smoke(place, "outputs.total == `42`", text="invoice")
    for number, case in enumerate(CASES):
        (version,) = place.versions(f"text {number}")
        if isinstance(case.body, bytes):
            engine.status, engine.body = case.status, case.body
        else:
            engine.say(case.body, case.status)
        report = check(place, version, engine.url, condemn=condemn)
        assert report.verdict == case.verdict, case
        assert case.detail in report.checks[0].detail, case
        expected = {"passed": "stable", "failed": "failed" if condemn else "candidate"}.get(case.verdict, "candidate")
        assert (report.state, place.find(version.id).state) == (expected, expected), case
        (kept,) = evidence(place, version)
        judged = expected if expected != "candidate" else case.verdict
        assert (kept["kind"], kept["verdict"], kept["actor"]) == ("smoke", judged, "bob"), case
        assert kept["detail"]["checks"] == [one.public() for one in report.checks]


def test_the_version_itself_is_asked_and_by_the_engines_token(store: Store, engine: FakeEngine) -> None:
    place = scene(store)
    smoke(place, text="one", number=2)
    (version,) = place.versions("a")
    engine.succeed()
    assert check(place, version, engine.url).state == "stable"
    ((path, token, body),) = engine.asked
    assert (path, token) == (f"/v1/workflows/{version.id}/run", "Bearer engine-token")
    assert (body["inputs"], body["response_mode"]) == ({"text": "one", "number": 2}, "blocking")
    assert body["user"]


def test_a_chatflow_is_asked_a_question(store: Store, engine: FakeEngine) -> None:
    place = scene(store, mode="advanced-chat")
    smoke(place, "contains(answer, 'yes')", query="is it?")
    version = place.push(document(mode="advanced-chat")).version
    engine.say({"answer": "oh yes", "conversation_id": "c"})
    assert check(place, version, engine.url).verdict == "passed"
    ((path, _, body),) = engine.asked
    assert (path, body["query"], body["workflow_id"]) == ("/v1/chat-messages", "is it?", version.id)


@on_sqlite
def test_every_smoke_request_counts(store: Store, engine: FakeEngine) -> None:
    place = scene(store)
    smoke(place, "outputs.total == `42`")
    smoke(place, "outputs.total == `43`")
    (version,) = place.versions("a")
    engine.succeed(total=42)
    report = check(place, version, engine.url)
    assert [one.passed for one in report.checks] == [True, False]
    assert (report.verdict, report.state) == ("failed", "failed")
    assert len(engine.asked) == 2


@on_sqlite
def test_a_slow_answer_fails_where_a_time_is_set(store: Store, engine: FakeEngine) -> None:
    place = scene(store)
    smoke(place, max_ms=30)
    (version,) = place.versions("a")
    engine.succeed()
    engine.wait = 0.1
    report = check(place, version, engine.url)
    assert (report.verdict, report.state) == ("failed", "failed")
    assert "more than 30 ms" in report.checks[0].detail
    assert report.checks[0].elapsed_ms >= 100


@on_sqlite
def test_an_answer_that_never_comes_says_nothing_of_the_version(
    store: Store, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_SECONDS", 0.2)
    place = scene(store)
    smoke(place)
    (version,) = place.versions("a")
    engine.wait = 0.5
    report = check(place, version, engine.url)
    assert (report.verdict, report.state) == ("inconclusive", "candidate")
    assert "Timeout" in report.checks[0].detail


@on_sqlite
def test_an_engine_that_is_away_says_nothing_of_the_version(store: Store) -> None:
    place = scene(store)
    smoke(place)
    (version,) = place.versions("a", state="stable")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        report = check(place, version, f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (report.verdict, report.state) == ("inconclusive", "stable")


def hang_up(server: socket.socket) -> None:
    """Take one connection and end it."""
    connection, _ = server.accept()
    connection.close()


@on_sqlite
def test_an_engine_that_hangs_up_says_nothing_of_the_version(store: Store) -> None:
    place = scene(store)
    smoke(place)
    (version,) = place.versions("a")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=hang_up, args=(server,), daemon=True).start()
        report = check(place, version, f"http://127.0.0.1:{server.getsockname()[1]}")
    assert (report.verdict, report.state) == ("inconclusive", "candidate")


@on_sqlite
def test_without_smoke_requests_nothing_is_learnt(store: Store, engine: FakeEngine) -> None:
    place = scene(store)
    (version,) = place.versions("a")
    assert check(place, version, engine.url) == Report("none", (), "candidate")
    assert (engine.asked, evidence(place, version)) == ([], [])


@on_sqlite
def test_a_version_proves_itself_again_after_a_rollback_left_it(store: Store, engine: FakeEngine) -> None:
    place = scene(store)
    smoke(place)
    old, new = place.versions("old", "new", state="stable")
    place.move(old)
    place.move(new)
    place.move(old, kind="rollback")
    assert place.last_good() is None
    engine.succeed()
    check(place, new, engine.url)
    assert place.last_good() == new.id


def a_smoke(*expect: str) -> Smoke:
    return Smoke("smoke-1", {}, "", expect, None, "", "")


@pytest.mark.parametrize(
    ("expression", "holds", "detail"),
    [
        ("outputs.total == `42`", True, ""),
        ("outputs.lines[0].amount == `9.5`", True, ""),
        ("length(outputs.lines) == `2`", True, ""),
        ("outputs.total > `41`", True, ""),
        ("status == 'succeeded'", True, ""),
        ("contains(keys(outputs), 'total')", True, ""),
        ("elapsed_ms < `100`", True, ""),
        ("outputs.lines[?kind=='tax'] | length(@) == `1`", True, ""),
        ("outputs.total", False, "is not true"),
        ("outputs.nothing == `1`", False, "got null"),
        ("outputs.lines[?kind=='tax'] | length(@) == `3`", False, "is not true"),
        ("outputs.lines[?kind=='none'].amount | [0] == `3`", False, "is not true"),
        ("length(outputs.total) == `1`", False, "cannot be evaluated"),
        ("nonsense(outputs)", False, "cannot be evaluated"),
        ("!(outputs.total == `42`)", False, "is not true"),
    ],
)
def test_expectations(expression: str, holds: bool, detail: str) -> None:
    outputs = {"total": 42, "lines": [{"amount": 9.5, "kind": "net"}, {"amount": 1, "kind": "tax"}]}
    found = judge_answer(a_smoke("status == 'succeeded'", expression), ended("succeeded", outputs=outputs), 12.0)
    assert found.passed is holds, found
    assert detail in found.detail


def test_a_long_wrong_value_is_shortened() -> None:
    found = judge_answer(a_smoke("outputs.text == 'x'"), ended("succeeded", outputs={"text": "y" * 9999}), 1.0)
    assert len(found.detail) < 300


@pytest.mark.parametrize(
    ("passed", "verdict"),
    [
        ([], "none"),
        ([True], "passed"),
        ([True, True], "passed"),
        ([False], "failed"),
        ([True, False], "failed"),
        ([None, False], "failed"),
        ([None], "inconclusive"),
        ([True, None], "inconclusive"),
    ],
)
def test_the_verdict_on_all_of_them(passed: list[bool | None], verdict: str) -> None:
    assert judge([Check("s", one, "", 0.0) for one in passed]) == verdict


def test_smoke_requests_are_kept_with_the_workflow(store: Store) -> None:
    place, other = scene(store), scene(store, "other")
    first = smoke(place, "outputs.total == `42`", text="hé", deep={"a": [1, None]})
    second = smoke(place, max_ms=100)
    with store.read() as tx:
        assert smokes.listing(tx, place.workflow) == [first, second]
        assert smokes.listing(tx, other.workflow) == []
    assert json.loads(json.dumps(first.public()))["inputs"] == {"text": "hé", "deep": {"a": [1, None]}}
    with pytest.raises(UnknownSmoke):
        store.write(lambda tx: smokes.remove(tx, ALICE, place.workflow, "smoke-unknown"))
    with pytest.raises(UnknownSmoke, match="Workflow other"):
        store.write(lambda tx: smokes.remove(tx, ALICE, other.workflow, first.id))
    store.write(lambda tx: smokes.remove(tx, ALICE, place.workflow, first.id))
    with store.read() as tx:
        assert smokes.listing(tx, place.workflow) == [second]


@on_sqlite
@pytest.mark.parametrize("expression", ["", "outputs.", "a = b", "[", "outputs.total == 42", "'"])
def test_an_expectation_that_is_none_is_refused(store: Store, expression: str) -> None:
    place = scene(store)
    with pytest.raises(InvalidExpectation, match="write for example"):
        smoke(place, "outputs.total == `42`", expression)
    with store.read() as tx:
        assert smokes.listing(tx, place.workflow) == []
