"""Whether triggers are bound, as the checklist says it."""

from dataclasses import replace

from sqlalchemy import update

from lastgood.db import tables as t
from lastgood.db.store import Store
from lastgood.history.versions import Version
from lastgood.release import moves
from lastgood.release.checks import triggers
from lastgood.release.checks.case import Checked
from release.checks.conftest import Served, verdicts
from support.scene import ALICE, scene
from support.triggered import triggered


def publish(store: Store, *, target: str = "engine", **more: object) -> Served:
    place = scene(store, target=target)
    version = place.push(triggered(**more)).version  # type: ignore[arg-type]  # they are its own
    return go(Served(place, version), version, 0)


def go(served: Served, version: Version, expected: int) -> Served:
    """The same after `version` went live."""
    place = served.place
    place.store.write(lambda tx: moves.publish(tx, ALICE, place.workflow, version.id, expected=expected))
    return replace(served, version=version)


def found(served: Served) -> list[Checked]:
    return list(triggers.check(served.case()))


def test_bound_triggers_pass(store: Store) -> None:
    served = publish(store)
    hook, every = found(served)
    assert (hook.verdict, hook.subject, every.verdict, every.subject) == ("pass", "hook", "pass", "every")
    assert every.expected == f"schedule bound to {served.version.id} at generation 1"
    assert every.found.startswith(f"bound to {served.version.id} at generation 1, next at ")


def test_a_move_that_binds_nothing_is_found(store: Store) -> None:
    served = publish(store)
    other = served.place.push(triggered("other", hook=False)).version
    served.place.move(other)  # the bare pointer
    assert verdicts(found(replace(served, version=other))) == {"every": "fail", "hook": "fail"}


def test_an_unbound_trigger_is_found(store: Store) -> None:
    served = publish(store)
    store.write(lambda tx: tx.connection.execute(update(t.trigger).values(version_pk=None)))
    assert {(one.verdict, one.found) for one in found(served)} == {("fail", "not bound")}


def test_a_schedule_that_never_fires_is_told_and_does_not_count(store: Store) -> None:
    (one,) = found(publish(store, cron="0 9 30 2 *", hook=False))
    assert (one.verdict, one.required) == ("fail", False)
    assert "never fires: the cron expression '0 9 30 2 *' names no time" in one.found


def test_what_is_not_bound_from_here_is_skipped(store: Store) -> None:
    (one,) = found(publish(store, target="dify"))
    assert (one.verdict, one.found) == ("skipped", "dify binds its triggers itself")


def test_versions_without_triggers_have_nothing_to_bind(store: Store) -> None:
    served = publish(store)
    bare = served.place.push(triggered("bare", cron=None, hook=False)).version
    (one,) = found(go(served, bare, 1))
    assert (one.verdict, one.found) == ("skipped", "it has none")
