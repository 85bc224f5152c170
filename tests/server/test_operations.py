"""Rollbacks as operations by the API: planned, refused, done once, verified, taken back."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.catalogue import Hook, Listener
from lastgood.db.store import Store
from lastgood.errors import StoreFull
from lastgood.release.plan import NOT_ROLLED_BACK
from lastgood.settings import Settings
from support.stores import on_sqlite

from .conftest import LOCAL, Api
from .test_doors import is_problem


def prepared(api: Api, workflow: str = "greet") -> tuple[str, str]:
    """A good version and a bad one, the bad one live at generation 2."""
    good, bad = api.push("good", workflow), api.push("bad", workflow)
    smokes = f"/v1/workflows/{workflow}/smokes"
    api.post(smokes, {"expect": ["outputs.total == `42`"]}, status=201)
    api.engine.succeed(total=42)
    api.move("publish", 0, workflow, version=good)
    api.move("publish", 1, workflow, version=bad)
    return good, bad


def declare(store: Store, **tables: Any) -> None:
    """Let `lastgood.toml` have held this."""
    store.settings = Settings.model_validate({**store.settings.model_dump(), **tables})


def planned(api: Api, *workflows: str, status: int = 200, **choices: Any) -> Any:
    body = {"moves": [{"workflow": name} for name in workflows or ("greet",)], **choices}
    return api.post("/v1/plans", body, status=status)


def done(api: Api, shown: Any, *, status: int = 202, **more: Any) -> Any:
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    return api.post("/v1/operations?wait=60", body, status=status, **more)


def live(api: Api, workflow: str = "greet") -> tuple[str, int]:
    found = api.get(f"/v1/workflows/{workflow}/channels/live")
    return found["version"], found["generation"]


def outcomes(operation: Any) -> dict[str, str]:
    return {step["name"]: step["state"] for step in operation["steps"]}


def test_a_plan_changes_nothing_and_says_everything(api: Api) -> None:
    good, bad = prepared(api)
    shown = planned(api, reason="wrong totals")
    (move,) = shown["plan"]["moves"]
    assert (move["from_version"], move["to_version"], move["expected_generation"]) == (bad, good, 2)
    assert move["why"].startswith("last good: smoke requests passed on ")
    assert shown["verdict"] in ("pass", "warn")
    assert shown["plan"]["not_rolled_back"] == list(NOT_ROLLED_BACK)
    assert yaml.safe_load(shown["file"])["rollback_plan"]["to"] == good
    assert live(api) == (bad, 2)
    assert [one["kind"] for one in api.get("/v1/operations")["items"]] == ["publish", "publish"]


def test_what_was_shown_is_done_and_verified(api: Api) -> None:
    good, bad = prepared(api)
    operation = done(api, planned(api, reason="wrong totals"))
    assert operation["state"] == "succeeded", operation["summary"]
    assert live(api) == (good, 3)
    assert outcomes(operation)["verification"] == "done"
    assert outcomes(operation)["pre-hook"] == outcomes(operation)["post-hook"] == "skipped"
    report = api.ask("GET", f"/v1/operations/{operation['id']}/report").text
    assert report.startswith("# Rolled back: greet\n")
    assert f"live of greet serves {good} (was {bad})" in report
    assert "wrong totals" in report and all(one in report for one in NOT_ROLLED_BACK)
    (move, *_) = api.get("/v1/workflows/greet/moves")["items"]
    assert (move["operation"], move["kind"], move["reason"]) == (operation["id"], "rollback", "wrong totals")


def test_a_confirmation_is_for_one_plan_only(api: Api) -> None:
    _good, bad = prepared(api)
    shown = planned(api)
    shown["plan"]["reason"] = "changed afterwards"
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    problem = is_problem(api.ask("POST", "/v1/operations", json=body), 409)
    assert "another plan" in problem["detail"]
    assert live(api) == (bad, 2)


def test_a_channel_that_moved_makes_the_plan_void(api: Api) -> None:
    _good, _bad = prepared(api)
    shown = planned(api)
    other = api.push("other")
    api.move("publish", 2, version=other)
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    problem = is_problem(api.ask("POST", "/v1/operations", json=body), 412)
    assert f"admin moved it to {other}" in problem["detail"]
    again = api.post("/v1/plans", {"file": shown["file"]})
    assert again["differences"] and other in again["differences"][0]
    assert live(api) == (other, 3)


@pytest.mark.parametrize("plan", [{}, {"moves": 7}, {"moves": [{}]}, {"kind": "rollback", "moves": [None]}, []])
def test_what_is_no_plan_is_refused(api: Api, plan: Any) -> None:
    answer = api.ask("POST", "/v1/operations", json={"plan": plan, "confirmation": "cf_x"})
    is_problem(answer, 400)


@on_sqlite
def test_a_failed_version_is_refused_with_the_reason(api: Api) -> None:
    good, bad = prepared(api)
    api.post(f"/v1/versions/{good}/mark", {"state": "failed", "reason": "loses money"})
    shown = api.post("/v1/plans", {"moves": [{"workflow": "greet", "to": good}]})
    assert shown["verdict"] == "refuse"
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    problem = is_problem(api.ask("POST", "/v1/operations", json=body), 409)
    assert "loses money" in problem["detail"] or "failed" in problem["detail"]
    assert live(api) == (bad, 2)
    forced = api.post(
        "/v1/plans", {"moves": [{"workflow": "greet", "to": good}], "force": True, "reason": "the check was wrong"}
    )
    assert done(api, forced)["state"] == "succeeded"
    assert live(api) == (good, 3)


@on_sqlite
def test_a_failing_hook_stops_before_anything_moves(api: Api, tmp_path: Path) -> None:
    _good, bad = prepared(api)
    declare(api.store, hooks={"backup": Hook(command=("/bin/sh", "-c", "echo disk is full; exit 7"))})
    shown = planned(api)
    shown = api.post(
        "/v1/plans", {"file": shown["file"].replace("pre_rollback_hook:", "pre_rollback_hook: backup #")}
    )
    operation = done(api, shown)
    assert operation["state"] == "failed"
    assert outcomes(operation)["pre-hook"] == "failed" and "move" not in outcomes(operation)
    assert "Nothing was moved" in operation["summary"]
    assert "disk is full" in operation["report"]
    assert live(api) == (bad, 2)


@on_sqlite
def test_hooks_run_with_context_before_and_after(api: Api, tmp_path: Path) -> None:
    good, bad = prepared(api)
    before, after = tmp_path / "before.json", tmp_path / "after.txt"
    declare(
        api.store,
        hooks={
            "before": Hook(command=("/bin/sh", "-c", f"cat > {before}")),
            "after": Hook(command=("/bin/sh", "-c", f'echo "$LASTGOOD_TO $LASTGOOD_WORKFLOW" > {after}')),
        },
        rollback={"pre_hook": "before", "post_hook": "after"},
    )
    assert done(api, planned(api))["state"] == "succeeded"
    told = json.loads(before.read_text())
    assert (told["from"], told["to"], told["workflow"]) == (bad, good, "greet")
    assert after.read_text() == f"{good} greet\n"


@on_sqlite
def test_a_path_is_for_who_may_run_it_here(api: Api, tmp_path: Path) -> None:
    good, bad = prepared(api)
    script = tmp_path / "run-backup.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    file = f"version: 1.2\nrollback_plan:\n  workflow: greet\n  pre_rollback_hook: {script}\n"
    problem = is_problem(api.ask("POST", "/v1/plans", json={"file": file}), 400)
    assert "is not declared in this server's lastgood.toml" in problem["detail"]
    shown = api.ask("POST", "/v1/plans", json={"file": file}, token=LOCAL).json()
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    is_problem(api.ask("POST", "/v1/operations", json=body), 400)  # who takes over another's plan has no more rights
    answer = api.ask("POST", "/v1/operations?wait=60", json=body, token=LOCAL)
    assert answer.json()["state"] == "succeeded"
    assert live(api) == (good, 3)
    declare(api.store, hooks={"backup": Hook(command=(str(script),))})
    api.move("publish", 3, version=bad)
    assert api.post("/v1/plans", {"file": file})["plan"]["pre_rollback_hook"] == str(script)


@pytest.mark.parametrize(
    ("policy", "state", "serves"), [("keep", "kept", 0), ("undo", "undone", 1), ("ask", "asking", 0)]
)
def test_what_a_failed_verification_leads_to(api: Api, policy: str, state: str, serves: int) -> None:
    versions = prepared(api)
    shown = planned(api, on_verification_failure=policy)
    api.engine.succeed(total=50.4)
    operation = done(api, shown)
    assert operation["state"] == state, operation["summary"]
    assert live(api)[0] == versions[serves]
    assert "50.4" in operation["report"] if state != "asking" else operation["report"] == ""
    if state == "undone":
        assert "undone" in operation["summary"] or "is back on" in operation["summary"]
        (move, *_) = api.get("/v1/workflows/greet/moves")["items"]
        assert (move["kind"], move["operation"]) == ("undo", operation["id"])


@pytest.mark.parametrize(("word", "state", "serves"), [("undo", "undone", 1), ("resume", "kept", 0)])
def test_a_person_decides(api: Api, word: str, state: str, serves: int) -> None:
    versions = prepared(api)
    shown = planned(api, on_verification_failure="ask")
    api.engine.succeed(total=50.4)
    operation = done(api, shown)
    decided = api.post(f"/v1/operations/{operation['id']}/{word}?wait=60", {}, status=202)
    assert decided["state"] == state
    assert live(api)[0] == versions[serves]


def test_what_is_done_can_be_undone_once(api: Api) -> None:
    _good, bad = prepared(api)
    operation = done(api, planned(api))
    undone = api.post(f"/v1/operations/{operation['id']}/undo?wait=60", {}, status=202)
    assert undone["state"] == "undone" and live(api) == (bad, 4)
    is_problem(api.ask("POST", f"/v1/operations/{operation['id']}/undo"), 409)


def test_an_undo_never_runs_over_somebody_elses_move(api: Api) -> None:
    _good, _bad = prepared(api)
    operation = done(api, planned(api))
    other = api.push("other")
    api.move("publish", 3, version=other)
    undone = api.post(f"/v1/operations/{operation['id']}/undo?wait=60", {}, status=202)
    assert undone["state"] == "kept" and "could not be taken back" in undone["summary"]
    assert f"admin moved it to {other}" in undone["summary"]
    assert live(api) == (other, 4)


def test_together_all_move_or_none(api: Api) -> None:
    names = ("greet", "billing", "orders")
    pairs = {name: prepared(api, name) for name in names}
    shown = planned(api, *names)
    other = api.push("other", "orders")
    api.move("publish", 2, "orders", version=other)
    body = {"plan": shown["plan"], "confirmation": shown["confirmation"]}
    is_problem(api.ask("POST", "/v1/operations", json=body), 412)
    assert [live(api, name)[1] for name in names] == [2, 2, 3]
    operation = done(api, planned(api, *names))
    assert operation["state"] == "succeeded"
    wanted = {"greet": pairs["greet"][0], "billing": pairs["billing"][0], "orders": pairs["orders"][1]}
    assert {name: live(api, name)[0] for name in names} == wanted
    moves = [api.get(f"/v1/workflows/{name}/moves")["items"][0] for name in names]
    assert {move["operation"] for move in moves} == {operation["id"]}
    assert len({move["at"] for move in moves}) == 1, "one transaction"
    back = api.post(f"/v1/operations/{operation['id']}/undo?wait=60", {}, status=202)
    assert back["state"] == "undone" and [live(api, name)[1] for name in names] == [4, 4, 5]


def test_a_channel_is_named_once(api: Api) -> None:
    prepared(api)
    planned(api, "greet", "greet", status=400)
    planned(api, "nothing-here", status=404)
    api.post("/v1/plans", {"moves": []}, status=400)


def test_sending_it_twice_does_it_once(api: Api) -> None:
    good, _bad = prepared(api)
    headers = {"If-Match": '"2"', "Idempotency-Key": "deploy 7"}
    path = "/v1/workflows/greet/channels/live/rollback"
    first = api.post(path, {}, headers=headers)
    assert live(api) == (good, 3)
    again = api.ask("POST", path, json={}, headers=headers)
    assert again.status_code in (409, 412) or again.json()["operation"] == first["operation"]
    assert live(api) == (good, 3)


def test_a_required_listener_that_is_deaf_fails_the_verification(api: Api, tmp_path: Path) -> None:
    good, bad = prepared(api)
    declare(
        api.store,
        listeners={
            "files": Listener(kind="file", directory=str(tmp_path / "greet")),
            "deaf": Listener(kind="command", command=("/bin/false",)),
        },
    )
    (tmp_path / "greet").mkdir()
    operation = done(api, planned(api, on_verification_failure="undo"))
    assert operation["state"] == "undone"
    assert "deaf" in operation["summary"]
    assert live(api) == (bad, 4)
    assert (tmp_path / "greet" / "current_version.txt").read_text() == f"{bad}\n"
    log = (tmp_path / "greet" / "versions.log").read_text().splitlines()
    assert [line.split()[0] for line in log] == [good, bad]


@on_sqlite
def test_a_rehearsal_serves_nobody_and_says_how_long_it_took(api: Api) -> None:
    good, bad = prepared(api)
    drill = api.post("/v1/workflows/greet/rehearse", {})
    assert drill["state"] == "undone", drill["summary"]
    assert live(api) == (bad, 2)
    (record,) = api.get("/v1/workflows/greet/rehearsals")["items"]
    assert (record["operation"], record["to"], record["failed"]) == (drill["id"], good, "")
    assert record["seconds"] > 0
    again = api.post("/v1/workflows/greet/rehearse", {})
    assert again["state"] == "undone"
    assert len(api.get("/v1/workflows/greet/rehearsals")["items"]) == 2


@on_sqlite
def test_operations_are_listed_by_workflow(api: Api) -> None:
    prepared(api)
    prepared(api, "billing")
    operation = done(api, planned(api))
    assert next(one["id"] for one in api.get("/v1/operations?workflow=greet")["items"]) == operation["id"]
    assert len(api.get("/v1/operations?workflow=billing")["items"]) == 2
    assert len(api.get("/v1/operations?limit=2")["items"]) == 2
    is_problem(api.ask("GET", "/v1/operations/op-nothing"), 404)


def test_a_publish_can_be_undone_by_its_own_verification(api: Api) -> None:
    prepared(api)
    worse = api.push("worse")
    api.engine.succeed(total=50.4)
    published = api.move("publish", 2, version=worse, on_verification_failure="undo")
    assert published["state"] == "undone" and "50.4" in published["summary"]
    assert live(api)[1] == 4 and live(api)[0] != worse
    first = api.push("first", "billing")
    api.post("/v1/workflows/billing/smokes", {"expect": ["outputs.total == `42`"]}, status=201)
    published = api.move("publish", 0, "billing", version=first, on_verification_failure="undo")
    assert published["state"] == "kept" and "pointed to nothing before" in published["summary"]
    assert live(api, "billing") == (first, 1)


def test_on_a_full_disk_all_of_a_rollback_may_use_the_reserve(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    good, _bad = prepared(api)
    write = Store.write

    def full(self: Store, work: Any, *, emergency: bool = False) -> Any:
        if not emergency:
            raise StoreFull(path="here")
        return write(self, work)

    monkeypatch.setattr(Store, "write", full)
    done(api, planned(api))
    assert live(api) == (good, 3)
