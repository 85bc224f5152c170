"""The wrong version of the example, published and rolled back to on the real engine: what verification finds, what
becomes of the move, and what the report tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.cli.client import Client
from lastgood.cli.local import local_client

EXAMPLE = Path(__file__).parents[2] / "examples" / "invoice-intake"
HISTORY = yaml.safe_load((EXAMPLE / "history.yml").read_text())
WORKFLOW = "prod-invoice"
OVER = ("succeeded", "kept", "undone", "failed", "asking")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A data directory with the good version 05, the wrong one 06 and the good one 07 of the example, 07 live."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASTGOOD_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("LASTGOOD_HTTP_ALLOW_PRIVATE", "true")
        with local_client("alice") as client:
            inputs = HISTORY["samples"][HISTORY["smoke"]["sample"]]["inputs"]
            for number in (5, 6, 7):
                (file,) = EXAMPLE.glob(f"{number:02}-*.yml")
                client.post("workflows", WORKFLOW, "versions", body={"document": file.read_text()})
                if number == 5:
                    expect = {"inputs": inputs, "expect": [HISTORY["smoke"]["expect"]]}
                    client.post("workflows", WORKFLOW, "smokes", body=expect)
            yield client


@pytest.fixture(scope="module")
def published(api: Client) -> dict[int, Any]:
    """What each publish gave, by the number of its file."""
    ids = [one["id"] for one in reversed(api.items("workflows", WORKFLOW, "versions"))]
    path = ("workflows", WORKFLOW, "channels", "live", "publish")
    return {number: api.post(*path, body={"version": ids[number - 5]}, expected=number - 5) for number in (5, 6, 7)}


def test_verification_catches_the_wrong_totals_by_the_assertion(api: Client, published: dict[int, Any]) -> None:
    states = [one["state"] for one in reversed(api.items("workflows", WORKFLOW, "versions"))]
    assert states == ["stable", "failed", "active"]
    wrong = published[6]
    assert (wrong["state"], wrong["verification"]["verdict"]) == ("kept", "failed")
    (check,) = wrong["verification"]["checks"]
    assert check["detail"] == "outputs.total == `42` is not true (got 50.4)"


@pytest.mark.parametrize(("policy", "state", "left"), [("undo", "undone", 7), ("keep", "kept", 6)])
def test_a_rollback_to_it_is_undone_or_kept_as_the_plan_says(
    api: Client, published: dict[int, Any], policy: str, state: str, left: int
) -> None:
    proven, wrong = published[5]["version"]["id"], published[6]["version"]["id"]
    choices = {"force": True, "reason": "to see it once more", "on_verification_failure": policy}
    done = roll_back(api, {"moves": [{"workflow": WORKFLOW, "to": wrong}], **choices})
    live = api.get("workflows", WORKFLOW, "channels", "live")["version"]
    assert (done["state"], live) == (state, published[left]["version"]["id"])
    lines = done["report"].splitlines()
    headline, _, now, _, why, _, what_to_do = lines[:7]
    assert all(len(line) < 120 for line in (headline, now, what_to_do)), lines[:7]
    assert headline.startswith({"undone": "# UNDONE: ", "kept": "# NOT WELL: "}[state])
    assert f"live of {WORKFLOW} serves {live}" in now
    assert "outputs.total == `42` is not true (got 50.4)" in why
    assert what_to_do.startswith("- To ") and "`lastgood " in what_to_do
    if state == "kept":  # 07 was left by a rollback, so it is not gone back to until it is proven again
        back = roll_back(api, {"moves": [{"workflow": WORKFLOW}]})
        assert (back["state"], back["moves"][0]["to"]) == ("succeeded", proven)
        assert back["report"].startswith(f"# Rolled back: {WORKFLOW}\n")


def roll_back(api: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Plan, do it, wait for its end."""
    shown = api.post("plans", body=body)
    found = api.post("operations", body={"plan": shown["plan"], "confirmation": shown["confirmation"]})
    while found["state"] not in OVER:
        found = api.get("operations", found["id"], wait=30)
    return dict(found)
