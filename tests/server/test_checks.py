"""Verifying by the API what a channel serves."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import insert, select

from lastgood.db import tables
from lastgood.db.runs import run
from lastgood.db.store import open_runs
from support.stores import on_sqlite

from .conftest import Api
from .test_operations import declare, done, planned, prepared


def verify(api: Api, channel: str = "live", status: int = 200) -> Any:
    return api.post(f"/v1/workflows/greet/verify?channel={channel}", {}, status=status)


def live(api: Api, *expect: str) -> str:
    version = api.push()
    api.post("/v1/workflows/greet/smokes", {"inputs": {}, "expect": list(expect)}, status=201)
    api.move("publish", 0, version=version, verify=False)
    return version


def test_what_is_live_is_held_to_the_checklist(api: Api) -> None:
    version = live(api, "outputs.said == 'hello'")
    report = verify(api)
    assert (report["verdict"], report["smoked"], report["state"]) == ("passed", True, "stable")
    assert (report["workflow"], report["channel"], report["version"], report["generation"]) == (
        "greet",
        "live",
        version,
        1,
    )
    items = [one["check"] for one in report["checks"]]
    assert items[:2] == ["pointer", "pointer"] and {"routes", "workers", "smoke", "data"} <= set(items)
    assert report["markdown"].startswith(f"# WELL: live of greet serves {version}")
    assert api.get(f"/v1/versions/{version}")["state"] == "active"


def test_what_fails_condemns_nothing(api: Api) -> None:
    version = live(api, "outputs.said == 'bye'")
    report = verify(api)
    assert (report["verdict"], report["smoked"], report["state"]) == ("failed", False, "candidate")
    assert report["sentence"].startswith("failed: smoke smoke-")
    kept = api.get(f"/v1/versions/{version}")["evidence"]
    assert [(piece["kind"], piece["verdict"]) for piece in kept] == [("verification", "failed"), ("smoke", "failed")]


@on_sqlite
def test_an_engine_that_is_switched_off_is_not_active(api: Api) -> None:
    live(api)
    api.engine.url = "http://127.0.0.1:9"
    report = verify(api)
    (active,) = [one for one in report["checks"] if one["subject"] == "engine"]
    assert (active["verdict"], active["found"]) == ("fail", "not active: it cannot be connected to")
    assert report["verdict"] == "failed"


@on_sqlite
def test_it_is_audited_before_anything_is_read(api: Api) -> None:
    live(api)
    verify(api)
    with api.store.read() as tx:
        rows = tx.connection.execute(select(tables.audit.c.action, tables.audit.c.resource, tables.audit.c.result))
        found = [tuple(row) for row in rows if row.action == "workflow:verify"]
    (one,) = found
    assert one[1].endswith("/channel/live") and one[2] == "allowed"


@on_sqlite
def test_a_channel_of_nothing(api: Api) -> None:
    live(api)
    assert verify(api, "staging", status=404)["type"].endswith("unknown-channel")
    api.post("/v1/workflows/greet/keys", {"name": "web", "channel": "empty"}, status=201)
    assert verify(api, "empty", status=409)["type"].endswith("nothing-live")


@on_sqlite
def test_a_smoke_request_is_taken_from_a_run_and_that_is_audited(api: Api) -> None:
    live(api)
    owner = api.get("/v1/workflows/greet")["id"]
    runs = open_runs(api.store.settings)
    row = {"id": "run-1", "task_id": "t", "workflow_id": owner, "version_id": "v", "user": "u", "status": "succeeded"}
    counts = {"total_steps": 0, "total_tokens": 0, "exceptions_count": 0, "elapsed_time": 0.0, "created_at": 1.0}
    with runs.connect().execution_options(writes=True) as connection, connection.begin():
        inputs = '{"text": "2 cups", "sys.user_id": "u"}'
        connection.execute(insert(run).values(**row, **counts, inputs=inputs, outputs="{}"))
    runs.dispose()
    kept = api.post("/v1/workflows/greet/smokes", {"from_run": "run-1", "expect": ["outputs.said"]}, status=201)
    assert (kept["inputs"], kept["expect"]) == ({"text": "2 cups"}, ["outputs.said"])
    both = {"from_run": "run-1", "inputs": {"text": "other"}}
    assert "brings its own inputs" in api.post("/v1/workflows/greet/smokes", both, status=400)["detail"]
    gone = api.post("/v1/workflows/greet/smokes", {"from_run": "run-2"}, status=404)
    assert gone["type"].endswith("unknown-run")
    with api.store.read() as tx:
        read = select(tables.audit.c.resource).where(tables.audit.c.action == "run:read")
        assert tx.connection.execute(read).scalars().all() == [f"workflow/{owner}/run/run-{n}" for n in (1, 2)]


@pytest.mark.parametrize(("choice", "stands"), [("keep", 500), ("reset", 100)])
def test_consumers_stand_where_the_plan_says(api: Api, tmp_path: Path, choice: str, stands: int) -> None:
    """The listener is a consumer that goes on after it was recorded."""
    prepared(api)
    queue = tmp_path / "position"
    queue.write_text("100")
    write = [sys.executable, "-c", f"import sys; open({str(queue)!r}, 'w').write(sys.stdin.read())"]
    advance = {"kind": "command", "command": ["sh", "-c", f"echo 500 > {queue}"]}
    declare(
        api.store,
        positions={"orders": {"command": ["cat", str(queue)], "reset": write}},
        listeners={"consumer": advance},
    )
    file = yaml.safe_load(planned(api)["file"])
    file["rollback_plan"]["consumer_positions"] = choice
    operation = done(api, api.post("/v1/plans", {"file": yaml.safe_dump(file)}))
    assert operation["state"] == "succeeded", operation
    assert int(queue.read_text()) == stands
    (step,) = [one for one in operation["steps"] if one["name"] == "data-checks"]
    (item,) = [one for one in step["detail"]["items"] if one["check"] == "positions"]
    assert item["verdict"] == "pass"
    assert item["found"] == {"keep": "100 → 500, grown without loss", "reset": "100, as set"}[choice]


@on_sqlite
def test_a_consumer_that_goes_back_undoes_the_rollback(api: Api, tmp_path: Path) -> None:
    _, bad = prepared(api)
    queue = tmp_path / "position"
    queue.write_text("100")
    declare(
        api.store,
        positions={"orders": {"command": ["cat", str(queue)]}},
        listeners={"consumer": {"kind": "command", "command": ["sh", "-c", f"echo 40 > {queue}"]}},
    )
    operation = done(api, planned(api, on_verification_failure="undo"))
    assert operation["state"] == "undone"
    assert "went back from 100 to 40" in operation["summary"]
    assert api.get("/v1/workflows/greet/channels/live")["version"] == bad
