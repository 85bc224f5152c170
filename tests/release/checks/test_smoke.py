"""Smoke requests as an item of the checklist: assertions, interface and time; and what becomes of the version."""

from typing import Any

import pytest

from lastgood.db.store import Store
from lastgood.history import smokes, versions
from lastgood.history.smokes import Smoke
from lastgood.release.checks import smoke
from lastgood.release.verification import Upstream, judge_answer
from support.engine import FakeEngine
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import TOKEN, Served, only, serve


def add(served: Served, *expect: str, max_ms: int | None = None) -> Smoke:
    place = served.place
    return place.store.write(
        lambda tx: smokes.add(tx, ALICE, place.workflow, inputs={}, query="hi", expect=expect, max_ms=max_ms)
    )


def state(served: Served) -> str:
    return served.place.find(served.version.id).state


def asked(engine: FakeEngine, **more: Any) -> dict[str, Any]:
    return {"engine": lambda: Upstream(engine.url, TOKEN), **more}


def test_what_passes_makes_the_version_stable(store: Store, engine: FakeEngine) -> None:
    served = serve(store)
    one, two = add(served, "outputs.said == 'hello'"), add(served, max_ms=60_000)
    found = list(smoke.check(served.case(**asked(engine))))
    assert [(item.subject, item.verdict, item.found) for item in found] == [
        (one.id, "pass", "as expected"),
        (two.id, "pass", "as expected"),
    ]
    assert found[0].expected == "a result that fits the interface, outputs.said == 'hello'"
    assert found[1].expected == "a result that fits the interface, within 60000 ms"
    assert state(served) == "stable"


@pytest.mark.parametrize("condemn", [True, False])
def test_what_fails_condemns_where_it_may(store: Store, engine: FakeEngine, condemn: bool) -> None:
    served = serve(store)
    add(served, "outputs.said == 'hello'")
    engine.succeed(said="something else")
    one = only(smoke.check(served.case(**asked(engine, condemn=condemn))))
    assert (one.verdict, one.found) == ("fail", "outputs.said == 'hello' is not true (got \"something else\")")
    assert state(served) == ("failed" if condemn else "candidate")


@on_sqlite
@pytest.mark.parametrize(
    ("outputs", "detail"),
    [
        ({"said": 42}, "outputs.said does not fit the version's interface: 42 is not of type 'string'"),
        ({"other": "hello"}, "outputs does not fit the version's interface: 'said' is a required property"),
    ],
)
def test_a_result_that_does_not_fit_the_interface_fails(
    store: Store, engine: FakeEngine, outputs: dict[str, Any], detail: str
) -> None:
    served = serve(store)
    add(served)
    engine.say({"data": {"status": "succeeded", "outputs": outputs}})
    one = only(smoke.check(served.case(**asked(engine))))
    assert (one.verdict, one.found) == ("fail", detail)


@on_sqlite
def test_a_chats_answer_is_its_interface(store: Store, engine: FakeEngine) -> None:
    from support.documents import document
    from support.scene import scene

    place = scene(store, mode="advanced-chat", target="engine")
    version = place.push(document(mode="advanced-chat")).version
    place.move(version)
    served = Served(place, version)
    add(served, "contains(answer, 'hello')")
    engine.say({"answer": "hello you", "conversation_id": "c"})
    assert only(smoke.check(served.case(**asked(engine)))).verdict == "pass"


SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


@pytest.mark.parametrize(
    ("expect", "outputs", "said"),
    [
        ((), {"total": 42}, "as expected"),
        ((), {"total": "42"}, "outputs.total does not fit"),
        ((), {}, "outputs does not fit"),
        ((), None, "outputs does not fit"),
        (("outputs.total == `42`",), {"total": "42"}, 'is not true (got "42")'),  # the assertion says more
    ],
)
def test_the_schema_is_held_against_the_outputs(expect: tuple[str, ...], outputs: Any, said: str) -> None:
    one = Smoke("smoke-1", {}, "", expect, None, "", "")
    answer = {"data": {"status": "succeeded", "outputs": outputs}}
    assert said in judge_answer(one, answer, 1.0, SCHEMA).detail


def test_a_long_misfit_is_shortened() -> None:
    one = Smoke("smoke-1", {}, "", (), None, "", "")
    answer = {"data": {"status": "succeeded", "outputs": {"total": "x" * 9999}}}
    assert len(judge_answer(one, answer, 1.0, SCHEMA).detail) < 300


def test_with_no_smoke_requests_nothing_is_proven(store: Store, engine: FakeEngine) -> None:
    served = serve(store)
    one = only(smoke.check(served.case(**asked(engine))))
    assert one.verdict == "skipped" and "lastgood smoke add greet" in one.found
    assert (state(served), engine.asked) == ("candidate", [])


def test_one_proven_lately_is_not_asked_again(store: Store, engine: FakeEngine) -> None:
    served = serve(store)
    add(served)
    one = only(smoke.check(served.case(**asked(engine, proven_lately=True))))
    assert (one.verdict, one.found) == ("skipped", f"{served.version.id} was proven within the rollback window")
    assert (state(served), engine.asked) == ("candidate", [])


@on_sqlite
def test_an_engine_that_is_away_says_nothing_of_the_version(store: Store) -> None:
    served = serve(store)
    add(served)
    assert only(smoke.check(served.case())).verdict == "unknown"
    away = served.case(engine=lambda: Upstream("http://127.0.0.1:9", TOKEN))
    assert only(smoke.check(away)).verdict == "unknown"
    with store.read() as tx:
        assert {piece["verdict"] for piece in versions.evidence_of(tx, served.version)} == {"inconclusive"}


@on_sqlite
def test_versions_elsewhere_are_not_run_from_here(store: Store, engine: FakeEngine) -> None:
    served = serve(store, target="dify")
    add(served)
    one = only(smoke.check(served.case(**asked(engine))))
    assert (one.verdict, one.found) == ("skipped", "versions on dify cannot be run from here")
    assert engine.asked == []
