"""Runs and conversations that are under way, by version, out of a real store of runs."""

import time
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from lastgood.db.runs import conversation, message, run
from lastgood.db.store import Store
from lastgood.release.checks import instances
from lastgood.release.checks.case import Case
from support.stores import on_sqlite

from .conftest import Served, only, serve, verdicts

_NUMBERS = count(1)


def a_run(runs: Engine, served: Served, version: str, status: str, *, ago: float = 1.0) -> str:
    id = f"run-{next(_NUMBERS)}"
    at = time.time() - ago
    with runs.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(
            insert(run).values(
                id=id,
                task_id=id,
                workflow_id=served.place.workflow.id,
                version_id=version,
                user="u",
                status=status,
                inputs="{}",
                outputs="{}",
                total_steps=0,
                total_tokens=0,
                exceptions_count=0,
                created_at=at,
                elapsed_time=0.0,
            )
        )
    return id


def a_talk(runs: Engine, served: Served, *said_by: str) -> None:
    """A conversation whose answers came from the versions `said_by`, oldest first."""
    id = f"talk-{next(_NUMBERS)}"
    answers = [a_run(runs, served, version, "succeeded") for version in said_by]
    with runs.connect().execution_options(writes=True) as connection, connection.begin():
        common: dict[str, Any] = {"inputs": "{}", "created_at": time.time()}
        connection.execute(
            insert(conversation).values(
                id=id,
                workflow_id=served.place.workflow.id,
                user="u",
                name="n",
                dialogue_count=len(answers),
                updated_at=time.time(),
                **common,
            )
        )
        for number, answer in enumerate(answers):
            values = {"id": f"{id}-{number}", "conversation_id": id, "run_id": answer, "query": "q", "answer": "a"}
            connection.execute(insert(message).values(**values, status="normal", **common))


def case(served: Served, runs: Engine, **more: Any) -> Case:
    return served.case(runs=lambda: runs, **more)


def test_what_is_under_way_is_listed_by_version(store: Store, runs: Engine) -> None:
    served = serve(store)
    old, new = served.version.id, served.publish("b").version.id
    other = serve(store, slug="other")
    a_run(runs, served, old, "running")
    a_run(runs, served, old, "paused", ago=1e6)
    a_run(runs, served, new, "running")
    a_run(runs, served, new, "running")
    a_run(runs, served, new, "succeeded")
    a_run(runs, other, new, "running")
    a_talk(runs, served, old, old)
    a_talk(runs, served, old, new)
    found = {one.subject: one for one in instances.check(case(served, runs))}
    assert {subject: one.verdict for subject, one in found.items()} == {old: "pass", new: "pass"}
    assert found[old].found == "1 conversation, 1 paused run, 1 running run"
    assert found[new].found == "1 conversation, 2 running runs"


def test_what_stands_on_a_version_that_is_not_kept_cannot_go_on(store: Store, runs: Engine) -> None:
    served = serve(store)
    a_run(runs, served, "v-20200101-07", "paused")
    a_run(runs, served, served.version.id, "running")
    found = {one.subject: one for one in instances.check(case(served, runs))}
    assert found["v-20200101-07"].verdict == "fail"
    assert found["v-20200101-07"].found == "1 paused run; this version is not kept"
    assert found[served.version.id].verdict == "pass"


@on_sqlite
def test_what_stands_on_a_damaged_version_cannot_go_on(store: Store, runs: Engine) -> None:
    from lastgood.db import tables

    served = serve(store)
    a_run(runs, served, served.version.id, "running")
    store.write(lambda tx: tx.connection.execute(update(tables.content).values(body=b"")))
    one = only(instances.check(case(served, runs)))
    assert one.verdict == "fail" and "is damaged" in one.found


@on_sqlite
def test_a_run_that_its_engine_did_not_outlive_is_not_under_way(store: Store, runs: Engine) -> None:
    served = serve(store)
    a_run(runs, served, served.version.id, "running", ago=1e6)
    one = only(instances.check(case(served, runs)))
    assert (one.verdict, one.found) == ("pass", "nothing is under way")


@on_sqlite
@pytest.mark.parametrize(
    ("became", "verdict", "found"),
    [
        (("running", "succeeded"), "pass", "of 2: 1 running, 1 succeeded"),
        (("failed", "succeeded"), "fail", "of 2: 1 failed, 1 succeeded"),
        (("stopped", "paused"), "fail", "of 2: 1 paused, 1 stopped"),
    ],
)
def test_what_became_of_what_ran_before_the_move(
    store: Store, runs: Engine, became: tuple[str, str], verdict: str, found: str
) -> None:
    served = serve(store)
    ids = [a_run(runs, served, served.version.id, "running") for _ in became]
    a_run(runs, served, served.version.id, "succeeded")
    baseline = {"instances": instances.record(case(served, runs))}
    assert sorted(baseline["instances"]["runs"]) == sorted(ids)
    with runs.connect().execution_options(writes=True) as connection, connection.begin():
        for id, status in zip(ids, became, strict=True):
            connection.execute(update(run).where(run.c.id == id).values(status=status))
    told = {one.subject: one for one in instances.check(case(served, runs, baseline=baseline))}["before the move"]
    assert (told.verdict, told.found, told.required) == (verdict, found, False)


@on_sqlite
def test_where_no_runs_are_kept_it_is_skipped(store: Store, runs: Engine) -> None:
    assert verdicts(instances.check(serve(store).case())) == {"": "skipped"}
    assert instances.record(serve(store, slug="two").case()) == {}
    elsewhere = serve(store, slug="three", target="dify")
    assert only(instances.check(case(elsewhere, runs))).found == "dify keeps its runs to itself"
