"""No door to a protected channel lets anything new pass."""

from typing import Any

import pytest
from sqlalchemy import select

from lastgood.access import tokens
from lastgood.catalogue import Protected
from lastgood.db import tables
from lastgood.db.tx import Tx
from lastgood.release import approvals, planfile
from lastgood.release.plan import Plan, PlannedMove
from support.scene import ALICE
from support.stores import on_sqlite

from .conftest import LOCAL, Api
from .test_operations import declare, done, live, outcomes, planned, prepared

pytestmark = on_sqlite
PUBLISH = "/v1/workflows/greet/channels/live/publish"
ROLLBACK = "/v1/workflows/greet/channels/live/rollback"


@pytest.fixture
def shop(api: Api) -> Api:
    """`greet` with a good version and a bad one live, at generation 2, and protected from now on."""
    prepared(api)
    declare(api.store, protected={"prod": Protected(workflows=("greet",))})
    return api


def at(generation: int) -> dict[str, str]:
    return {"If-Match": f'"{generation}"'}


def new(api: Api) -> str:
    return api.push("new")


def by_route(api: Api) -> Any:
    return api.ask("POST", PUBLISH, json={"version": new(api)}, headers=at(2))


def by_rollback_forward(api: Api) -> Any:
    return api.ask("POST", ROLLBACK, json={"to": new(api)}, headers=at(2))


def by_forced_rollback(api: Api) -> Any:
    return api.ask("POST", ROLLBACK, json={"force": True, "reason": "why"}, headers=at(2))


def by_operation(api: Api) -> Any:
    shown = planned(api, force=True, reason="why")
    assert "needs the approval of another identity" in shown["protection"][0]
    return api.ask("POST", "/v1/operations", json={"plan": shown["plan"], "confirmation": shown["confirmation"]})


def by_plan_file(api: Api) -> Any:
    shown = planned(api)
    plan = Plan.of_data(shown["plan"])
    file = planfile.write(plan).replace("kind: rollback", "kind: publish")
    again = api.post("/v1/plans", {"file": file})
    assert again["plan"]["kind"] == "publish"
    return api.ask("POST", "/v1/operations", json={"plan": again["plan"], "confirmation": again["confirmation"]})


def by_promotion(api: Api) -> Any:
    api.post("/v1/workflows/greet/channels/staging/publish", {"version": new(api), "verify": False}, headers=at(0))
    shown = api.post("/v1/workflows/greet/promotions/preview", {"from": "staging", "to": "live"})
    assert "needs the approval of another identity" in shown["protection"][0]
    return api.ask("POST", "/v1/workflows/greet/promotions", json={"from": "staging", "to": "live"}, headers=at(2))


@pytest.mark.parametrize(
    "door", [by_route, by_rollback_forward, by_forced_rollback, by_operation, by_plan_file, by_promotion]
)
def test_a_door_gives_a_request_for_approval_and_moves_nothing(shop: Api, door: Any) -> None:
    before = live(shop)
    answer = door(shop)
    assert answer.status_code == 409, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:lastgood:problem:approval-needed"
    assert live(shop) == before
    (asked,) = shop.get("/v1/approvals?waiting=true")["items"]
    assert (asked["id"], asked["asked_by"]) == (problem["approval"], "token:admin")


def test_a_plain_rollback_is_slowed_by_nothing(shop: Api) -> None:
    assert planned(shop)["protection"] == []
    assert outcomes(done(shop, planned(shop)))["move"] == "done"
    assert live(shop)[1] == 3


