"""Runs that a trigger starts: what its node gives, where they begin, and who may start them."""

from typing import Any

import pytest

from engine.conftest import TOKEN
from engine.flows import Bench, end, flow, node
from lastgood.targets.engine import unrunnable

OWN = {"Authorization": f"Bearer {TOKEN}"}
HOOK = node(
    "hook",
    "trigger-webhook",
    method="post",
    content_type="application/json",
    headers=[{"name": "X-Kind", "required": False}],
    params=[{"name": "page", "type": "number"}],
    body=[{"name": "name", "type": "string", "required": True}],
)
EVERY = node("every", "trigger-schedule", mode="cron", cron_expression="0 9 * * *", timezone="UTC")
TWO = flow(
    HOOK,
    EVERY,
    end(name=["hook", "name"], kind=["hook", "X_Kind"], at=["every", "sys.timestamp"]),
    edges=[("hook", "end"), ("every", "end")],
)


def run(bench: Bench, version: str, status: int = 200, headers: dict[str, str] = OWN, **body: Any) -> Any:
    body = {"user": "u1", "inputs": {}, "response_mode": "blocking", **body}
    answer = bench.client.post(f"/v1/workflows/{version}/run", headers=headers, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_entry_gives_what_the_trigger_gave(bench: Bench) -> None:
    version = bench.shelf.put(TWO)
    given = {"name": "ada", "X_Kind": "order", "_webhook_raw": {"method": "POST"}, "stranger": 1}
    data = run(bench, version, trigger="hook", inputs=given)["data"]
    assert (data["status"], data["outputs"]) == ("succeeded", {"name": "ada", "kind": "order", "at": None})
    data = run(bench, version, trigger="every")["data"]
    assert (data["outputs"]["name"], data["status"]) == (None, "succeeded")
    assert run(bench, version, inputs=given)["data"]["outputs"]["name"] == "ada"  # the first one, for smoke requests


def test_a_detached_run_is_accepted_and_goes_on_by_itself(bench: Bench) -> None:
    version = bench.shelf.put(TWO)
    begun = run(bench, version, 202, trigger="hook", inputs={"name": "ada"}, detached=True)
    for _ in range(100):
        told = bench.client.get(f"/v1/workflows/run/{begun['workflow_run_id']}", headers=OWN).json()
        if told.get("status") == "succeeded":
            break
    assert told["outputs"]["name"] == "ada"


@pytest.mark.parametrize(
    ("more", "words"),
    [({}, "started by its triggers"), ({"trigger": "hook"}, "started by its triggers")],
)
def test_an_app_key_starts_no_trigger(bench: Bench, more: dict[str, Any], words: str) -> None:
    version = bench.shelf.put(TWO)
    key = bench.key(bench.shelf.versions[version].workflow_id)
    assert words in run(bench, version, 400, key, **more)["message"]


@pytest.mark.parametrize("trigger", ["end", "nobody", 7])
def test_what_is_no_trigger_starts_nothing(bench: Bench, trigger: Any) -> None:
    run(bench, bench.shelf.put(TWO), 400, trigger=trigger)


def test_what_only_dify_serves_is_told() -> None:
    mixed = flow(HOOK, node("p", "trigger-plugin"), end(), edges=[("hook", "end"), ("p", "end")])
    assert unrunnable(TWO) == ()
    assert unrunnable(mixed) == ("the node “p” (p) is a plugin trigger, which Dify serves",)
