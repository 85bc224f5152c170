"""A server goes on with what another left, rehearses what is due, and parks what runs when it must end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import update

from lastgood.catalogue import Hook, Rollback
from lastgood.db import tables as t
from lastgood.release import journal
from lastgood.server.operators import Operators

from .conftest import Api
from .test_operations import declare, live, planned, prepared

_PATIENCE = 60.0


@contextmanager
def looking(operators: Operators) -> Iterator[None]:
    """`operators` as a server runs them."""
    thread = threading.Thread(target=operators.take_over, daemon=True)
    thread.start()
    try:
        yield
    finally:
        operators.stop()
        thread.join(_PATIENCE)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def operators(api: Api) -> Operators:
    """Another server's on the same store."""
    found: Operators = api.app.state.context.operators
    return Operators(type(found.means)(found.means.store, found.means.engine))


def state(api: Api, operation: str) -> str:
    return str(api.get(f"/v1/operations/{operation}")["state"])


def left_behind(api: Api) -> str:
    """An operation whose process died right after it claimed it."""
    shown = planned(api)
    api.app.state.context.operators.means.stopping.set()
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    operation: str = api.post("/v1/operations", body, status=202)["id"]
    api.store.write(lambda tx: journal.claim(tx, operation, "elsewhere:1:dead"))
    return operation


def test_what_another_left_is_gone_on_with_once_its_lease_ends(api: Api) -> None:
    good, bad = prepared(api)
    operation = left_behind(api)
    with looking(operators(api)):
        time.sleep(0.2)
        assert live(api) == (bad, 2), "its lease still runs"
        api.store.write(lambda tx: tx.connection.execute(update(t.operation).values(lease_until_ms=1)))
        until(lambda: state(api, operation) == "succeeded")
    assert live(api) == (good, 3)


def test_what_runs_is_parked_and_gone_on_with(api: Api) -> None:
    good, bad = prepared(api)
    declare(
        api.store,
        hooks={"slow": Hook(command=("/bin/sleep", "1"))},
        rollback={"pre_hook": "slow"},
    )
    shown = planned(api)
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    operation = api.post("/v1/operations", body, status=202)["id"]
    until(lambda: any(one["name"] == "pre-hook" for one in api.get(f"/v1/operations/{operation}")["steps"]))
    api.app.state.context.operators.stop()
    steps = {one["name"]: one["state"] for one in api.get(f"/v1/operations/{operation}")["steps"]}
    assert state(api, operation) == "parked"
    assert steps["pre-hook"] == "done" and "move" not in steps, "the step was finished, the next not begun"
    assert live(api) == (bad, 2)
    with looking(operators(api)):
        until(lambda: state(api, operation) == "succeeded")
    assert live(api) == (good, 3)
    steps = {one["name"]: one["attempts"] for one in api.get(f"/v1/operations/{operation}")["steps"]}
    assert steps["pre-hook"] == 1


def test_rehearsals_are_done_by_themselves_when_due(api: Api) -> None:
    _, bad = prepared(api)
    declare(api.store, rollback=Rollback(rehearse_hours=24.0).model_dump())
    with looking(operators(api)):
        until(lambda: bool(api.get("/v1/workflows/greet/rehearsals")["items"]))
    (record,) = api.get("/v1/workflows/greet/rehearsals")["items"]
    assert record["failed"] == ""
    assert live(api) == (bad, 2)
    with looking(operators(api)):
        time.sleep(0.3)
    assert len(api.get("/v1/workflows/greet/rehearsals")["items"]) == 1, "the next one is a day away"