def test_the_same_request_passes_once_somebody_else_agreed(shop: Api) -> None:
    version = new(shop)
    id = shop.post(PUBLISH, {"version": version}, status=409, headers=at(2))["approval"]
    read = select(tables.audit.c.pk).where(tables.audit.c.action == "workflow:read")
    with shop.store.read() as tx:
        before = len(tx.connection.execute(read).all())
    whole = shop.get(f"/v1/approvals/{id}")
    with shop.store.read() as tx:
        assert len(tx.connection.execute(read).all()) == before + 1, "what differs tells of definitions"
    assert whole["sentences"][0].startswith("publish: live of greet from v-")
    assert whole["differences"][0]["lines"]
    own = shop.post(f"/v1/approvals/{id}/approve", {}, status=403)
    assert own["type"].endswith("same-identity")
    approved = shop.post(f"/v1/approvals/{id}/approve", {"reason": "fine"}, token=LOCAL)
    assert (approved["state"], approved["answers"][0]["subject"]) == ("approved", "local")
    moved = shop.post(PUBLISH, {"version": version, "approval": id}, headers=at(2))
    assert (live(shop)[0], moved["move"]["generation"]) == (version, 3)
    assert f"Approved by local (`{id}`)." in shop.get(f"/v1/operations/{moved['operation']}")["report"]
    assert shop.get(f"/v1/approvals/{id}")["state"] == "used"
    refused = [one for one in rows(shop) if one[:2] == ("plan:approve", "denied")]
    assert len(refused) == 1


def test_one_that_was_rejected_is_told_and_over(shop: Api) -> None:
    version = new(shop)
    id = shop.post(PUBLISH, {"version": version}, status=409, headers=at(2))["approval"]
    shop.post(f"/v1/approvals/{id}/reject", {}, status=400)
    assert shop.post(f"/v1/approvals/{id}/reject", {"reason": "no"}, token=LOCAL)["state"] == "rejected"
    void = shop.post(PUBLISH, {"version": version, "approval": id}, status=409, headers=at(2))
    assert void["type"].endswith("approval-void")
    assert shop.post("/v1/approvals/ap-nothing/approve", {}, status=404)["type"].endswith("unknown-approval")
    unknown = shop.post(PUBLISH, {"version": version, "approval": "ap-nothing"}, status=404, headers=at(2))
    assert unknown["type"].endswith("unknown-approval")


def test_a_list_goes_on_past_what_is_hidden(shop: Api) -> None:
    id = shop.post(PUBLISH, {"version": new(shop)}, status=409, headers=at(2))["approval"]
    hidden = Plan("publish", (PlannedMove("wf-hidden", "hidden", "live", None, "v-20261123-01", 0),))

    def work(tx: Tx) -> str:
        for _ in range(3):
            approvals.ask(tx, ALICE, hidden, needed=1, hours=4)
        return tokens.create(tx, ALICE, "reader", role="viewer", resources=("workflow:greet",))

    token = shop.store.write(work)
    for waiting in ("", "&waiting=true"):
        found = shop.get(f"/v1/approvals?limit=1{waiting}", token=token)
        assert [one["id"] for one in found["items"]] == [id]
    assert len(shop.get("/v1/approvals")["items"]) == 4


def test_break_glass_by_route_is_in_the_log(shop: Api) -> None:
    version = new(shop)
    shop.post(PUBLISH, {"version": version, "break_glass": True}, status=400, headers=at(2))
    shop.post(PUBLISH, {"version": version, "break_glass": True, "reason": "fire"}, headers=at(2))
    assert shop.get("/v1/workflows/greet/moves")["items"][0]["reason"] == "BREAK-GLASS: fire"
    assert ("channel:break-glass", "allowed") in [one[:2] for one in rows(shop)]


@pytest.mark.parametrize("kind", ["adopt", "nonsense"])
def test_a_plan_of_no_kind_of_operation_is_refused(shop: Api, kind: str) -> None:
    shown = planned(shop)
    body = {"plan": {**shown["plan"], "kind": kind}, "confirmation": shown["confirmation"]}
    assert shop.post("/v1/operations", body, status=400)["type"].endswith("invalid-plan")


def rows(api: Api) -> list[tuple[str, str]]:
    from lastgood.db import tables as t

    with api.store.read() as tx:
        return [(one.action, one.result) for one in tx.connection.execute(t.audit.select())]
